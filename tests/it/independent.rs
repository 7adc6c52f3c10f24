//! A second reader of the whole key hierarchy, written from docs/format.md alone: from the key file
//! down to the material of every version. It shares no code with the program.

use std::fs;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::prelude::{BASE64_STANDARD, Engine};
use bulla_proto::stored;
use hmac::{Hmac, Mac};
use prost::Message;
use sha2::{Digest, Sha256};

use crate::server::TestServer;

/// The root key, every tenant's key and the material of every version, from a copy of the files.
pub(crate) fn all_keys(server: &TestServer) -> Vec<[u8; 32]> {
    let copy = tempfile::tempdir().unwrap();
    for name in ["bulla.db", "bulla.db-wal"] {
        fs::copy(server.path("data").join(name), copy.path().join(name)).unwrap();
    }
    let database = rusqlite::Connection::open(copy.path().join("bulla.db")).unwrap();
    let installation = &rows(&database, 1)[0].2;
    let installation = stored::Installation::decode(&installation[..]).unwrap();
    let installation_id = hex::encode(&installation.installation_id);

    let slot = stored::RootSlot::decode(&rows(&database, 2)[0].2[..]).unwrap();
    let key_file = fs::read_to_string(server.path("root.key")).unwrap();
    let key_file = BASE64_STANDARD.decode(key_file.trim_end()).unwrap();
    let of_slot = [("installation_id", &installation_id[..]), ("slot_kind", &slot.slot_kind)];
    let root = open(&key_file, &[0; 16], &of_slot, &slot.wrapped_root);
    let mut keys = vec![root];
    for (_, id, body) in rows(&database, 3) {
        let tenant = stored::Tenant::decode(&body[..]).unwrap();
        let of_tenant = [("installation_id", &installation_id[..])];
        let tenant_key = open(&root, &id, &of_tenant, &tenant.wrapped_key);
        keys.push(tenant_key);
        for (_, _, body) in rows(&database, 5).iter().filter(|(owner, _, _)| *owner == id) {
            let version = stored::VersionBody::decode(&body[..]).unwrap();
            let generation = version.tenant_key_generation.to_string();
            let of_version = [("tenant_key_generation", &generation[..])];
            keys.push(open(&tenant_key, &id, &of_version, &version.wrapped_material));
        }
    }
    keys
}

/// Suite 01, step by step.
fn open(key: &[u8], tenant: &[u8], context: &[(&str, &str)], blob: &[u8]) -> [u8; 32] {
    let mut bound = blob[..30].to_vec();
    bound.extend_from_slice(tenant);
    bound.extend_from_slice(&(context.len() as u16).to_be_bytes());
    for (name, value) in context {
        for text in [name, value] {
            bound.extend_from_slice(&(text.len() as u16).to_be_bytes());
            bound.extend_from_slice(text.as_bytes());
        }
    }
    let bound = Sha256::digest(&bound);
    let mut derived = Vec::new();
    for counter in 1_u32..=2 {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(&counter.to_be_bytes());
        mac.update(b"bulla-wrap-v1\0");
        mac.update(&blob[30..46]);
        mac.update(&bound);
        mac.update(&512_u32.to_be_bytes());
        derived.extend_from_slice(&mac.finalize().into_bytes());
    }
    assert_eq!(derived[32..], blob[58..90], "the commitment");
    let cipher = Aes256Gcm::new_from_slice(&derived[..32]).unwrap();
    let nonce = Nonce::try_from(&blob[46..58]).unwrap();
    let sealed = Payload { msg: &blob[90..], aad: &bound };
    cipher.decrypt(&nonce, sealed).unwrap().try_into().unwrap()
}

fn rows(database: &rusqlite::Connection, kind: u8) -> Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> {
    database
        .prepare("SELECT tenant, id, body FROM bulla_row WHERE kind = ?1 AND body IS NOT NULL")
        .unwrap()
        .query_map([kind], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}
