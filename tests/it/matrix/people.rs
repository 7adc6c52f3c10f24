//! Everybody who calls: for each role and each kind of proof one principal of its own, and others that
//! lack something. A principal holds one role at most, so that no two of them mix.

use std::fs;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bulla_client::{Client, kms};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;

use super::table::{KINDS, Kind, Lack, ROLES, Row};
use crate::server::{Authority, TestServer};

/// Who calls.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) role: &'static str,
    pub(super) kind: Kind,
    pub(super) lack: Lack,
    pub(super) principal: String,
    /// The files of its certificate.
    pub(super) certificate: Option<String>,
    pub(super) bearer: Option<String>,
}

/// Signs tokens, as an issuer whose keys are in a file of the configuration.
pub(super) struct Signer(Ed25519KeyPair);

/// What makes people.
pub(super) struct Registry<'a> {
    pub(super) server: &'a TestServer,
    pub(super) signer: &'a Signer,
    /// Of the tenant `one`.
    pub(super) operator: &'a Client,
    /// Of the installation's own tenant.
    pub(super) steward: &'a Client,
    pub(super) rows: &'a [Row],
    /// A key that nobody here asks for.
    pub(super) other_key: String,
}

/// The authorities of the two trust domains.
pub(super) struct Authorities {
    one: Authority,
    installation: Authority,
}

// === impl Signer ===

impl Signer {
    pub(super) fn new() -> Self {
        let random = ring::rand::SystemRandom::new();
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        Self(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
    }

    pub(super) fn key_set(&self) -> String {
        let x = BASE64_URL_SAFE_NO_PAD.encode(self.0.public_key().as_ref());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "m", "x": x}]}).to_string()
    }

    /// A token about `subject`, of the issuer of this tenant, with this claim.
    pub(super) fn token(&self, tenant: &str, subject: &str, team: Option<&str>) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({
            "iss": issuer(tenant), "aud": "bulla-matrix", "sub": subject, "iat": now, "exp": now + 1_800,
        });
        if let Some(team) = team {
            claims["team"] = team.into();
        }
        let encode = |text: String| BASE64_URL_SAFE_NO_PAD.encode(text);
        let header = json!({"alg": "EdDSA", "kid": "m", "typ": "JWT"}).to_string();
        let signed = format!("{}.{}", encode(header), encode(claims.to_string()));
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.0.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

fn issuer(tenant: &str) -> String {
    format!("https://{tenant}.matrix.test")
}

// === impl Authorities ===

impl Authorities {
    /// Writes all that the configuration needs: two trust domains and two issuers more.
    pub(super) fn configure(server: &TestServer, signer: &Signer) -> Self {
        let own = Self {
            one: Authority::new("matrix one"),
            installation: Authority::new("matrix installation"),
        };
        fs::write(server.path("m-one.pem"), own.one.pem()).unwrap();
        fs::write(server.path("m-installation.pem"), own.installation.pem()).unwrap();
        fs::write(server.path("m-keys.json"), signer.key_set()).unwrap();
        for tenant in ["one", "installation"] {
            let url = issuer(tenant);
            crate::auth::add(
                server,
                &format!(
                    "[[trust_domains]]\nname = \"{tenant}.matrix.test\"\nca_file = \"m-{tenant}.pem\"\n\
                     tenant = \"{tenant}\"\n[[issuers]]\nname = \"m-{tenant}\"\nissuer = \"{url}\"\n\
                     audience = \"bulla-matrix\"\ntenant = \"{tenant}\"\nalgorithms = [\"EdDSA\"]\n\
                     jwks_file = \"m-keys.json\"\nclaims = {{ team = \"team\" }}\n"
                ),
            );
        }
        own
    }

    /// A certificate in files of this name.
    pub(super) fn certify(&self, server: &TestServer, tenant: &str, name: &str) -> String {
        let authority = if tenant == "one" { &self.one } else { &self.installation };
        let id = format!("spiffe://{tenant}.matrix.test/{name}");
        authority.client_certificate(&id).write(&server.path(name));
        id
    }
}

// === impl Registry ===

impl Registry<'_> {
    /// Everybody.
    pub(super) async fn people(&self, authorities: &Authorities) -> Vec<Person> {
        let mut people = Vec::new();
        for role in ROLES {
            for kind in KINDS {
                for lack in lacks(role, kind) {
                    people.push(self.person(authorities, role, kind, lack).await);
                }
            }
        }
        people
    }

    async fn person(
        &self,
        authorities: &Authorities,
        role: &'static str,
        kind: Kind,
        lack: Lack,
    ) -> Person {
        let tenant = tenant_of(role);
        let manager = if tenant == "one" { self.operator } else { self.steward };
        let shown = if role.is_empty() { "none" } else { role };
        let name = format!("m-{shown}-{kind:?}-{lack:?}").to_lowercase();
        let mut person =
            Person { role, kind, lack, principal: String::new(), certificate: None, bearer: None };
        match kind {
            Kind::Certificate | Kind::Exchanged => {
                person.principal = authorities.certify(self.server, tenant, &name);
                person.certificate = Some(name.clone());
            }
            Kind::Token => {
                person.principal = format!("oidc://m-{tenant}/{name}");
                let team = match lack {
                    Lack::ClaimPresent => Some("matrix"),
                    Lack::ClaimWrong => Some("Matrix"),
                    _ => None,
                };
                person.bearer = Some(self.signer.token(tenant, &name, team));
            }
            Kind::ServiceAccount => {
                person.principal = format!("service://{name}");
                person.bearer = Some(self.credential(manager, tenant, &name, lack).await);
            }
        }
        self.empower(manager, &person).await;
        if kind == Kind::Exchanged {
            let files = person.certificate.take().unwrap();
            person.bearer = Some(self.exchange(tenant, &files, lack).await);
        }
        person
    }

    async fn credential(&self, manager: &Client, tenant: &str, name: &str, lack: Lack) -> String {
        let account = kms::ServiceAccount { name: name.to_owned(), ..self.scope(tenant, lack) };
        let made = kms::CreateServiceAccountRequest {
            service_account: Some(account),
            ..Default::default()
        };
        manager.create_service_account(made).await.unwrap();
        let asked =
            kms::CreateCredentialRequest { service_account: name.to_owned(), ..Default::default() };
        manager.create_credential(asked).await.unwrap().secret
    }

    fn scope(&self, tenant: &str, lack: Lack) -> kms::ServiceAccount {
        let mut scope = kms::ServiceAccount::default();
        match lack {
            Lack::ActionOutOfScope => scope.actions = vec![UNUSED_ACTION.to_owned()],
            // The installation's own tenant has no keys.
            Lack::KeyOutOfScope if tenant != "one" => {
                scope.key_rings = vec!["elsewhere".to_owned()];
            }
            Lack::KeyOutOfScope => scope.keys = vec![self.other_key.clone()],
            Lack::ContextPresent => scope.encryption_context = pair("matrix"),
            Lack::ContextAbsent => scope.encryption_context = pair("another"),
            Lack::NetworkInside => scope.networks = vec!["127.0.0.0/8".to_owned()],
            Lack::NetworkOutside => scope.networks = vec!["10.0.0.0/8".to_owned()],
            _ => {}
        }
        scope
    }

    async fn exchange(&self, tenant: &str, files: &str, lack: Lack) -> String {
        let client = self.server.client(files).await;
        let scope = self.scope(tenant, lack);
        let asked = kms::ExchangeTokenRequest {
            audience: "bulla".to_owned(),
            actions: scope.actions,
            keys: scope.keys,
            key_rings: scope.key_rings,
            lifetime: Some(prost_types::Duration { seconds: 900, nanos: 0 }),
            ..Default::default()
        };
        client.exchange_token(asked).await.unwrap().access_token
    }

    /// Gives the role, or what stands for it.
    async fn empower(&self, manager: &Client, person: &Person) {
        let role = if person.role == "landlord" { "tenant-manager" } else { person.role };
        if role.is_empty() {
            return;
        }
        if role == "approver" {
            let member = kms::Relation {
                object: "group:board".to_owned(),
                relation: "member".to_owned(),
                subject: person.principal.clone(),
            };
            let asked = kms::WriteRelationsRequest { add: vec![member], ..Default::default() };
            manager.write_relations(asked).await.unwrap();
        }
        if let Lack::ClaimPresent | Lack::ClaimAbsent | Lack::ClaimWrong = person.lack {
            return self.put_claim_policy(manager, person).await;
        }
        let expires = person.lack == Lack::RoleExpired;
        let asked = kms::BindRoleRequest {
            principal: person.principal.clone(),
            role: role.to_owned(),
            expire_time: expires.then(|| (SystemTime::now() + SOON).into()),
            ..Default::default()
        };
        manager.bind_role(asked).await.unwrap();
    }

    /// What the role gives, by the table, to whoever claims a team.
    async fn put_claim_policy(&self, manager: &Client, person: &Person) {
        let rows = self.rows.iter().filter(|row| row.who.iter().any(|who| who == person.role));
        let mut actions: Vec<_> = rows.flat_map(|row| row.actions.clone()).collect();
        actions.sort();
        actions.dedup();
        if actions.is_empty() {
            return;
        }
        let actions: Vec<_> =
            actions.iter().map(|action| format!("Bulla::Action::\"{action}\"")).collect();
        let text = format!(
            "permit (principal == Bulla::Principal::\"{}\", action in [{}], resource) when \
             {{ context.claims.hasTag(\"team\") && context.claims.getTag(\"team\") == \"matrix\" }};",
            person.principal,
            actions.join(", "),
        );
        let policy_id = format!("claim-{}-{:?}", person.role, person.lack).to_lowercase();
        let asked = kms::PutPolicyRequest { policy_id, text, ..Default::default() };
        manager.put_policy(asked).await.unwrap();
    }
}

/// What somebody of this role and proof can lack.
fn lacks(role: &str, kind: Kind) -> Vec<Lack> {
    use Lack::{
        ActionOutOfScope, ClaimAbsent, ClaimPresent, ClaimWrong, ContextAbsent, ContextPresent,
        Grant, GrantContextAbsent, GrantContextPresent, GrantExpired, KeyOutOfScope, NetworkInside,
        NetworkOutside, Nothing, RoleExpired,
    };
    if role.is_empty() {
        return vec![Nothing, Grant, GrantExpired, GrantContextPresent, GrantContextAbsent];
    }
    let mut all = vec![Nothing, RoleExpired];
    all.extend_from_slice(match kind {
        Kind::Certificate => &[],
        // A policy of the installation's own tenant is nothing that a table row could tell of.
        Kind::Token if role == "landlord" => &[],
        Kind::Token => &[ClaimPresent, ClaimAbsent, ClaimWrong],
        Kind::ServiceAccount => &[
            ActionOutOfScope,
            KeyOutOfScope,
            ContextPresent,
            ContextAbsent,
            NetworkInside,
            NetworkOutside,
        ],
        Kind::Exchanged => &[ActionOutOfScope, KeyOutOfScope],
    });
    all
}

pub(super) fn tenant_of(role: &str) -> &'static str {
    if role == "landlord" { "installation" } else { "one" }
}

pub(super) fn pair(purpose: &str) -> std::collections::BTreeMap<String, String> {
    [("purpose".to_owned(), purpose.to_owned())].into()
}

/// How long lasts what is to have ended when the calls begin.
pub(super) const SOON: Duration = Duration::from_secs(3);
/// An action that no method takes: the page of metrics does.
const UNUSED_ACTION: &str = "operator.metrics";
