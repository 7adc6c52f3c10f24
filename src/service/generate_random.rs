//! Random bytes from the server's operating system.

use zeroize::Zeroizing;

use crate::audit::Record;
use crate::custody::CustodyError;
use crate::policy::Action;

use super::perform::{About, Act, UseCase};
use super::refusal::Refusal;

/// 1 to 1024 random bytes.
pub struct GenerateRandom {
    /// How many.
    pub random_bytes: usize,
}

// === impl GenerateRandom ===

impl UseCase for GenerateRandom {
    type Reply = Zeroizing<Vec<u8>>;

    const ACTION: Action = Action::GenerateRandom;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, record: &mut Record) {
        record.items = 1;
    }

    async fn act(self, act: &mut Act<'_>) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let mut bytes = Zeroizing::new(vec![0; self.random_bytes]);
        act.custody.random().fill(&mut bytes).map_err(CustodyError::from)?;
        Ok(bytes)
    }
}
