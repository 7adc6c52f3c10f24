//! What calls are about: keys in every state, blobs of them, and everything else that has a name. A call
//! that would change something gets a thing made for it alone; what is shared is compared at the end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bulla_client::{Client, Error, kms};

use super::people::{Person, SOON, pair};
use crate::server::TestServer;

/// What a request names.
#[derive(Clone, Debug, Default)]
pub(super) struct Thing {
    /// A key's id or alias, or the name or id of something else.
    pub(super) name: String,
    pub(super) version: u32,
    /// A blob of the key's version.
    pub(super) blob: Vec<u8>,
    pub(super) digest: Vec<u8>,
}

/// Who makes things in one tenant.
pub(super) struct Maker {
    /// Manages keys and access.
    pub(super) manager: Client,
    user: Client,
    /// A registered store, whose name is the same in both tenants.
    pub(super) store: String,
}

pub(super) const STATES: [&str; 7] = [
    "active",
    "deactivated",
    "rewrap_only",
    "suspended",
    "compromised",
    "destroy_scheduled",
    "missing",
];

// === impl Maker ===

impl Maker {
    pub(super) async fn of(server: &TestServer, manager: &str, user: &str) -> Self {
        let (manager, user) = (server.client(manager).await, server.client(user).await);
        let store = "matrix/orders.dek".to_owned();
        register(&manager, &store).await;
        Self { manager, user, store }
    }

    /// An enabled key, or one that is then disabled, with a blob of its only version.
    pub(super) async fn key(&self, enabled: bool) -> Thing {
        let made = self.manager.create_key(kms::CreateKeyRequest::default()).await.unwrap();
        let name = made.key.unwrap().key_id;
        let blob = self.blob(&name).await;
        if !enabled {
            let asked = kms::DisableKeyRequest { key: name.clone(), ..Default::default() };
            done(|| self.manager.disable_key(asked.clone())).await;
        }
        Thing { name, version: 1, blob, ..Thing::default() }
    }

    async fn blob(&self, key: &str) -> Vec<u8> {
        let asked = kms::GenerateDataKeyRequest {
            key: key.to_owned(),
            encryption_context: pair("matrix"),
            ..Default::default()
        };
        self.user.generate_data_key(asked).await.unwrap().ciphertext
    }

    /// An alias of a key, new.
    pub(super) async fn alias(&self, key: &str) -> Thing {
        let alias = fresh("alias");
        let asked = kms::SetAliasRequest {
            alias: alias.clone(),
            key: key.to_owned(),
            ..Default::default()
        };
        done(|| self.manager.set_alias(asked.clone())).await;
        Thing { name: alias, version: 1, ..Thing::default() }
    }

    /// A key whose version 1 stands so.
    pub(super) async fn in_state(&self, state: &str) -> Thing {
        let mut thing = self.key(true).await;
        let (key, version, manager) = (thing.name.clone(), 1, &self.manager);
        if state == "missing" {
            // In the blob's header: 22 bytes of magic, suite, type and key, then the version.
            thing.version = 99;
            thing.blob[25] = 99;
            return thing;
        }
        if state != "active" {
            let asked = kms::RotateKeyRequest { key: key.clone(), ..Default::default() };
            done(|| manager.rotate_key(asked.clone())).await;
        }
        macro_rules! step {
            ($method:ident, $Request:ident { $($field:ident : $value:expr),* }) => {{
                let asked = kms::$Request { key, version, $($field: $value,)* ..Default::default() };
                manager.$method(asked).await.unwrap();
            }};
        }
        match state {
            "rewrap_only" => step!(restrict_version, RestrictVersionRequest {}),
            "suspended" => step!(suspend_version, SuspendVersionRequest {}),
            "compromised" => {
                step!(compromise_version, CompromiseVersionRequest { reason: "matrix".into() });
            }
            "destroy_scheduled" => step!(
                schedule_destroy,
                ScheduleDestroyRequest { reason: "matrix".into(), not_safe: true }
            ),
            _ => {}
        }
        thing
    }

    /// A new campaign over a key with something to move.
    pub(super) async fn campaign(&self) -> Thing {
        let key = self.in_state("deactivated").await.name;
        let asked = kms::CreateCampaignRequest {
            key,
            stores: vec![self.store.clone()],
            ..Default::default()
        };
        let made = done(|| self.manager.create_campaign(asked.clone())).await;
        named(made.campaign.unwrap().campaign_id)
    }

    /// Something new of this kind.
    pub(super) async fn thing(&self, of: &str, key: &str) -> Thing {
        let manager = &self.manager;
        match of {
            "alias" => self.alias(key).await,
            "store" => {
                let store = fresh("matrix/store");
                register(manager, &store).await;
                named(store)
            }
            "campaign" => self.campaign().await,
            "grant" => {
                self.grant(key, "spiffe://one.matrix.test/someone", &["crypto.decrypt"]).await
            }
            "policy" => {
                let asked = kms::PutPolicyRequest {
                    policy_id: fresh("policy"),
                    text: harmless_policy(),
                    ..Default::default()
                };
                named(done(|| manager.put_policy(asked.clone())).await.policy.unwrap().policy_id)
            }
            "account" => {
                let account = kms::ServiceAccount { name: fresh("account"), ..Default::default() };
                let asked = kms::CreateServiceAccountRequest {
                    service_account: Some(account),
                    ..Default::default()
                };
                let made = done(|| manager.create_service_account(asked.clone())).await;
                named(made.service_account.unwrap().name)
            }
            "credential" => {
                let service_account = Box::pin(self.thing("account", key)).await.name;
                let asked = kms::CreateCredentialRequest { service_account, ..Default::default() };
                let made = done(|| manager.create_credential(asked.clone())).await;
                named(made.credential.unwrap().credential_id)
            }
            "proposal" => self.proposal(key).await,
            other => panic!("nothing makes {other}"),
        }
    }

    pub(super) async fn grant(&self, key: &str, to: &str, actions: &[&str]) -> Thing {
        let asked = kms::CreateGrantRequest {
            key: key.to_owned(),
            principal: to.to_owned(),
            actions: actions.iter().map(|action| (*action).to_owned()).collect(),
            ..Default::default()
        };
        named(done(|| self.manager.create_grant(asked.clone())).await.grant.unwrap().grant_id)
    }

    async fn proposal(&self, key: &str) -> Thing {
        let asked = kms::ProposeRequest {
            method: "/bulla.kms.v1.Rotation/WaiveUnnamedStore".to_owned(),
            request: waive(key, 1),
            reason: fresh("matrix"),
            ..Default::default()
        };
        let made = done(|| self.manager.propose(asked.clone())).await.proposal.unwrap();
        Thing { name: made.proposal_id, digest: made.digest, ..Thing::default() }
    }

    /// Everything that can be seen of a key, for comparison.
    pub(super) async fn shown(&self, key: &str) -> String {
        let asked = kms::GetKeyRequest { key: key.to_owned() };
        let mut shown = done(|| self.manager.get_key(asked.clone())).await.key.unwrap();
        // Aliases of shared keys come and go with the calls that may do that.
        shown.aliases.clear();
        shown.etag.clear();
        let asked = kms::ListVersionsRequest { key: key.to_owned(), ..Default::default() };
        format!("{shown:?} {:?}", done(|| self.manager.list_versions(asked.clone())).await)
    }

    /// Gives this person a grant on the key, if its lack is about one.
    pub(super) async fn grant_for(&self, person: &Person, key: &str, actions: &[String]) {
        use super::table::Lack;
        let (context, expire_time) = match person.lack {
            Lack::Grant => (Default::default(), None),
            Lack::GrantExpired => (Default::default(), Some((SystemTime::now() + SOON).into())),
            Lack::GrantContextPresent => (pair("matrix"), None),
            Lack::GrantContextAbsent => (pair("another"), None),
            _ => return,
        };
        let asked = kms::CreateGrantRequest {
            key: key.to_owned(),
            principal: person.principal.clone(),
            actions: actions.to_vec(),
            encryption_context: context,
            expire_time,
            ..Default::default()
        };
        done(|| self.manager.create_grant(asked.clone())).await;
    }
}

/// A policy that gives nobody anything.
pub(super) fn harmless_policy() -> String {
    "permit (principal == Bulla::Principal::\"spiffe://one.matrix.test/nobody\", \
     action == Bulla::Action::\"keys.get_key\", resource);"
        .to_owned()
}

pub(super) fn waive(key: &str, version: u32) -> Vec<u8> {
    use prost::Message;
    let asked = kms::WaiveUnnamedStoreRequest {
        key: key.to_owned(),
        version,
        reason: "matrix".to_owned(),
        ..Default::default()
    };
    asked.encode_to_vec()
}

pub(super) fn named(name: String) -> Thing {
    Thing { name, version: 1, ..Thing::default() }
}

async fn register(manager: &Client, store: &str) {
    let asked = kms::RegisterStoreRequest {
        name: store.to_owned(),
        owner: "matrix".to_owned(),
        kind: kms::StoreKind::Postgresql.into(),
        ..Default::default()
    };
    done(|| manager.register_store(asked.clone())).await;
}

pub(super) fn fresh(stem: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{stem}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// What comes of a call once no other change comes first.
pub(super) async fn done<T, F: Future<Output = Result<T, Error>>>(call: impl Fn() -> F) -> T {
    loop {
        match call().await {
            Ok(reply) => return reply,
            Err(error) => assert_eq!(error.reason(), "CONFLICT", "{error:?}"),
        }
    }
}
