// error: E0277
pub fn shown(secret: bulla::crypto::Kek) -> String {
    format!("{secret:?}")
}
