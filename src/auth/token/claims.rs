//! What a token says, read by name and by JSON type. A claim of the wrong type is no claim at all.

use serde_json::{Map, Value};

use super::TokenError;

/// The claims of a token.
pub(in crate::auth) struct Claims(Map<String, Value>);

// === impl Claims ===

impl Claims {
    pub(super) fn new(members: Map<String, Value>) -> Self {
        Self(members)
    }

    /// A claim that must be there and be a string.
    pub(in crate::auth) fn text(&self, name: &str) -> Result<&str, TokenError> {
        self.0.get(name).and_then(Value::as_str).ok_or(TokenError::Claim)
    }

    /// A claim that is one string or many, as `aud` is; empty when it is not there.
    pub(in crate::auth) fn texts(&self, name: &str) -> Result<Vec<&str>, TokenError> {
        texts_of(self.at(name))
    }

    /// A time in whole seconds (RFC 7519, section 2), if it is there. A fraction, a negative number
    /// or a string is of the wrong type.
    pub(in crate::auth) fn time(&self, name: &str) -> Result<Option<i64>, TokenError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => {
                let seconds = value.as_i64().filter(|seconds| (0..=TIME_MAX).contains(seconds));
                seconds.map(Some).ok_or(TokenError::Claim)
            }
        }
    }

    /// An object, if it is there.
    pub(in crate::auth) fn members(
        &self,
        name: &str,
    ) -> Result<Option<&Map<String, Value>>, TokenError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(members)),
            Some(_) => Err(TokenError::Claim),
        }
    }

    /// A claim by its name, or by a JSON pointer (RFC 6901) when that begins with `/`; a string, a
    /// truth value or a whole number, as text.
    pub(super) fn plain(&self, path: &str) -> Result<Option<String>, TokenError> {
        let text = match self.at(path) {
            None => return Ok(None),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Bool(value)) => value.to_string(),
            Some(Value::Number(number)) if number.is_i64() || number.is_u64() => number.to_string(),
            Some(_) => return Err(TokenError::Claim),
        };
        if text.len() > PLAIN_BYTES_MAX { Err(TokenError::Claim) } else { Ok(Some(text)) }
    }

    fn at(&self, path: &str) -> Option<&Value> {
        let Some(rest) = path.strip_prefix('/') else { return self.0.get(path) };
        let mut steps = rest.split('/').map(|step| step.replace("~1", "/").replace("~0", "~"));
        let mut found = self.0.get(&steps.next()?)?;
        for step in steps {
            found = found.as_object()?.get(&step)?;
        }
        Some(found)
    }
}

pub(in crate::auth) fn texts_of(value: Option<&Value>) -> Result<Vec<&str>, TokenError> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text]),
        Some(Value::Array(texts)) => {
            texts.iter().map(|text| text.as_str().ok_or(TokenError::Claim)).collect()
        }
        Some(_) => Err(TokenError::Claim),
    }
}

/// The year 9999. Later times are somebody's mistake.
const TIME_MAX: i64 = 253_402_300_799;
const PLAIN_BYTES_MAX: usize = 256;
