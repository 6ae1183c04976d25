//! The service itself.

use serde::Serialize;
use utoipa::ToSchema;

/// Whether the service runs, or answers requests.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`.
    pub status: &'static str,
    /// Low-water marks of the host that it is below: what there is goes on, new sessions are refused. Left out where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<String>>)]
    pub low: Vec<&'static str>,
}
