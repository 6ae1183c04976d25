//! Putting the parts together: which store, which driver, which clock. Nothing here decides anything.

pub mod bases;
pub mod clock;
pub mod data_lock;
pub mod door;
pub mod host;
pub mod secrets;
pub mod store;

use crate::failure::Failure;
use tenure_engine::EngineError;

impl From<EngineError> for Failure {
    /// For the operator who starts a server: what a caller would be told, and the chain behind it.
    fn from(error: EngineError) -> Failure {
        let message = match error.chain() {
            Some(chain) => format!("{error}: {chain}"),
            None => error.to_string(),
        };
        Failure::new(error.code(), message)
    }
}
