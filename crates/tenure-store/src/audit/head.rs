//! Signed heads: what the line's end was at some instant, in a way that only the holder of the key can say.

use super::SignedHead;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use tenure_digest::Sha256Digest;
use tenure_session::Timestamp;

/// The bytes that are signed.
pub fn head_message(position: u64, line_hash: Sha256Digest, at: Timestamp) -> Vec<u8> {
    message(position, &line_hash.to_string(), at)
}

fn message(position: u64, line_hash: &str, at: Timestamp) -> Vec<u8> {
    format!("tenure-audit-head\n{position}\n{line_hash}\n{at}\n").into_bytes()
}

/// Signs the line's end as it is at `at`.
pub fn sign_head(key: &SigningKey, position: u64, line_hash: Sha256Digest, at: Timestamp) -> SignedHead {
    let signature = hex::encode(key.sign(&head_message(position, line_hash, at)).to_bytes());
    SignedHead { position, line_hash: line_hash.to_string(), at, signature }
}

/// Whether the holder of this key signed this head, as it is.
pub fn head_signature_holds(key: &VerifyingKey, head: &SignedHead) -> bool {
    let mut bytes = [0; 64];
    if hex::decode_to_slice(&head.signature, &mut bytes).is_err() {
        return false;
    }
    let message = message(head.position, &head.line_hash, head.at);
    key.verify_strict(&message, &Signature::from_bytes(&bytes)).is_ok()
}
