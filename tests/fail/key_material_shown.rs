// error: E0277
pub fn shown(secret: bulla::crypto::KeyMaterial) -> String {
    format!("{secret:?}")
}
