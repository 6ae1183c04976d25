//! A problem, as it is described. `problem.rs` writes it.

use crate::wire::words;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Something went wrong (RFC 9457). Which fields there are beside the first six depends on the code.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Names the kind of problem, for ever.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is, in a few words.
    pub title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// The code: stable, for programs.
    pub code: String,
    /// What to do about it.
    pub hint: String,
    /// Which session it is about.
    #[schema(required = false)]
    pub session_id: Option<String>,
    /// Why the session ended, or what looking it up said.
    pub reason: Option<String>,
    /// The state of the session.
    pub state: Option<words::SessionState>,
    /// When the session ended.
    #[schema(format = DateTime)]
    pub terminated_at: Option<String>,
    /// When the session was archived, where it was.
    #[schema(format = DateTime)]
    pub archived_at: Option<String>,
    /// What whoever ended it said.
    pub termination_detail: Option<String>,
    /// Where the session can go from its state.
    pub allowed_transitions: Option<Vec<words::SessionState>>,
    /// What is not there and must be.
    pub missing_fields: Option<Vec<String>>,
    /// What is there and cannot be so.
    pub invalid_fields: Option<Vec<InvalidFieldBody>>,
    /// The most that may be.
    pub limit: Option<u64>,
    /// How much it is.
    pub value: Option<u64>,
    /// Which limits this host does not enforce.
    pub unenforced: Option<Vec<String>>,
    /// The port that does not answer.
    pub port: Option<u16>,
    /// What a program printed until its session ended.
    pub captured: Option<CapturedBody>,
    /// What failed.
    #[schema(value_type = Option<Object>)]
    pub failure: Option<Value>,
    /// Under which name the server's log has more.
    pub request_id: Option<String>,
}

/// A field that cannot be so.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InvalidField)]
pub struct InvalidFieldBody {
    /// Its name.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

/// What a program printed until its session ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Captured)]
pub struct CapturedBody {
    /// Its output, at most 1 MiB.
    pub stdout: String,
    /// Its error output, at most 1 MiB.
    pub stderr: String,
}
