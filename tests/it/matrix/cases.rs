//! Every case: a row of the table, somebody, and what it is about.

use std::collections::BTreeMap;

use bulla_client::{Client, kms};
use futures_util::{StreamExt, stream};

use super::people::Person;
use super::requests::{NO_ID, Names, message};
use super::table::{DENIED, Lack, Row};
use super::things::{Maker, STATES, Thing, done, fresh, named};

/// One call and what has to come of it.
pub(super) struct Case {
    pub(super) row: usize,
    pub(super) person: usize,
    pub(super) about: &'static str,
    pub(super) message: Vec<u8>,
    pub(super) expected: String,
    /// Whether it is about what is another's or nobody's: between these there is no difference.
    pub(super) is_absent: bool,
}

/// What calls are about, of every tenant.
pub(super) struct Scene {
    pub(super) own: Maker,
    pub(super) other: Maker,
    pub(super) landlord: Client,
    pub(super) names: Names,
    /// By what they are about: shared by all calls that change nothing.
    pub(super) shared: BTreeMap<(String, &'static str), Thing>,
}

/// What something can be to a caller. The last four are another tenant's or nobody's.
const KEYS: [&str; 8] = [
    "enabled",
    "disabled",
    "alias",
    "other_enabled",
    "other_disabled",
    "other_alias",
    "no_such_key",
    "no_such_alias",
];
const BLOBS: [&str; 5] = ["enabled", "disabled", "other_enabled", "other_disabled", "no_such_key"];
const THINGS: [&str; 3] = ["own", "other", "none"];

// === impl Scene ===

impl Scene {
    /// Makes everything that is shared.
    pub(super) async fn set(&mut self) {
        for (state, thing) in [
            ("enabled", self.names.own.clone()),
            ("disabled", self.own.key(false).await),
            ("other_enabled", self.other.key(true).await),
            ("other_disabled", self.other.key(false).await),
            ("no_such_alias", named(fresh("no-such"))),
        ] {
            self.put("key", state, thing);
        }
        let mut of_nobody = self.thing("key", "other_enabled");
        of_nobody.name = NO_ID.to_owned();
        of_nobody.blob[6..22].copy_from_slice(&hex::decode(NO_ID.replace('-', "")).unwrap());
        self.put("key", "no_such_key", of_nobody);
        let (own, other) = (self.names.own.clone(), self.thing("key", "other_enabled"));
        let alias = self.own.alias(&own.name).await;
        self.put("key", "alias", Thing { blob: own.blob.clone(), ..alias });
        let alias = self.other.alias(&other.name).await;
        self.put("key", "other_alias", alias);
        for state in STATES {
            let thing = self.own.in_state(state).await;
            self.put("state", state, thing);
        }
        for of in ["alias", "store", "campaign", "grant", "policy", "account", "credential"] {
            let thing = self.own.thing(of, &own.name).await;
            self.put(of, "own", thing);
            let thing = self.other.thing(of, &other.name).await;
            self.put(of, "other", thing);
            let text = ["campaign", "grant", "credential"].contains(&of);
            let none = if text { NO_ID.to_owned() } else { fresh("no-such") };
            self.put(of, "none", named(none));
        }
        for (tenant, maker) in [("own", &self.own), ("other", &self.other)] {
            let rule = kms::ApprovalRule {
                action: "rotation.waive_unnamed_store".to_owned(),
                group: "board".to_owned(),
                needed: 2,
                lifetime: None,
            };
            let asked = kms::PutApprovalRuleRequest { rule: Some(rule), ..Default::default() };
            maker.manager.put_approval_rule(asked).await.unwrap();
            let key = if tenant == "own" { &own.name } else { &other.name };
            let thing = maker.thing("proposal", key).await;
            self.shared.insert(("proposal".to_owned(), tenant), thing);
        }
        self.put("proposal", "none", named(NO_ID.to_owned()));
        let tenant = self.tenant().await;
        self.put("tenant", "own", tenant);
        self.put("tenant", "none", named(fresh("no-such")));
    }

    fn put(&mut self, of: &str, state: &'static str, thing: Thing) {
        self.shared.insert((of.to_owned(), state), thing);
    }

    fn thing(&self, of: &str, state: &'static str) -> Thing {
        self.shared[&(of.to_owned(), state)].clone()
    }

    async fn tenant(&self) -> Thing {
        let asked = kms::CreateTenantRequest { name: fresh("tenant"), ..Default::default() };
        let made = done(|| self.landlord.create_tenant(asked.clone())).await;
        named(made.tenant.unwrap().name)
    }

    /// Every case.
    pub(super) async fn cases(&self, rows: &[Row], people: &[Person]) -> Vec<Case> {
        let of_rows = stream::iter(0..rows.len()).map(|row| self.cases_of(row, &rows[row], people));
        of_rows.buffer_unordered(16).concat().await
    }

    async fn cases_of(&self, at: usize, row: &Row, people: &[Person]) -> Vec<Case> {
        let mut cases = Vec::new();
        for (place, person) in people.iter().enumerate() {
            // What somebody lacks is asked about what they could do and reach otherwise.
            let lacks = person.lack != Lack::Nothing;
            if lacks && !row.is_for(person.role) && !row.is_grantable() {
                continue;
            }
            let abouts: Vec<&'static str> = match row.of.as_str() {
                "-" => vec!["-"],
                "key" | "version" | "blob" | "alias" if lacks && row.of != "alias" => {
                    vec!["enabled"]
                }
                _ if lacks => vec!["own"],
                // Who may not, learns nothing whatever it is about.
                "key" | "version" | "blob" if !row.is_for(person.role) => {
                    let of_blobs = |about: &&str| row.of != "blob" || BLOBS.contains(about);
                    let all = KEYS.into_iter().chain(["suspended", "missing"]);
                    all.filter(|about| row.of == "version" || !STATES.contains(about))
                        .filter(of_blobs)
                        .collect()
                }
                "key" => KEYS.to_vec(),
                "blob" => [&BLOBS[..], &STATES[..]].concat(),
                "version" => [&KEYS[..], &STATES[..]].concat(),
                // Who manages tenants manages them all.
                "tenant" => vec!["own", "none"],
                _ => THINGS.to_vec(),
            };
            for about in abouts {
                cases.push(self.case((at, row), (place, person), about).await);
            }
        }
        cases
    }

    async fn case(
        &self,
        (at, row): (usize, &Row),
        (place, person): (usize, &Person),
        about: &'static str,
    ) -> Case {
        let is_absent = about.starts_with("other") || about.starts_with("no") && about != "-";
        let may = row.is_allowed(person.role, person.kind, person.lack);
        let expected = match about {
            _ if !may => DENIED,
            "disabled" => &row.disabled,
            state if STATES.contains(&state) => &row.states[state],
            _ if is_absent => &row.absent,
            _ => &row.own,
        };
        let is_granted =
            [Lack::Grant, Lack::GrantExpired, Lack::GrantContextPresent, Lack::GrantContextAbsent]
                .contains(&person.lack);
        let granted = is_granted && row.is_grantable() && !row.actions.is_empty();
        let alone = row.is("changes") && may && expected == "OK" || granted && row.of != "-";
        let thing = match about {
            "-" => Thing::default(),
            _ if is_absent => self.thing(shared_as(row, about), about),
            _ if alone => self.made(row, about).await,
            _ => self.thing(shared_as(row, about), about),
        };
        if granted {
            // It names what was made for it, or what the request names besides.
            let is_key = ["key", "version", "blob"].contains(&row.of.as_str());
            if is_key {
                self.own.grant_for(person, &thing.name, &row.actions).await;
            }
            if !is_key || row.name.contains('@') && thing.name != self.names.own.name {
                self.own.grant_for(person, &self.names.own.name, &row.actions).await;
            }
        }
        let message = message(&row.name, &thing, &self.names);
        let expected = expected.to_owned();
        Case { row: at, person: place, about, message, expected, is_absent }
    }

    /// One for this call alone.
    async fn made(&self, row: &Row, about: &'static str) -> Thing {
        match about {
            "enabled" => self.own.key(true).await,
            "disabled" => self.own.key(false).await,
            "alias" => {
                let key = self.own.key(true).await;
                let alias = self.own.alias(&key.name).await;
                Thing { blob: key.blob, ..alias }
            }
            "own" if row.of == "tenant" => self.tenant().await,
            "own" => self.own.thing(&row.of, &self.names.own.name).await,
            state => self.own.in_state(state).await,
        }
    }
}

fn shared_as<'a>(row: &'a Row, about: &str) -> &'a str {
    match row.of.as_str() {
        "key" | "version" | "blob" if STATES.contains(&about) => "state",
        "key" | "version" | "blob" => "key",
        of => of,
    }
}
