//! Who may do what, over the wire: grants, relations, roles and policies, and that taking one away works at
//! once on a server that runs.

mod grants;
mod policies;
mod relations;
mod revocation;

use bulla_client::{Client, Error};
use bulla_proto::kms;
use tonic::Code;

use super::{Shared, decrypt_of, fresh, new_key, on_both_stores, pairs, refused};
use crate::server::spiffe_id;

/// The answer to whoever may not, and to whoever asks for what is not there.
fn denied() -> (Code, String) {
    (Code::PermissionDenied, "PERMISSION_DENIED".to_owned())
}

async fn data_key(user: &Client, key: &str, context: &[(&str, &str)]) -> Result<Vec<u8>, Error> {
    let asked = kms::GenerateDataKeyRequest {
        key: key.to_owned(),
        encryption_context: pairs(context),
        ..Default::default()
    };
    Ok(user.generate_data_key(asked).await?.ciphertext)
}

/// A key in this ring.
async fn key_in(manager: &Client, ring: &str) -> String {
    let asked = kms::CreateKeyRequest { key_ring: ring.to_owned(), ..Default::default() };
    manager.create_key(asked).await.unwrap().key.unwrap().key_id
}

fn tuple(text: &str) -> kms::Relation {
    let (object, rest) = text.split_once('#').unwrap();
    let (relation, subject) = rest.split_once('@').unwrap();
    let own = str::to_owned;
    kms::Relation { object: own(object), relation: own(relation), subject: own(subject) }
}

async fn relate(client: &Client, add: &[String], remove: &[String]) -> Result<u64, Error> {
    let asked = kms::WriteRelationsRequest {
        add: add.iter().map(|text| tuple(text)).collect(),
        remove: remove.iter().map(|text| tuple(text)).collect(),
        ..Default::default()
    };
    Ok(client.write_relations(asked).await?.revision)
}

async fn bind(client: &Client, subject: &str, role: &str) -> Result<kms::RoleBinding, Error> {
    let asked = kms::BindRoleRequest {
        principal: subject.to_owned(),
        role: role.to_owned(),
        ..Default::default()
    };
    Ok(client.bind_role(asked).await?.binding.unwrap())
}

async fn unbind(client: &Client, subject: &str, role: &str) {
    let asked = kms::UnbindRoleRequest {
        principal: subject.to_owned(),
        role: role.to_owned(),
        ..Default::default()
    };
    client.unbind_role(asked).await.unwrap();
}

fn grant_of(key: &str, caller: &str, actions: &[&str]) -> kms::CreateGrantRequest {
    kms::CreateGrantRequest {
        key: key.to_owned(),
        principal: spiffe_id(caller),
        actions: actions.iter().map(|action| (*action).to_owned()).collect(),
        ..Default::default()
    }
}

async fn grant(client: &Client, asked: kms::CreateGrantRequest) -> Result<kms::Grant, Error> {
    Ok(client.create_grant(asked).await?.grant.unwrap())
}

async fn revoke(client: &Client, grant: &kms::Grant) -> Result<(), Error> {
    let grant_id = grant.grant_id.clone();
    client.revoke_grant(kms::RevokeGrantRequest { grant_id, ..Default::default() }).await?;
    Ok(())
}
