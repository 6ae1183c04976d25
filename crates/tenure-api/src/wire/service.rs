//! The service itself.

use serde::Serialize;
use utoipa::ToSchema;

/// Whether the service runs, or answers requests.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`.
    pub status: &'static str,
}
