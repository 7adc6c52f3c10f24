//! A table of customers in SQLite, each row sealed under a data key of its own.
//!
//! | column | what |
//! |---|---|
//! | `id`, `name` | in the clear |
//! | `sealed` | random nonce (12 B) ‖ AES-256-GCM (SP 800-38D) of email, iban, address ‖ tag (16 B) |
//! | `dek` | the row's data key, wrapped by Bulla |
//!
//! The associated data of `sealed` is the table's name and the row's id, so a value that is moved
//! to another row does not open, whichever `dek` it takes along. It is *not* the wrapped key: that
//! changes when it is moved to a new version, and `sealed` must not. This is why a column is not
//! sealed in the format of files, whose header carries the wrapped key. A data key seals one value
//! once, so the random nonce can never meet another; a row that changes takes a new data key.
//!
//! Never sees a key of Bulla's, and never keeps a data key.

use std::path::Path;

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::cli::failure::{Exit, Failure};

/// A customer as the CSV has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Customer {
    pub(super) id: u32,
    pub(super) name: String,
    pub(super) sensitive: Sensitive,
}

/// What is sealed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Sensitive {
    email: String,
    iban: String,
    address: String,
}

/// A row as the table has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Row {
    pub(super) id: u32,
    pub(super) sealed: Vec<u8>,
    pub(super) dek: Vec<u8>,
}

/// The table.
pub(super) struct Table {
    database: Connection,
}

// === impl Customer ===

impl Customer {
    /// The customers of the quickstart. Nobody lives who is in there.
    pub(super) fn all() -> Result<Vec<Self>, Failure> {
        let rows = csv::Reader::from_reader(CUSTOMERS.as_bytes()).into_deserialize();
        let customers: Result<Vec<Self>, csv::Error> = rows
            .map(|row| {
                let (id, name, email, iban, address) = row?;
                Ok(Self { id, name, sensitive: Sensitive { email, iban, address } })
            })
            .collect();
        customers.map_err(|error| Failure::new(Exit::Internal, format!("customers.csv: {error}")))
    }

    /// The row of this customer under a data key of 32 bytes, whose wrapped form is `dek`.
    pub(super) fn seal(&self, data_key: &[u8], dek: Vec<u8>) -> Result<Row, Failure> {
        let broken = || Failure::new(Exit::Internal, "cannot seal a row");
        let cipher = Aes256Gcm::new_from_slice(data_key).map_err(|_| broken())?;
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| broken())?;
        let plaintext = serde_json::to_vec(&self.sensitive).map_err(|_| broken())?;
        let payload = Payload { msg: &plaintext, aad: &associated_data(self.id) };
        let ciphertext = cipher.encrypt(&Nonce::from(nonce), payload).map_err(|_| broken())?;
        Ok(Row { id: self.id, sealed: [&nonce[..], &ciphertext].concat(), dek })
    }
}

// === impl Row ===

impl Row {
    /// What is sealed in the row, under its data key in the clear.
    pub(super) fn open(&self, data_key: &[u8]) -> Result<Sensitive, Failure> {
        let wrong = || Failure::new(Exit::Data, format!("row {} does not open", self.id));
        let cipher = Aes256Gcm::new_from_slice(data_key).map_err(|_| wrong())?;
        let (nonce, ciphertext) =
            self.sealed.split_first_chunk::<NONCE_BYTES>().ok_or_else(wrong)?;
        let payload = Payload { msg: ciphertext, aad: &associated_data(self.id) };
        let plaintext = cipher.decrypt(&Nonce::from(*nonce), payload).map_err(|_| wrong())?;
        serde_json::from_slice(&plaintext).map_err(|_| wrong())
    }
}

// === impl Table ===

impl Table {
    /// A new table in a new file.
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        crate::cli::output_file::create_private(path)
            .map_err(|error| Failure::output(path, &error))?;
        let database = Connection::open(path).map_err(failed)?;
        database
            .execute_batch(
                "CREATE TABLE customers (
                    id INTEGER PRIMARY KEY, name TEXT NOT NULL,
                    sealed BLOB NOT NULL, dek BLOB NOT NULL
                 ) STRICT",
            )
            .map_err(failed)?;
        Ok(Self { database })
    }

    /// Adds rows, all or none.
    pub(super) fn insert(&mut self, rows: &[(&Customer, Row)]) -> Result<(), Failure> {
        let transaction = self.database.transaction().map_err(failed)?;
        for (customer, row) in rows {
            transaction
                .execute(
                    "INSERT INTO customers (id, name, sealed, dek) VALUES (?1, ?2, ?3, ?4)",
                    params![row.id, customer.name, row.sealed, row.dek],
                )
                .map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }

    /// All rows, by id.
    pub(super) fn rows(&self) -> Result<Vec<Row>, Failure> {
        let mut query = self
            .database
            .prepare("SELECT id, sealed, dek FROM customers ORDER BY id")
            .map_err(failed)?;
        let rows = query.query_map([], |row| {
            Ok(Row { id: row.get(0)?, sealed: row.get(1)?, dek: row.get(2)? })
        });
        rows.and_then(Iterator::collect).map_err(failed)
    }

    /// SHA-256 over the column `sealed`: each row's id and length (u32, u64, big-endian) and bytes.
    pub(super) fn sealed_digest(&self) -> Result<String, Failure> {
        let mut hash = Sha256::new();
        for row in self.rows()? {
            let length = u64::try_from(row.sealed.len()).unwrap_or(u64::MAX);
            hash.update(row.id.to_be_bytes());
            hash.update(length.to_be_bytes());
            hash.update(&row.sealed);
        }
        Ok(hex::encode(hash.finalize()))
    }

    /// How many wrapped keys are under this version of the key.
    pub(super) fn count_under(&self, version: u32) -> Result<usize, Failure> {
        let rows = self.rows()?;
        Ok(rows.iter().filter(|row| version_of(&row.dek) == Some(version)).count())
    }
}

/// The version in a wrapped key's header (docs/format.md: a u32 at byte 22).
fn version_of(dek: &[u8]) -> Option<u32> {
    dek.get(22..26)?.try_into().ok().map(u32::from_be_bytes)
}

fn associated_data(id: u32) -> Vec<u8> {
    [b"customers/", &id.to_be_bytes()[..]].concat()
}

fn failed(error: rusqlite::Error) -> Failure {
    Failure::new(Exit::InputOutput, format!("customers.db: {error}"))
}

const CUSTOMERS: &str = include_str!("../../../deploy/quickstart/customers.csv");

const NONCE_BYTES: usize = 12;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn customers() -> Vec<Customer> {
        Customer::all().unwrap()
    }

    fn table_of(customers: &[Customer], folder: &Path) -> Table {
        let mut table = Table::create(&folder.join("customers.db")).unwrap();
        let rows: Vec<_> = customers
            .iter()
            .map(|c| (c, c.seal(&[7; 32], [&[0; 22][..], &[0, 0, 0, 1]].concat()).unwrap()))
            .collect();
        table.insert(&rows).unwrap();
        table
    }

    #[test]
    fn the_customers_are_at_least_a_thousand_and_each_has_an_id() {
        let customers = customers();
        assert!(customers.len() >= 1_000);
        assert!(customers.iter().zip(1..).all(|(customer, id)| customer.id == id));
    }

    #[test]
    fn a_row_opens_to_what_was_sealed_and_in_no_other_place() {
        let customers = customers();
        let row = customers[0].seal(&[7; 32], b"dek".to_vec()).unwrap();
        assert_eq!(row.open(&[7; 32]).unwrap(), customers[0].sensitive);
        assert!(row.open(&[8; 32]).is_err());
        assert!(Row { id: 2, ..row.clone() }.open(&[7; 32]).is_err());
        for at in [0, 11, 12, row.sealed.len() - 1] {
            let mut flipped = row.clone();
            flipped.sealed[at] ^= 1;
            assert!(flipped.open(&[7; 32]).is_err(), "byte {at}");
        }
        assert!(Row { sealed: row.sealed[..11].to_vec(), ..row }.open(&[7; 32]).is_err());
    }

    #[test]
    fn the_digest_tells_rows_apart() {
        let (folder, customers) = (tempfile::tempdir().unwrap(), customers());
        let table = table_of(&customers[..3], folder.path());
        let before = table.sealed_digest().unwrap();
        table.database.execute("UPDATE customers SET sealed = x'00' WHERE id = 3", []).unwrap();
        assert_ne!(table.sealed_digest().unwrap(), before);
    }
}
