//! `bulla relation`: groups and their members, and who stands in which relation to rings and keys.

use bulla_client::kms;

use super::Session;
use super::arguments::Once;
use super::failure::Failure;
use super::pages::{Limit, gather};
use super::table::{Table, record};

/// Relation tuples.
#[derive(clap::Subcommand, Debug)]
pub enum RelationCommand {
    /// Add relations, all or none
    Add(WriteRelations),
    /// Remove relations, all or none
    Remove(WriteRelations),
    /// List relations
    List(ListRelations),
}

/// Tuples to be written.
#[derive(clap::Args, Debug)]
pub struct WriteRelations {
    /// OBJECT#RELATION@SUBJECT: group:NAME#member@SUBJECT, or ring:PATH or key:UUID with user,
    /// rewrapper, manager or viewer; a subject is a principal or group:NAME#member
    #[arg(required = true, value_name = "TUPLE", value_parser = parse_tuple)]
    tuples: Vec<Tuple>,
    #[command(flatten)]
    once: Once,
}

/// Which tuples to list.
#[derive(clap::Args, Debug)]
pub struct ListRelations {
    /// Only of this: group:NAME, ring:PATH or key:UUID
    #[arg(long)]
    object: Option<String>,
    /// Only this: member, user, rewrapper, manager or viewer
    #[arg(long)]
    relation: Option<String>,
    /// Only of this principal, or group:NAME#member
    #[arg(long)]
    subject: Option<String>,
    #[command(flatten)]
    limit: Limit,
}

/// One tuple.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tuple {
    object: String,
    relation: String,
    subject: String,
}

// === impl RelationCommand ===

impl RelationCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Add(WriteRelations { tuples, once }) => {
                let add = tuples.into_iter().map(Into::into).collect();
                let request_id = once.request_id();
                write(session, kms::WriteRelationsRequest { add, request_id, ..Default::default() })
                    .await
            }
            Self::Remove(WriteRelations { tuples, once }) => {
                let remove = tuples.into_iter().map(Into::into).collect();
                let request_id = once.request_id();
                let request =
                    kms::WriteRelationsRequest { remove, request_id, ..Default::default() };
                write(session, request).await
            }
            Self::List(wanted) => list(session, wanted).await,
        }
    }
}

async fn write(session: &Session, request: kms::WriteRelationsRequest) -> Result<(), Failure> {
    let response = session.client().await?.write_relations(request).await?;
    session.printer.message(&response, |_| record(&[("revision", response.revision.to_string())]))
}

async fn list(session: &Session, wanted: ListRelations) -> Result<(), Failure> {
    let client = session.client().await?;
    let of = kms::ListRelationsRequest {
        object: wanted.object.unwrap_or_default(),
        relation: wanted.relation.unwrap_or_default(),
        subject: wanted.subject.unwrap_or_default(),
        ..Default::default()
    };
    let all = gather(wanted.limit, |page_size, page_token| {
        let request = kms::ListRelationsRequest { page_size, page_token, ..of.clone() };
        let client = client.clone();
        async move {
            let page = client.list_relations(request).await?;
            Ok((page.relations, page.next_page_token))
        }
    });
    let all = all.await?;
    let mut relations = all.items;
    relations.sort_by(|one, other| {
        let key = |tuple: &kms::Relation| {
            (tuple.object.clone(), tuple.relation.clone(), tuple.subject.clone())
        };
        key(one).cmp(&key(other))
    });
    let next_page_token = all.next_page_token;
    let response = kms::ListRelationsResponse { relations, next_page_token };
    session.printer.message(&response, |_| {
        let mut table = Table::new(&["object", "relation", "subject"]);
        for tuple in &response.relations {
            table.row([tuple.object.clone(), tuple.relation.clone(), tuple.subject.clone()]);
        }
        table.render("no relations")
    })
}

/// Reads `object#relation@subject`.
fn parse_tuple(text: &str) -> Result<Tuple, String> {
    let parts = text.split_once('#').and_then(|(object, rest)| {
        let (relation, subject) = rest.split_once('@')?;
        Some((object, relation, subject))
    });
    match parts {
        Some((object, relation, subject))
            if !object.is_empty() && !relation.is_empty() && !subject.is_empty() =>
        {
            let own = str::to_owned;
            Ok(Tuple { object: own(object), relation: own(relation), subject: own(subject) })
        }
        _ => Err("write it as OBJECT#RELATION@SUBJECT".to_owned()),
    }
}

impl From<Tuple> for kms::Relation {
    fn from(tuple: Tuple) -> Self {
        Self { object: tuple.object, relation: tuple.relation, subject: tuple.subject }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_tuple_is_split_at_its_first_hash_and_at_sign() {
        let own = str::to_owned;
        let tuple = parse_tuple("ring:a#user@group:b#member").unwrap();
        let expected =
            Tuple { object: own("ring:a"), relation: own("user"), subject: own("group:b#member") };
        assert_eq!(tuple, expected);
        let token = parse_tuple("group:a#member@oidc://github/me@example.org").unwrap();
        assert_eq!(token.subject, "oidc://github/me@example.org");
        for bad in ["", "ring:a", "ring:a#user", "#user@x", "ring:a#@x", "ring:a#user@"] {
            assert!(parse_tuple(bad).is_err(), "{bad:?}");
        }
    }
}
