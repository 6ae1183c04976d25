//! The handshake: both sides prove that they hold the environment's key, without sending it.
//!
//! A proof is HMAC-SHA-256 over the side that proves, the version, both nonces, the environment and its generation. The side is part
//! of it so that a proof cannot be sent back to its maker.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::Sha256;

/// Oldest version that is still understood: one behind the newest, once there is a second one.
pub const VERSION_MIN: u32 = 1;
/// Newest version that is spoken.
pub const VERSION_MAX: u32 = 1;

/// The newest version both sides understand, or `None` where there is none.
pub fn choose_version(theirs: std::ops::RangeInclusive<u32>) -> Option<u32> {
    let version = VERSION_MAX.min(*theirs.end());
    (version >= VERSION_MIN && version >= *theirs.start()).then_some(version)
}

/// Thirty-two bytes as lower-case hex on the wire.
macro_rules! bytes_32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $name(pub [u8; 32]);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&hex::encode(self.0))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let mut bytes = [0; 32];
                hex::decode_to_slice(text, &mut bytes).map_err(D::Error::custom)?;
                Ok($name(bytes))
            }
        }
    };
}

bytes_32! {
    /// The secret that the manager and one environment's agent share. Never printed.
    Key
}
bytes_32! {
    /// Fresh random bytes for one handshake.
    #[derive(Debug)]
    Nonce
}
bytes_32! {
    /// What only a holder of the key can make.
    #[derive(Debug)]
    Proof
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Who proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The process outside.
    Manager,
    /// PID 1 inside.
    Agent,
}

/// What one handshake is about; both sides must see the same.
#[derive(Debug, Clone, Copy)]
pub struct Transcript<'a> {
    /// The version both agreed on.
    pub version: u32,
    /// The manager's nonce.
    pub manager: &'a Nonce,
    /// The agent's nonce.
    pub agent: &'a Nonce,
    /// The environment's ID.
    pub environment: &'a str,
    /// The environment's generation; 0 before it is bound.
    pub generation: u64,
}

impl Transcript<'_> {
    fn mac(&self, key: &Key, side: Side) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("HMAC takes a key of any length");
        mac.update(match side {
            Side::Manager => b"tenure/manager\0",
            Side::Agent => b"tenure/agent\0",
        });
        mac.update(&self.version.to_le_bytes());
        mac.update(&self.manager.0);
        mac.update(&self.agent.0);
        mac.update(&self.generation.to_le_bytes());
        mac.update(self.environment.as_bytes());
        mac
    }

    /// Makes the proof of one side.
    pub fn prove(&self, key: &Key, side: Side) -> Proof {
        Proof(self.mac(key, side).finalize().into_bytes().into())
    }

    /// Whether a proof is the one that this side would make; takes the same time whatever the answer.
    pub fn verify(&self, key: &Key, side: Side, proof: &Proof) -> bool {
        self.mac(key, side).verify_slice(&proof.0).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key([7; 32]);

    fn transcript<'a>(manager: &'a Nonce, agent: &'a Nonce, generation: u64) -> Transcript<'a> {
        Transcript { version: 1, manager, agent, environment: "env_a", generation }
    }

    #[test]
    fn a_proof_holds_for_its_own_side_key_and_generation_only() {
        let (manager, agent) = (Nonce([1; 32]), Nonce([2; 32]));
        let first = transcript(&manager, &agent, 1);
        let proof = first.prove(&KEY, Side::Agent);
        assert!(first.verify(&KEY, Side::Agent, &proof));
        assert!(!first.verify(&KEY, Side::Manager, &proof), "a proof sent back to its maker");
        assert!(!first.verify(&Key([8; 32]), Side::Agent, &proof), "another key");
        assert!(!transcript(&manager, &agent, 2).verify(&KEY, Side::Agent, &proof), "another generation");
        assert!(!transcript(&agent, &manager, 1).verify(&KEY, Side::Agent, &proof), "swapped nonces");
    }

    #[test]
    fn the_newest_common_version_is_chosen() {
        assert_eq!(choose_version(1..=9), Some(1));
        assert_eq!(choose_version(2..=9), None);
        assert_eq!(choose_version(0..=0), None);
    }

    #[test]
    fn a_key_does_not_print_itself() {
        assert_eq!(format!("{KEY:?}"), "Key(…)");
    }
}
