//! x
pub(crate) fn document_json() -> &'static [u8] {
    b""
}
