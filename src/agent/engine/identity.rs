//! By which name the server knows an agent: the same when an agent that was killed is started again,
//! so that it has its store back at once, and another for everybody else.

use std::fs;
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// A UUID of this machine since it was started, this connector file and this store. The caller holds a
/// lock on the file, so no two agents have the same at one time.
pub fn agent_id(connector: &Path, campaign_id: &str, store: &str) -> String {
    let connector = fs::canonicalize(connector).unwrap_or_else(|_| connector.to_owned());
    let system = |path: &str| fs::read(path).unwrap_or_default();
    let mut hash = Sha256::new();
    for part in [
        system("/proc/sys/kernel/random/boot_id").as_slice(),
        &system("/proc/sys/kernel/hostname"),
        connector.as_os_str().as_encoded_bytes(),
        campaign_id.as_bytes(),
        store.as_bytes(),
    ] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let bytes = digest.first_chunk().copied().unwrap_or_default();
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_is_started_again_is_the_same_and_no_other_is() {
        let id = |file: &str, campaign, store| agent_id(Path::new(file), campaign, store);
        let mine = id("/etc/orders.toml", "c", "s");
        assert_eq!(mine, id("/etc/orders.toml", "c", "s"));
        for other in
            [id("/etc/o.toml", "c", "s"), id("/etc/orders.toml", "cs", ""), id("", "c", "s")]
        {
            assert_ne!(mine, other);
        }
        assert!(uuid::Uuid::try_parse(&mine).is_ok());
    }
}
