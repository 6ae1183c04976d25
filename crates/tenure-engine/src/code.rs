//! Every error that a caller can see: its code, its HTTP status, its exit code and its hint, in one table.

use std::fmt;

/// What a code is to each kind of caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeRow {
    /// The code, as it is written. Never changes.
    pub name: &'static str,
    /// The HTTP status that goes with it.
    pub status: u16,
    /// The exit code of a command that fails with it.
    pub exit: u8,
    /// What it is, in a few words.
    pub title: &'static str,
    /// What to do about it.
    pub hint: &'static str,
}

macro_rules! codes {
    ($($name:ident = $text:literal, $status:literal, $exit:literal, $title:literal, $hint:literal;)+) => {
        /// The code of an error.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "each row carries its own title")]
        pub enum Code { $($name),+ }

        impl Code {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Code] = &[$(Code::$name),+];

            /// Its row.
            pub const fn row(self) -> CodeRow {
                match self {
                    $(Code::$name => CodeRow { name: $text, status: $status, exit: $exit, title: $title, hint: $hint }),+
                }
            }
        }
    };
}

codes! {
    InvalidFormat = "INVALID_FORMAT", 400, 3, "That is not how such an ID is written", "a session ID is exec_YYYYMMDD_HHMMSS_xxxxxxxx";
    BadRequest = "BAD_REQUEST", 400, 3, "The request cannot be understood", "the detail says which part; /openapi.json describes every request";
    Validation = "VALIDATION", 422, 3, "Something in the request cannot be so", "missing_fields and invalid_fields name each of them";
    Unauthenticated = "UNAUTHENTICATED", 401, 5, "No valid credential came with the request", "send Authorization: Bearer with an API key or a token";
    AccessDenied = "ACCESS_DENIED", 403, 5, "The credential does not allow this", "this needs another role or another credential";
    NotFound = "NOT_FOUND", 404, 4, "There is no such thing", "reason says what is known of it";
    FileNotFound = "FILE_NOT_FOUND", 404, 4, "Nothing is at that path", "paths are absolute, or relative to /workspace";
    ExecNotFound = "EXEC_NOT_FOUND", 404, 4, "The session has no such exec", "GET .../execs lists those it has";
    PreviewNotFound = "PREVIEW_NOT_FOUND", 404, 4, "That port is not registered", "POST .../previews registers a port";
    TemplateNotFound = "TEMPLATE_NOT_FOUND", 404, 4, "There is no such template", "GET /v1/templates lists those there are";
    KeyNotFound = "KEY_NOT_FOUND", 404, 4, "There is no such key", "GET /v1/keys lists those there are";
    RouteNotFound = "ROUTE_NOT_FOUND", 404, 4, "There is no such route", "/openapi.json lists every route";
    MethodNotAllowed = "METHOD_NOT_ALLOWED", 405, 2, "The route does not answer to that method", "the header Allow names those it answers to";
    RequestTimeout = "REQUEST_TIMEOUT", 408, 10, "The request did not arrive in time", "send it again, faster";
    InvalidTransition = "INVALID_TRANSITION", 409, 6, "The session cannot go there from where it is", "allowed_transitions names where it can go";
    SessionPaused = "SESSION_PAUSED", 409, 8, "The session is paused", "resume it first";
    NotReady = "NOT_READY", 409, 8, "The session is not ready for this", "wait for its status to say so";
    NoEnvironment = "NO_ENVIRONMENT", 409, 8, "The session was made without an environment", "an administrator can make one";
    EnvironmentExists = "ENVIRONMENT_EXISTS", 409, 8, "The session has an environment", "one session, one environment";
    NoLease = "NO_LEASE", 409, 8, "The session has no lease", "take one first";
    LeaseHeld = "LEASE_HELD", 409, 8, "Somebody holds the session's lease", "wait for it to expire, or take it over";
    IdempotencyConflict = "IDEMPOTENCY_CONFLICT", 409, 8, "The idempotency key was used for another request", "use a new key for a new request";
    FileConflict = "FILE_CONFLICT", 409, 8, "What is at that path does not allow this", "the detail says what is there";
    TemplateInUse = "TEMPLATE_IN_USE", 409, 8, "Sessions use the template", "it can be removed when they have ended";
    ExecEnded = "EXEC_ENDED", 409, 8, "The exec does not take this any more", "GET .../execs/{exec_id} says how it ended";
    Gone = "GONE", 410, 7, "The session has ended", "reason and terminated_at say why and when; GET .../explain shows the evidence";
    StaleLease = "STALE_LEASE", 412, 8, "The lease token is not the current one", "take the lease, and send its token in Tenure-Lease-Token";
    TooLarge = "TOO_LARGE", 413, 9, "The request is too large", "limit names the most that is taken";
    LimitUnenforced = "LIMIT_UNENFORCED", 422, 9, "This host does not enforce a limit that was asked for", "allow_unenforced goes without; tenure doctor says what the host lacks";
    ExecLimit = "EXEC_LIMIT", 429, 9, "As many execs run as may", "wait for one to end";
    QuotaExceeded = "QUOTA_EXCEEDED", 429, 9, "A quota is used up", "limit and value say which";
    RateLimited = "RATE_LIMITED", 429, 9, "Too many requests", "wait as long as Retry-After says";
    HeadersTooLarge = "HEADERS_TOO_LARGE", 431, 9, "The request's headers are too large", "send fewer or shorter ones";
    Internal = "INTERNAL", 500, 1, "Something went wrong that should not", "the server's log has more under the request's ID";
    PreviewUnreachable = "PREVIEW_UNREACHABLE", 502, 10, "Nothing answers at that port", "start a server on it inside the session";
    Recovering = "RECOVERING", 503, 10, "The session's environment has not answered since a restart", "ask again in a moment";
    InitFailed = "INIT_FAILED", 503, 10, "The session's environment could not be made", "failure says why and what helps";
    Unavailable = "UNAVAILABLE", 503, 10, "The service cannot do this now", "ask again after Retry-After";
    DiskFull = "DISK_FULL", 507, 9, "The session's disk is full", "delete files in it, or make sessions with a larger disk_bytes";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().name)
    }
}
