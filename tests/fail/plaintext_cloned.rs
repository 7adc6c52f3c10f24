// error: E0599
pub fn two(secret: bulla::crypto::Plaintext) -> [bulla::crypto::Plaintext; 2] {
    [secret.clone(), secret]
}
