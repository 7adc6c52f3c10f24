//! A grant is a Cedar policy, built of parts and never of text: nothing in an identity, a context or an
//! id can become part of the statement's structure (attack D08).

use serde_json::{Value, json};

use crate::policy::material::{GRANT_PREFIX, Grant};

/// The id of a grant where policies that decided are named.
pub(super) fn id(grant: &Grant) -> String {
    let mut id = String::from(GRANT_PREFIX);
    for byte in grant.id {
        id.push_str(&format!("{byte:02x}"));
    }
    id
}

/// The statement, in Cedar's JSON form; with the time that it ends, where that is wanted.
pub(super) fn statement(grant: &Grant, with_time: bool) -> Value {
    let grantable = grant.actions.iter().filter(|action| action.is_grantable());
    let actions: Vec<Value> = grantable.map(|action| entity("Action", action.name())).collect();
    let mut conditions: Vec<Value> =
        grant.encryption_context.iter().map(|(key, value)| when(has_pair(key, value))).collect();
    if let Some(end) = grant.expire_time.filter(|_| with_time) {
        let before = json!({"<": {"left": context("now"), "right": {"Value": end.unix_ms()}}});
        conditions.push(when(before));
    }
    json!({
        "effect": "permit",
        "principal": {"op": "==", "entity": entity("Principal", grant.principal.as_str())},
        "action": {"op": "in", "entities": actions},
        "resource": {"op": "==", "entity": entity("Key", &grant.key.to_string())},
        "conditions": conditions,
    })
}

fn entity(kind: &str, id: &str) -> Value {
    json!({"type": format!("Bulla::{kind}"), "id": id})
}

fn when(body: Value) -> Value {
    json!({"kind": "when", "body": body})
}

fn context(attribute: &str) -> Value {
    json!({".": {"left": {"Var": "context"}, "attr": attribute}})
}

/// That the encryption context holds a pair.
fn has_pair(key: &str, value: &str) -> Value {
    let ask = |question: &str| json!({question: {"left": context("encryption_context"), "right": {"Value": key}}});
    let equal = json!({"==": {"left": ask("getTag"), "right": {"Value": value}}});
    json!({"&&": {"left": ask("hasTag"), "right": equal}})
}
