//! The table of `tests/matrix`, and the rules by which the other dimensions change what it says. Nothing
//! of the program's own is asked here: two that agree because one asked the other prove nothing.

use std::collections::BTreeMap;
use std::path::Path;

/// The built-in roles, none, and the one that counts in the installation's own tenant only.
pub(super) const ROLES: [&str; 9] = [
    "",
    "key-user",
    "key-rewrapper",
    "key-manager",
    "auditor",
    "operator",
    "approver",
    "tenant-manager",
    "landlord",
];

/// How a caller proves who it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Kind {
    Certificate,
    Token,
    ServiceAccount,
    Exchanged,
}

pub(super) const KINDS: [Kind; 4] =
    [Kind::Certificate, Kind::Token, Kind::ServiceAccount, Kind::Exchanged];

/// What a caller lacks, or has in place of a role.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Lack {
    Nothing,
    /// The role has ended.
    RoleExpired,
    /// The credential is good for another action.
    ActionOutOfScope,
    /// The credential is good for another key.
    KeyOutOfScope,
    /// The credential asks for pairs that the encryption context has.
    ContextPresent,
    /// The credential asks for pairs that the encryption context has not.
    ContextAbsent,
    NetworkInside,
    NetworkOutside,
    /// A policy gives what the role would, to whoever has a claim; and this one has it.
    ClaimPresent,
    ClaimAbsent,
    ClaimWrong,
    /// No role, but a grant on the key.
    Grant,
    GrantExpired,
    /// The same, for an encryption context with certain pairs.
    GrantContextPresent,
    GrantContextAbsent,
}

/// A row of `methods.md`.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) actions: Vec<String>,
    pub(super) of: String,
    pub(super) who: Vec<String>,
    pub(super) is: Vec<String>,
    pub(super) own: String,
    pub(super) disabled: String,
    pub(super) absent: String,
    /// From `states.md`: state → answer.
    pub(super) states: BTreeMap<String, String>,
}

pub(super) const DENIED: &str = "PERMISSION_DENIED";

// === impl Row ===

impl Row {
    /// `/bulla.kms.v1.Crypto/Decrypt`.
    pub(super) fn path(&self) -> String {
        let method = self.name.split('@').next().unwrap();
        let package = if method.starts_with("Health/") { "grpc.health.v1" } else { "bulla.kms.v1" };
        format!("/{package}.{method}")
    }

    pub(super) fn is(&self, what: &str) -> bool {
        self.is.iter().any(|own| own == what)
    }

    /// Whoever is authenticated may, and no scope but a network takes that away.
    fn is_free(&self) -> bool {
        self.who == ["everybody"]
    }

    pub(super) fn is_health(&self) -> bool {
        self.name.starts_with("Health/")
    }

    pub(super) fn is_for(&self, role: &str) -> bool {
        self.is_free() || self.who.iter().any(|own| own == role)
    }

    /// Whether a grant can give all that it needs: it is done to one key and gives no rights.
    pub(super) fn is_grantable(&self) -> bool {
        self.is("on") && self.of != "-" && !self.actions.iter().any(|action| !is_of_keys(action))
    }

    /// Whether a caller with this role, proof and lack may do it to what it may reach.
    pub(super) fn is_allowed(&self, role: &str, kind: Kind, lack: Lack) -> bool {
        if self.is_health() {
            return true;
        }
        if lack == Lack::NetworkOutside {
            return false;
        }
        // No token is exchanged for itself.
        if self.name == "Access/ExchangeToken" && kind == Kind::Exchanged {
            return false;
        }
        if self.is_free() {
            return true;
        }
        match lack {
            Lack::Nothing | Lack::ClaimPresent => self.is_for(role),
            Lack::NetworkInside => self.is_for(role) && !self.is("anywhere"),
            Lack::KeyOutOfScope => self.is_for(role) && !self.is("on") && !self.is("whole"),
            Lack::ContextPresent => self.is_for(role) && self.is("context"),
            Lack::Grant => self.is_grantable(),
            Lack::GrantContextPresent => self.is_grantable() && self.is("context"),
            Lack::RoleExpired
            | Lack::ActionOutOfScope
            | Lack::ContextAbsent
            | Lack::NetworkOutside
            | Lack::ClaimAbsent
            | Lack::ClaimWrong
            | Lack::GrantExpired
            | Lack::GrantContextAbsent => false,
        }
    }
}

fn is_of_keys(action: &str) -> bool {
    ["crypto.", "keys.", "rotation."].iter().any(|service| action.starts_with(service))
}

/// Every row.
pub(super) fn read() -> Vec<Row> {
    let states = cells("states.md");
    let (names, states) = states.split_first().unwrap();
    let rows = cells("methods.md").into_iter().skip(1).map(|cells| {
        let words = |text: &str| -> Vec<String> {
            text.split(' ').filter(|word| *word != "-").map(str::to_owned).collect()
        };
        let by_state = states.iter().find(|row| row[0] == cells[0]);
        let by_state = by_state
            .map(|row| names.iter().skip(1).cloned().zip(row.iter().skip(1).cloned()).collect());
        let of = cells[2].clone();
        assert_eq!(by_state.is_some(), of == "version" || of == "blob", "{}", cells[0]);
        Row {
            name: cells[0].clone(),
            actions: words(&cells[1]),
            of,
            who: words(&cells[3]),
            is: words(&cells[4]),
            own: cells[5].clone(),
            disabled: cells[6].clone(),
            absent: cells[7].clone(),
            states: by_state.unwrap_or_default(),
        }
    });
    rows.collect()
}

/// The cells of a file's table, its head first.
fn cells(file: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/matrix").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| line.starts_with('|') && !line.starts_with("|--"));
    let rows: Vec<Vec<String>> = lines
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{file}: a row of another length");
    rows
}
