//! Canonical bytes (RFC 8785) and their digests; nothing else.

use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// A SHA-256 digest. Written as 64 lower-case hex digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Digest(pub [u8; 32]);

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The text is not 64 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 lower-case hex digits")]
pub struct NotADigest;

impl FromStr for Sha256Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Sha256Digest, NotADigest> {
        let mut bytes = [0; 32];
        let lower = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !lower || hex::decode_to_slice(text, &mut bytes).is_err() {
            return Err(NotADigest);
        }
        Ok(Sha256Digest(bytes))
    }
}

/// A value that has no canonical form: a map whose keys are no strings, or a number that is not finite.
#[derive(Debug, thiserror::Error)]
#[error("the value has no canonical form: {0}")]
pub struct NotCanonical(#[from] serde_json::Error);

/// The canonical bytes of a value: RFC 8785.
pub fn canonical<T: Serialize>(value: &T) -> Result<Vec<u8>, NotCanonical> {
    Ok(serde_json_canonicalizer::to_vec(value)?)
}

/// The digest of some bytes.
pub fn digest_bytes(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest(Sha256::digest(bytes).into())
}

/// The digest of a value's canonical bytes.
pub fn digest<T: Serialize>(value: &T) -> Result<Sha256Digest, NotCanonical> {
    Ok(digest_bytes(&canonical(value)?))
}

#[cfg(test)]
mod tests;
