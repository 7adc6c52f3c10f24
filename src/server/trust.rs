//! What identity rests on, from files: bundles, revocation lists and key sets, at the start and whenever
//! they change.
//!
//! They are looked at every [`LOOK_MS`] milliseconds and at once on SIGHUP, by their contents. What
//! cannot be used is logged as an error and changes nothing: the server goes on with what it had. Never
//! reads a private key.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use tokio::signal::unix::Signal;
use tokio::time::{MissedTickBehavior, interval};

use super::directory::Directory;
use super::error::ServerError;
use super::tls::provider;
use super::tokens::own_issuer;
use crate::auth::{
    self, Algorithm, Authenticator, Fetcher, Identifier, IssuerKeys, IssuerRules, KeyAges, KeySet,
    OwnTokens, TenantRule, TokenIssuer,
};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Issuer};
use crate::custody::Custody;
use crate::keys::TenantId;
use crate::policy::GroupName;

/// The files' contents. Two that are equal say the same.
#[derive(Eq, PartialEq)]
pub(super) struct Files {
    domains: Vec<DomainFiles>,
    /// In the order of the issuers.
    key_sets: Vec<Option<Vec<u8>>>,
}

#[derive(Eq, PartialEq)]
struct DomainFiles {
    authorities: Vec<Vec<u8>>,
    revocations: Vec<Vec<u8>>,
}

/// Who is believed, and the files that say so.
pub(super) struct Trust {
    pub(super) authenticator: Arc<Authenticator>,
    pub(super) identifier: Arc<Identifier>,
    /// In the order of the issuers.
    keys: Vec<Arc<IssuerKeys>>,
    files: Files,
    tenants: BTreeMap<String, TenantId>,
}

// === impl Files ===

impl Files {
    pub(super) fn read(config: &Config) -> Result<Self, ServerError> {
        let mut domains = Vec::new();
        for domain in &config.trust_domains {
            domains.push(DomainFiles {
                authorities: read_each("trust_domains.ca_file", &domain.ca_files)?,
                revocations: read_each("trust_domains.crl_files", &domain.crl_files)?,
            });
        }
        let mut key_sets = Vec::new();
        for issuer in &config.issuers {
            let path = issuer.jwks_file.as_deref();
            key_sets.push(path.map(|path| read("issuers.jwks_file", path)).transpose()?);
        }
        Ok(Self { domains, key_sets })
    }

    /// The trust domains that these files describe.
    pub(super) fn trust_domains(
        &self,
        config: &Config,
        tenants: &BTreeMap<String, TenantId>,
    ) -> Result<Vec<auth::TrustDomain>, ServerError> {
        let mut domains = Vec::new();
        for (domain, files) in config.trust_domains.iter().zip(&self.domains) {
            let mut authorities = Vec::new();
            for (path, text) in domain.ca_files.iter().zip(&files.authorities) {
                authorities.extend(certificates("trust_domains.ca_file", path, text)?);
            }
            let mut revocations = Vec::new();
            for (path, text) in domain.crl_files.iter().zip(&files.revocations) {
                revocations.extend(revocation_lists(path, text)?);
            }
            let name = domain.name.clone();
            let tenant = tenant_of(tenants, &domain.tenant)?;
            domains.push(auth::TrustDomain { name, tenant, authorities, revocations });
        }
        Ok(domains)
    }
}

// === impl Trust ===

impl Trust {
    /// Reads everything that is configured.
    ///
    /// # Errors
    /// A file or an issuer cannot be used, or a tenant is not there.
    pub(super) fn load(config: &Config, custody: &Arc<Custody>) -> Result<Self, ServerError> {
        let mut tenants = BTreeMap::new();
        for name in config.tenants() {
            let tenant = custody.tenant_named(name);
            let tenant = tenant.ok_or_else(|| ServerError::NoTenant(name.to_owned()))?;
            tenants.insert(name.to_owned(), tenant);
        }
        let files = Files::read(config)?;
        let domains = files.trust_domains(config, &tenants)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let build = match config.certificates_are_optional() {
            true => Authenticator::optional,
            false => Authenticator::new,
        };
        let authenticator = build(domains, &provider(), Arc::clone(&clock))?;
        let (mut issuers, mut keys) = (Vec::new(), Vec::new());
        for (issuer, key_set) in config.issuers.iter().zip(&files.key_sets) {
            let issuer = token_issuer(issuer, key_set.as_deref(), &tenants, &clock)?;
            keys.push(Arc::clone(&issuer.keys));
            issuers.push(issuer);
        }
        let authenticator = Arc::new(authenticator);
        let own: Arc<dyn OwnTokens> = own_issuer(custody, config.tokens.algorithm)?;
        let identifier = Identifier::new(Arc::clone(&authenticator), issuers, clock);
        let mut identifier = identifier.with_own_tokens(own);
        if config.service_accounts {
            identifier = identifier.with_credentials(Arc::new(Directory(Arc::clone(custody))));
        }
        Ok(Self { authenticator, identifier: Arc::new(identifier), keys, files, tenants })
    }

    /// Follows the files for as long as the program runs.
    pub(super) async fn follow(mut self, config: Config, mut hangup: Signal) {
        let config = Arc::new(config);
        let mut look = interval(Duration::from_millis(LOOK_MS));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = String::new();
        loop {
            let asked = tokio::select! {
                _ = look.tick() => false,
                _ = hangup.recv() => true,
            };
            let reading = Arc::clone(&config);
            let read = tokio::task::spawn_blocking(move || Files::read(&reading)).await;
            let taken = match read {
                Ok(read) => read.and_then(|files| self.take(&config, files)),
                Err(_) => return,
            };
            match taken {
                Ok(false) if asked => tracing::info!("nothing has changed in the files of trust"),
                Ok(false) => {}
                Ok(true) => tracing::info!("took what has changed in the files of trust"),
                Err(error) => {
                    // Once for each thing that is wrong, and again whenever somebody asks.
                    let error = error.to_string();
                    if asked || error != told {
                        tracing::error!(%error, "the files of trust cannot be used; going on with what was read before");
                    }
                    told = error;
                    continue;
                }
            }
            told.clear();
        }
    }

    /// Trusts what the files say now. Whether that is anything new.
    fn take(&mut self, config: &Config, files: Files) -> Result<bool, ServerError> {
        if files == self.files {
            return Ok(false);
        }
        // All of it is parsed before any of it counts.
        let domains = files.trust_domains(config, &self.tenants)?;
        let mut key_sets = Vec::new();
        for (issuer, text) in config.issuers.iter().zip(&files.key_sets) {
            key_sets.push(text.as_deref().map(|text| key_set(issuer, text)).transpose()?);
        }
        if files.domains != self.files.domains {
            self.authenticator.reload(domains)?;
        }
        for (keys, set) in self.keys.iter().zip(key_sets) {
            if let Some(set) = set {
                keys.replace(set);
            }
        }
        self.files = files;
        Ok(true)
    }
}

fn token_issuer(
    issuer: &Issuer,
    text: Option<&[u8]>,
    tenants: &BTreeMap<String, TenantId>,
    clock: &Arc<dyn Clock>,
) -> Result<TokenIssuer, ServerError> {
    let keys = match text {
        Some(text) => IssuerKeys::fixed(&issuer.name, key_set(issuer, text)?, Arc::clone(clock)),
        None => {
            let max_ms = u64::from(issuer.jwks_age_seconds_max).saturating_mul(1_000);
            let refresh_ms = KEYS_REFRESH_MS.min(max_ms / 2);
            let ages = KeyAges { refresh_ms, max_ms, cooldown_ms: KEYS_COOLDOWN_MS };
            let fetcher = Arc::new(fetcher(issuer)?);
            IssuerKeys::fetched(&issuer.name, fetcher, ages, Arc::clone(clock))
        }
    };
    Ok(TokenIssuer { rules: rules(issuer, tenants)?, keys })
}

fn rules(
    issuer: &Issuer,
    tenants: &BTreeMap<String, TenantId>,
) -> Result<IssuerRules, ServerError> {
    let tenant = match (&issuer.tenant, &issuer.tenant_claim) {
        (Some(name), _) => TenantRule::One(tenant_of(tenants, name)?),
        (None, claim) => {
            let mut by_value = BTreeMap::new();
            for (value, name) in &issuer.tenants {
                by_value.insert(value.clone(), tenant_of(tenants, name)?);
            }
            TenantRule::Claim { claim: claim.clone().unwrap_or_default(), tenants: by_value }
        }
    };
    let mut groups = BTreeMap::new();
    for (theirs, ours) in &issuer.groups {
        let group = GroupName::parse(ours);
        groups.insert(theirs.clone(), group.map_err(|error| wrong(issuer, error.to_string()))?);
    }
    let algorithms = issuer.algorithms.iter().filter_map(|name| Algorithm::parse(name)).collect();
    Ok(IssuerRules {
        name: issuer.name.clone(),
        issuer: issuer.issuer.clone(),
        audience: issuer.audience.clone(),
        tenant,
        algorithms,
        token_type: issuer.token_type.clone(),
        groups_claim: issuer.groups_claim.clone(),
        groups,
        claims: issuer.claims.clone(),
        lifetime_seconds_max: issuer.lifetime_seconds_max.into(),
    })
}

fn fetcher(issuer: &Issuer) -> Result<Fetcher, ServerError> {
    let path = match &issuer.ca_file {
        Some(path) => path.clone(),
        None => system_authorities().ok_or_else(|| {
            wrong(issuer, "the system has no authorities: set ca_file".to_owned())
        })?,
    };
    let text = read("issuers.ca_file", &path)?;
    let authorities = certificates("issuers.ca_file", &path, &text)?;
    Fetcher::new(&issuer.issuer, authorities, issuer.allow_private_addresses, provider())
        .map_err(|error| wrong(issuer, error.to_string()))
}

fn system_authorities() -> Option<PathBuf> {
    SYSTEM_AUTHORITIES.iter().map(PathBuf::from).find(|path| path.exists())
}

fn key_set(issuer: &Issuer, text: &[u8]) -> Result<KeySet, ServerError> {
    KeySet::parse(text).map_err(|error| ServerError::File {
        setting: "issuers.jwks_file",
        path: issuer.jwks_file.clone().unwrap_or_default(),
        problem: error.to_string(),
    })
}

fn tenant_of(tenants: &BTreeMap<String, TenantId>, name: &str) -> Result<TenantId, ServerError> {
    tenants.get(name).copied().ok_or_else(|| ServerError::NoTenant(name.to_owned()))
}

fn wrong(issuer: &Issuer, problem: String) -> ServerError {
    ServerError::Issuer { name: issuer.name.clone(), problem }
}

fn read_each(setting: &'static str, paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, ServerError> {
    paths.iter().map(|path| read(setting, path)).collect()
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, ServerError> {
    let problem = |problem: String| ServerError::File { setting, path: path.to_owned(), problem };
    let size = fs::metadata(path).map_err(|error| problem(error.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(problem(format!("is longer than {FILE_BYTES_MAX} bytes")));
    }
    fs::read(path).map_err(|error| problem(error.to_string()))
}

/// The certificates of a PEM file: one at least, and nothing that cannot be read.
pub(super) fn certificates(
    setting: &'static str,
    path: &Path,
    text: &[u8],
) -> Result<Vec<CertificateDer<'static>>, ServerError> {
    let problem = |problem: String| ServerError::File { setting, path: path.to_owned(), problem };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|error| problem(format!("is not PEM ({error})")))?;
    if found.is_empty() {
        return Err(problem("holds no certificate in PEM".to_owned()));
    }
    Ok(found)
}

/// The lists of a PEM file, or the one of a DER file.
fn revocation_lists(
    path: &Path,
    text: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, ServerError> {
    let setting = "trust_domains.crl_files";
    let problem = |problem: String| ServerError::File { setting, path: path.to_owned(), problem };
    if text.first() == Some(&DER_SEQUENCE) {
        return Ok(vec![text.to_vec().into()]);
    }
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(text).collect();
    let found = found.map_err(|error| problem(format!("is neither DER nor PEM ({error})")))?;
    if found.is_empty() {
        return Err(problem("holds no revocation list".to_owned()));
    }
    Ok(found)
}

/// Between two looks at the files.
const LOOK_MS: u64 = 500;
/// Keys that are used are fetched anew when they are as old as this, so that a key that an issuer has
/// taken away stops working in this time.
const KEYS_REFRESH_MS: u64 = 300_000;
/// Between two fetches from one issuer, whatever asks for them.
const KEYS_COOLDOWN_MS: u64 = 10_000;
const FILE_BYTES_MAX: u64 = 16 * 1_024 * 1_024;
const DER_SEQUENCE: u8 = 0x30;
const SYSTEM_AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
