//! How the encryption context of a row is put together from constants and from what the row holds.

use std::collections::BTreeMap;

use super::connector::ContextSource;
use super::store::{Context, Unmovable};

/// The pairs of a context, and where each value comes from.
#[derive(Clone, Debug)]
pub(super) struct ContextPlan {
    constants: Context,
    /// Key and column.
    columns: Vec<(String, String)>,
}

// === impl ContextPlan ===

impl ContextPlan {
    pub(super) fn new(sources: &BTreeMap<String, ContextSource>) -> Self {
        let mut plan = Self { constants: Context::new(), columns: Vec::new() };
        for (key, source) in sources {
            match source {
                ContextSource::Value(value) => {
                    plan.constants.insert(key.clone(), value.clone());
                }
                ContextSource::Column(name) => plan.columns.push((key.clone(), name.clone())),
            }
        }
        plan
    }

    /// The pairs that are the same for every row.
    pub(super) fn constants(&self) -> Context {
        self.constants.clone()
    }

    /// The columns or fields that are needed, in the order in which [`ContextPlan::fill`] asks.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(_, column)| column.as_str())
    }

    /// The context of one row: `value` gives what a column holds, or nothing if it is NULL.
    pub(super) fn fill<E>(
        &self,
        mut value: impl FnMut(&str) -> Result<Option<String>, E>,
    ) -> Result<Result<Context, Unmovable>, E> {
        let mut context = Ok(self.constants());
        for (key, column) in &self.columns {
            match (value(column)?, &mut context) {
                (Some(text), Ok(pairs)) => {
                    pairs.insert(key.clone(), text);
                }
                (None, Ok(_)) => context = Err(Unmovable::NullColumn(column.clone())),
                (_, Err(_)) => {}
            }
        }
        Ok(context)
    }
}
