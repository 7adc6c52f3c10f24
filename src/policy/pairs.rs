//! Which pairs of the encryption context conditions read, so that the others make no difference to what is
//! kept: a context often has a pair that is new in every call.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// Keys of the encryption context.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Pairs {
    /// Only these.
    These(BTreeSet<String>),
    /// Perhaps any.
    All,
}

// === impl Pairs ===

impl Pairs {
    pub(super) const NONE: Self = Self::These(BTreeSet::new());

    /// What an expression in Cedar's JSON form reads. Whatever is not known to read less reads all.
    pub(super) fn of(expression: &Value) -> Self {
        match expression {
            Value::Array(parts) => {
                parts.iter().fold(Self::NONE, |all, part| all.and(&Self::of(part)))
            }
            Value::Object(parts) => parts.iter().fold(Self::NONE, |all, (name, part)| {
                all.and(&match (name.as_str(), part) {
                    ("hasTag" | "getTag", Value::Object(of)) => Self::of_tag(of, part),
                    ("Var", Value::String(variable)) if variable == "context" => Self::All,
                    ("." | "has", Value::Object(of)) if of.get("left") == Some(&context()) => {
                        match of.get("attr").and_then(Value::as_str) {
                            Some(attribute) if attribute != ATTRIBUTE => Self::NONE,
                            _ => Self::All,
                        }
                    }
                    _ => Self::of(part),
                })
            }),
            _ => Self::NONE,
        }
    }

    /// Of a question about one tag of something.
    fn of_tag(of: &serde_json::Map<String, Value>, part: &Value) -> Self {
        let encryption_context = json!({".": {"left": context(), "attr": ATTRIBUTE}});
        let key = of.get("right").and_then(|right| right.get("Value")).and_then(Value::as_str);
        match key {
            Some(key) if of.get("left") == Some(&encryption_context) => {
                Self::These([key.to_owned()].into())
            }
            _ => Self::of(part),
        }
    }

    /// These, and those of another.
    pub(super) fn and(mut self, other: &Self) -> Self {
        match (&mut self, other) {
            (Self::These(own), Self::These(more)) => own.extend(more.iter().cloned()),
            _ => self = Self::All,
        }
        self
    }

    /// Those of a request's pairs that are read.
    pub(super) fn among<'a>(
        &self,
        pairs: &'a [(String, String)],
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let read = pairs.iter().filter(move |(key, _)| match self {
            Self::These(keys) => keys.contains(key),
            Self::All => true,
        });
        read.map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

fn context() -> Value {
    json!({"Var": "context"})
}

const ATTRIBUTE: &str = "encryption_context";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use cedar_policy::Policy;

    use super::*;

    fn pairs(condition: &str) -> Pairs {
        let text = format!("permit (principal, action, resource) when {{ {condition} }};");
        Pairs::of(Policy::parse(None, text).unwrap().to_json().unwrap().get("conditions").unwrap())
    }

    #[test]
    fn d11_only_what_is_named_is_read_and_anything_else_reads_all() {
        let these =
            |keys: &[&str]| Pairs::These(keys.iter().map(|key| (*key).to_owned()).collect());
        let cases = [
            ("context.encryption_context.hasTag(\"a\")", these(&["a"])),
            (
                "context.encryption_context.hasTag(\"a\") && \
                 context.encryption_context.getTag(\"b\") == \"c\"",
                these(&["a", "b"]),
            ),
            ("context.claims.hasTag(\"a\") || resource.hasTag(\"b\")", these(&[])),
            ("context.now > 5 && context has source", these(&[])),
            ("context.encryption_context.hasTag(context.environment)", Pairs::All),
            ("context.encryption_context == context.encryption_context", Pairs::All),
            ("[context].contains(context)", Pairs::All),
            ("context has encryption_context", Pairs::All),
            ("(if true then context else context).claims.hasTag(\"a\")", Pairs::All),
            ("context.claims.hasTag(context.encryption_context.getTag(\"a\"))", these(&["a"])),
            (
                "context.encryption_context.hasTag(context.encryption_context.getTag(\"a\"))",
                Pairs::All,
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(pairs(text), expected, "{text}");
        }
    }

    #[test]
    fn only_pairs_that_are_read_are_taken() {
        let pair = |key: &str| (key.to_owned(), "v".to_owned());
        let all = [pair("a"), pair("b")];
        let taken = |pairs: Pairs| pairs.among(&all).map(|(key, _)| key).collect::<String>();
        assert_eq!(taken(Pairs::NONE), "");
        assert_eq!(taken(Pairs::These(["b".to_owned()].into())), "b");
        assert_eq!(taken(Pairs::All), "ab");
    }
}
