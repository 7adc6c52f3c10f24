// error: E0599
pub fn two(secret: bulla::crypto::Kek) -> [bulla::crypto::Kek; 2] {
    [secret.clone(), secret]
}
