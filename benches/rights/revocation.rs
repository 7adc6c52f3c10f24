//! Attack D11, done-when 4: how long a call still passes after a revocation was acknowledged, while eight
//! clients call. Targets: 1 s for 99 of a hundred, 5 s for all. A certificate is revoked by a list, so there
//! it is the time since the list was in its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bulla_client::{Client, kms};
use prost::Message;

use crate::stage::{Line, Stage, id};
use crate::{Failure, Plan};

const GENERATE: &str = "Crypto/GenerateDataKey";

/// Who revokes, who loses, and what is asked meanwhile.
struct Scene {
    manager: Client,
    victim: Line,
    key: String,
    request: Vec<u8>,
}

/// Measures each kind and prints a line for each.
pub(crate) async fn measure(stage: &mut Stage, plan: &Plan) -> Result<(), Failure> {
    let manager = stage.client("manager").await?;
    let made = manager.create_key(kms::CreateKeyRequest::default()).await?;
    let key = made.key.map(|key| key.key_id).unwrap_or_default();
    let asked = kms::GenerateDataKeyRequest { key: key.clone(), ..Default::default() };
    let request = asked.encode_to_vec();
    let (ended, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let (line, request) = (stage.line(Some("app")).await?, request.clone());
        let (ended, calls) = (Arc::clone(&ended), Arc::clone(&calls));
        callers.push(tokio::spawn(async move {
            while !ended.load(Ordering::Relaxed) {
                assert_eq!(line.call(GENERATE, &request).await, 0);
                calls.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    let victim = stage.line(Some("victim")).await?;
    let scene = Scene { manager, victim, key, request };
    let began = Instant::now();
    println!("\n{:<28} {:>6} {:>9} {:>9} {:>9}", "revoked", "times", "p50", "p99", "max");
    scene.grants(plan.revocations).await?;
    scene.roles(plan.revocations).await?;
    scene.relations(plan.revocations).await?;
    scene.credentials(stage, plan.revocations).await?;
    scene.origins(stage, plan.revocations).await?;
    scene.certificates(stage, plan.lists).await?;
    let rate = calls.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    ended.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await?;
    }
    println!("{CALLERS} clients made {rate:.0} calls a second meanwhile");
    Ok(())
}

// === impl Scene ===

impl Scene {
    async fn grants(&self, times: usize) -> Result<(), Failure> {
        let mut took = Vec::new();
        for _ in 0..times {
            let asked = kms::CreateGrantRequest {
                key: self.key.clone(),
                principal: id("victim", "one"),
                actions: vec!["crypto.generate_data_key".to_owned()],
                ..Default::default()
            };
            let made = self.manager.create_grant(asked).await?.grant.unwrap_or_default();
            self.passes(&self.victim).await?;
            let grant_id = made.grant_id;
            let asked = kms::RevokeGrantRequest { grant_id, ..Default::default() };
            self.manager.revoke_grant(asked).await?;
            took.push(self.until_refused(&self.victim).await?);
        }
        told("a grant", took)
    }

    async fn roles(&self, times: usize) -> Result<(), Failure> {
        let mut took = Vec::new();
        for _ in 0..times {
            self.bind(&id("victim", "one")).await?;
            self.passes(&self.victim).await?;
            self.unbind(&id("victim", "one")).await?;
            took.push(self.until_refused(&self.victim).await?);
        }
        told("a role", took)
    }

    async fn relations(&self, times: usize) -> Result<(), Failure> {
        let tuple = kms::Relation {
            object: format!("key:{}", self.key),
            relation: "user".to_owned(),
            subject: id("victim", "one"),
        };
        let mut took = Vec::new();
        for _ in 0..times {
            let add = vec![tuple.clone()];
            let asked = kms::WriteRelationsRequest { add, ..Default::default() };
            self.manager.write_relations(asked).await?;
            self.passes(&self.victim).await?;
            let remove = vec![tuple.clone()];
            let asked = kms::WriteRelationsRequest { remove, ..Default::default() };
            self.manager.write_relations(asked).await?;
            took.push(self.until_refused(&self.victim).await?);
        }
        told("a relation", took)
    }

    async fn credentials(&self, stage: &Stage, times: usize) -> Result<(), Failure> {
        let account = kms::ServiceAccount { name: "batch".to_owned(), ..Default::default() };
        let service_account = Some(account);
        let asked = kms::CreateServiceAccountRequest { service_account, ..Default::default() };
        self.manager.create_service_account(asked).await?;
        self.bind("service://batch").await?;
        let mut line = stage.line(None).await?;
        let mut took = Vec::new();
        for _ in 0..times {
            let service_account = "batch".to_owned();
            let asked = kms::CreateCredentialRequest { service_account, ..Default::default() };
            let made = self.manager.create_credential(asked).await?;
            line.bearer = Some(made.secret);
            self.passes(&line).await?;
            let credential_id = made.credential.unwrap_or_default().credential_id;
            let asked = kms::RevokeCredentialRequest { credential_id, ..Default::default() };
            self.manager.revoke_credential(asked).await?;
            took.push(self.until_refused(&line).await?);
            // Failures of one address are limited, and this is one address.
            tokio::time::sleep(BETWEEN_FAILURES).await;
        }
        told("a credential", took)
    }

    /// What a token was exchanged for loses its role: so does the token.
    async fn origins(&self, stage: &Stage, times: usize) -> Result<(), Failure> {
        let victim = stage.client("victim").await?;
        let asked = kms::ExchangeTokenRequest {
            audience: "bulla".to_owned(),
            lifetime: Some(prost_types::Duration { seconds: 900, nanos: 0 }),
            ..Default::default()
        };
        let mut line = stage.line(None).await?;
        line.bearer = Some(victim.exchange_token(asked).await?.access_token);
        let mut took = Vec::new();
        for _ in 0..times {
            self.bind(&id("victim", "one")).await?;
            self.passes(&line).await?;
            self.unbind(&id("victim", "one")).await?;
            took.push(self.until_refused(&line).await?);
        }
        told("an exchanged token's origin", took)
    }

    async fn certificates(&self, stage: &mut Stage, times: usize) -> Result<(), Failure> {
        self.bind(&id("leaver", "one")).await?;
        let mut took = Vec::new();
        for _ in 0..times {
            let serial = stage.certify("leaver", "one")?;
            let line = stage.line(Some("leaver")).await?;
            self.passes(&line).await?;
            stage.revoke(serial)?;
            took.push(self.until_refused(&line).await?);
        }
        told("a certificate, by a list", took)
    }

    async fn bind(&self, principal: &str) -> Result<(), Failure> {
        let (principal, role) = (principal.to_owned(), "key-user".to_owned());
        let asked = kms::BindRoleRequest { principal, role, ..Default::default() };
        self.manager.bind_role(asked).await?;
        Ok(())
    }

    async fn unbind(&self, principal: &str) -> Result<(), Failure> {
        let (principal, role) = (principal.to_owned(), "key-user".to_owned());
        let asked = kms::UnbindRoleRequest { principal, role, ..Default::default() };
        self.manager.unbind_role(asked).await?;
        Ok(())
    }

    async fn passes(&self, line: &Line) -> Result<(), Failure> {
        match line.call(GENERATE, &self.request).await {
            0 => Ok(()),
            status => Err(format!("what was just given is refused with {status}").into()),
        }
    }

    /// Until the end of the first call that was refused.
    async fn until_refused(&self, line: &Line) -> Result<Duration, Failure> {
        let began = Instant::now();
        while line.call(GENERATE, &self.request).await == 0 {
            if began.elapsed() > BOUND {
                return Err("still allowed after the bound".into());
            }
        }
        Ok(began.elapsed())
    }
}

fn told(what: &str, mut took: Vec<Duration>) -> Result<(), Failure> {
    took.sort();
    let at = |hundredth: usize| took[(took.len() * hundredth / 100).min(took.len() - 1)];
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    let (times, last) = (took.len(), took[took.len() - 1]);
    println!("{what:<28} {times:>6} {:>9} {:>9} {:>9}", ms(at(50)), ms(at(99)), ms(last));
    Ok(())
}

const CALLERS: usize = 8;
const BOUND: Duration = Duration::from_secs(5);
const BETWEEN_FAILURES: Duration = Duration::from_millis(50);
