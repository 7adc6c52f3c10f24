//! What is wrong with a policy, in words that its author can act on.

use std::fmt;

use cedar_policy::{ParseErrors, ValidationResult, ValidationWarning};
use miette::Diagnostic;

/// A policy that is not accepted: where, what is wrong, and what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyProblem {
    /// Which policy.
    pub policy: String,
    /// On which line, where one can be said. The first is 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub help: String,
}

// === impl PolicyProblem ===

impl PolicyProblem {
    pub(super) fn new(policy: &str, what: impl Into<String>, help: impl Into<String>) -> Self {
        let (policy, what, help) = (policy.to_owned(), what.into(), help.into());
        Self { policy, line: None, what, help }
    }

    /// The text is not one statement of the Cedar language.
    pub(super) fn of_parse(policy: &str, text: &str, errors: &ParseErrors) -> Self {
        let error = errors.iter().next();
        let what = error.map_or_else(|| errors.to_string(), ToString::to_string);
        let line = error.and_then(|error| line_of(error, text));
        let help = error.and_then(|error| error.help()).map_or_else(
            || "write exactly one statement: permit (...) when {...}; or forbid (...)".to_owned(),
            |help| help.to_string(),
        );
        Self { policy: policy.to_owned(), line, what, help }
    }

    /// The statement speaks of what the schema does not have, or can never apply.
    pub(super) fn of_validation(
        policy: &str,
        text: &str,
        result: &ValidationResult,
    ) -> Option<Self> {
        if let Some(error) = result.validation_errors().next() {
            let help = error.help().map_or_else(
                || "look at the schema: bulla policy schema".to_owned(),
                |help| help.to_string(),
            );
            let (what, line) = (error.to_string(), line_of(error, text));
            return Some(Self { policy: policy.to_owned(), line, what, help });
        }
        let warning = result.validation_warnings().next()?;
        let help = match warning {
            ValidationWarning::ImpossiblePolicy(_)
            | ValidationWarning::InvalidActionApplication(_) => {
                "it would never apply: compare its scope and conditions with the schema"
            }
            _ => "write every name in plain ASCII, so that it cannot be mistaken for another",
        };
        let (what, line) = (warning.to_string(), line_of(warning, text));
        Some(Self { policy: policy.to_owned(), line, what, help: help.to_owned() })
    }
}

impl fmt::Display for PolicyProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "policy {}", self.policy)?;
        if let Some(line) = self.line {
            write!(formatter, ", line {line}")?;
        }
        write!(formatter, ": {}; {}", self.what, self.help)
    }
}

impl std::error::Error for PolicyProblem {}

/// The line that an error points at.
fn line_of(error: &dyn Diagnostic, text: &str) -> Option<usize> {
    let offset = error.labels()?.next()?.offset();
    let before = text.as_bytes().get(..offset)?;
    Some(before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1))
}
