// error: E0277
pub fn shown(secret: bulla::crypto::Plaintext) -> String {
    format!("{secret:?}")
}
