// error: E0599
pub fn two(secret: bulla::crypto::KeyMaterial) -> [bulla::crypto::KeyMaterial; 2] {
    [secret.clone(), secret]
}
