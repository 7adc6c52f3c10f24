//! A policy's conditions: what is left of it for Cedar once the scope is known to hold.

use std::fmt;
use std::sync::{Arc, OnceLock};

use cedar_policy::{Authorizer, Entities, Policy, PolicyId as CedarId, PolicySet, Request};
use serde_json::{Value, json};

use crate::policy::grant;
use crate::policy::material::Grant;
use crate::policy::pairs::Pairs;

/// Conditions, made ready for evaluation when they are first needed: of a hundred thousand policies few
/// ever are.
pub(super) struct Condition {
    source: Source,
    ready: OnceLock<Option<Ready>>,
}

/// Where the conditions stand.
enum Source {
    Text { id: Arc<str>, text: Arc<str> },
    Grant(Grant),
}

struct Ready {
    policies: PolicySet,
    reads: Reads,
    pairs: Pairs,
}

/// What conditions read, and so what an answer that is kept is good for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Reads(u16);

/// Conditions could not be evaluated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Unevaluable(pub(super) String);

// === impl Condition ===

impl Condition {
    pub(super) fn of_text(id: Arc<str>, text: Arc<str>) -> Self {
        Self { source: Source::Text { id, text }, ready: OnceLock::new() }
    }

    pub(super) fn of_grant(grant: Grant) -> Self {
        Self { source: Source::Grant(grant), ready: OnceLock::new() }
    }

    /// What has to be known to evaluate them. Everything, if they cannot be.
    pub(super) fn reads(&self) -> Reads {
        self.ready().map_or(Reads::ALL, |ready| ready.reads)
    }

    /// Which pairs of the encryption context have to be known.
    pub(super) fn pairs(&self) -> &Pairs {
        self.ready().map_or(&Pairs::All, |ready| &ready.pairs)
    }

    /// Whether they hold.
    pub(super) fn holds(
        &self,
        request: &Request,
        entities: &Entities,
    ) -> Result<bool, Unevaluable> {
        let ready = self.ready().ok_or_else(|| Unevaluable("it does not parse".to_owned()))?;
        let response = Authorizer::new().is_authorized(request, &ready.policies, entities);
        match response.diagnostics().errors().next() {
            Some(error) => Err(Unevaluable(error.to_string())),
            None => Ok(response.diagnostics().reason().next().is_some()),
        }
    }

    fn ready(&self) -> Option<&Ready> {
        self.ready.get_or_init(|| Ready::of(&self.source)).as_ref()
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Condition")
    }
}

// === impl Ready ===

impl Ready {
    /// The statement without its scope, which the index has already decided.
    fn of(source: &Source) -> Option<Self> {
        let (id, mut statement) = match source {
            Source::Text { id, text } => {
                let id = CedarId::new(id);
                (id.clone(), Policy::parse(Some(id), text).ok()?.to_json().ok()?)
            }
            // Its time is the index's to know: an answer that reads the time could not be kept.
            Source::Grant(grant) => (CedarId::new("grant"), grant::statement(grant, false)),
        };
        let conditions = statement.get("conditions")?;
        let (reads, pairs) = (Reads::of(conditions), Pairs::of(conditions));
        for part in ["principal", "action", "resource"] {
            *statement.get_mut(part)? = json!({"op": "All"});
        }
        let policy = Policy::from_json(Some(id), statement).ok()?;
        Some(Self { policies: PolicySet::from_policies([policy]).ok()?, reads, pairs })
    }
}

// === impl Reads ===

impl Reads {
    pub(super) const NOTHING: Self = Self(0);
    pub(super) const ENCRYPTION_CONTEXT: Self = Self(1);
    pub(super) const TIME: Self = Self(2);
    pub(super) const SOURCE: Self = Self(4);
    pub(super) const ENVIRONMENT: Self = Self(8);
    pub(super) const CREDENTIAL_KIND: Self = Self(16);
    pub(super) const CLAIMS: Self = Self(32);
    pub(super) const END_USER: Self = Self(64);
    pub(super) const PRINCIPAL: Self = Self(128);
    pub(super) const ACTION: Self = Self(256);
    pub(super) const RESOURCE: Self = Self(512);
    /// Every attribute of the context.
    const CONTEXT: Self = Self(127);
    pub(super) const ALL: Self = Self(1023);

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn holds(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What an expression in Cedar's JSON form reads. Whatever is not known to read less reads all.
    fn of(expression: &Value) -> Self {
        match expression {
            Value::Array(parts) => {
                parts.iter().fold(Self::NOTHING, |all, one| all.or(Self::of(one)))
            }
            Value::Object(parts) => parts.iter().fold(Self::NOTHING, |all, (name, part)| {
                all.or(match (name.as_str(), part) {
                    ("Var", Value::String(variable)) => Self::of_variable(variable),
                    ("." | "has", Value::Object(access)) => {
                        let of_context = access.get("left") == Some(&json!({"Var": "context"}));
                        match access.get("attr").and_then(Value::as_str) {
                            Some(attribute) if of_context => Self::of_attribute(attribute),
                            _ => Self::of(part),
                        }
                    }
                    _ => Self::of(part),
                })
            }),
            _ => Self::NOTHING,
        }
    }

    fn of_variable(variable: &str) -> Self {
        match variable {
            "principal" => Self::PRINCIPAL,
            "action" => Self::ACTION,
            "resource" => Self::RESOURCE,
            "context" => Self::CONTEXT,
            _ => Self::ALL,
        }
    }

    fn of_attribute(attribute: &str) -> Self {
        match attribute {
            "encryption_context" => Self::ENCRYPTION_CONTEXT,
            "now" | "hour" | "weekday" => Self::TIME,
            "source" => Self::SOURCE,
            "environment" => Self::ENVIRONMENT,
            "credential_kind" => Self::CREDENTIAL_KIND,
            "claims" => Self::CLAIMS,
            "end_user" => Self::END_USER,
            _ => Self::CONTEXT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d11_conditions_are_known_to_read_whatever_they_read() {
        let cases = [
            ("context.encryption_context.hasTag(\"a\")", Reads::ENCRYPTION_CONTEXT),
            ("context.now < 5", Reads::TIME),
            ("context.hour < 5 && context.weekday == 1", Reads::TIME),
            ("context has source && context.source.isLoopback()", Reads::SOURCE),
            ("context[\"environment\"] == \"production\"", Reads::ENVIRONMENT),
            ("context.credential_kind == \"token\"", Reads::CREDENTIAL_KIND),
            ("!context.claims.hasTag(\"a\")", Reads::CLAIMS),
            ("context has end_user", Reads::END_USER),
            ("principal in Bulla::Group::\"a\"", Reads::PRINCIPAL),
            ("action in Bulla::Action::\"use_keys\"", Reads::ACTION),
            ("resource.hasTag(\"a\")", Reads::RESOURCE),
            ("[context].contains(context)", Reads::CONTEXT),
            ("{\"Var\": 1, \".\": 2}[\".\"] == 2", Reads::NOTHING),
            ("context has unheard_of", Reads::CONTEXT),
            (
                "if principal == resource then context.now < 1 else context.environment like \"*\"",
                Reads::PRINCIPAL.or(Reads::RESOURCE).or(Reads::TIME).or(Reads::ENVIRONMENT),
            ),
        ];
        for (text, reads) in cases {
            for clause in ["when", "unless"] {
                let text = format!("permit(principal, action, resource) {clause} {{ {text} }};");
                let condition = Condition::of_text("a".into(), text.as_str().into());
                assert_eq!(condition.reads(), reads, "{text}");
            }
        }
    }

    #[test]
    fn d01_what_does_not_parse_reads_everything_and_holds_never() {
        let condition = Condition::of_text("a".into(), "permit(".into());
        assert_eq!((condition.reads(), condition.pairs()), (Reads::ALL, &Pairs::All));
        assert_eq!(Reads::of_variable("other"), Reads::ALL);
        assert!(Reads::ALL.holds(Reads::TIME) && !Reads::CONTEXT.holds(Reads::ACTION));
    }
}
