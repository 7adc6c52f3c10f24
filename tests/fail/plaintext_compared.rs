// error: E0369
pub fn same(one: bulla::crypto::Plaintext, other: bulla::crypto::Plaintext) -> bool {
    one == other
}
