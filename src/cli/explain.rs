//! `bulla explain`: why somebody may or may not do something, and what would let them.

use std::collections::BTreeMap;

use bulla_client::kms;
use prost_types::Timestamp;

use super::Session;
use super::arguments::{ContextArguments, distinct, parse_pair};
use super::failure::Failure;
use super::table::{record, yes_or_no};
use super::time;

/// A question to be explained.
#[derive(clap::Args, Debug)]
pub struct ExplainArguments {
    /// Who, such as spiffe://example.org/billing
    principal: String,
    /// What, such as crypto.decrypt
    action: String,
    /// Of which key: an id or alias
    key: Option<String>,
    #[command(flatten)]
    context: ContextArguments,
    /// A group that its token would assert; may be given more than once
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,
    /// What its token would claim; may be given more than once
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = parse_pair)]
    claims: Vec<(String, String)>,
    /// How it would prove who it is: certificate, token, service_account or exchanged
    #[arg(long, value_name = "KIND", default_value = "certificate")]
    credential_kind: String,
    /// From where it would ask
    #[arg(long, value_name = "ADDRESS")]
    source_address: Option<String>,
    /// When it would ask [default: now]
    #[arg(long, value_name = "TIME", value_parser = time::parse_time)]
    time: Option<Timestamp>,
    /// For whom it would ask
    #[arg(long, value_name = "PRINCIPAL")]
    end_user: Option<String>,
}

// === impl ExplainArguments ===

impl ExplainArguments {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let question = Some(self.question()?);
        let response = session.client().await?.explain(kms::ExplainRequest { question }).await?;
        session.printer.message(&response, |_| explained(&response))
    }

    fn question(self) -> Result<kms::Question, Failure> {
        let claims: BTreeMap<_, _> = distinct("--claim", &self.claims)?;
        Ok(kms::Question {
            encryption_context: self.context.pairs()?,
            principal: self.principal,
            action: self.action,
            key: self.key.unwrap_or_default(),
            groups: self.groups,
            claims,
            credential_kind: self.credential_kind,
            source_address: self.source_address.unwrap_or_default(),
            time: self.time,
            end_user: self.end_user.unwrap_or_default(),
        })
    }
}

fn explained(response: &kms::ExplainResponse) -> String {
    let decision = response.decision.clone().unwrap_or_default();
    let mut fields = vec![
        ("allowed", yes_or_no(decision.allowed)),
        ("policies", decision.policies.join(", ")),
        ("class", decision.class),
        ("roles", response.roles.join(", ")),
        ("groups", response.groups.join(", ")),
    ];
    fields.extend(decision.errors.into_iter().map(|error| ("error", error)));
    if !response.remedy.is_empty() {
        fields.push(("remedy", response.remedy.clone()));
    }
    record(&fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_names_what_decided_and_what_would_help() {
        let own = |text: &str| text.to_owned();
        let mut response = kms::ExplainResponse {
            decision: Some(kms::Decision {
                allowed: false,
                class: own("no_policy"),
                ..Default::default()
            }),
            roles: vec![own("auditor")],
            groups: vec![own("audit"), own("staff")],
            remedy: own("bulla role bind spiffe://one.test/app key-user"),
        };
        assert_eq!(
            explained(&response),
            "ALLOWED   no\n\
             POLICIES  -\n\
             CLASS     no_policy\n\
             ROLES     auditor\n\
             GROUPS    audit, staff\n\
             REMEDY    bulla role bind spiffe://one.test/app key-user\n"
        );
        let errors = vec![own("a: no such tag")];
        response.decision = Some(kms::Decision { errors, ..Default::default() });
        response.remedy.clear();
        assert!(explained(&response).ends_with("ERROR     a: no such tag\n"));
    }
}
