//! The operation table: what can be asked of a session, by whom, in which states, and what it means for the session's clocks.
//!
//! The gate, the router, the documentation and the table-driven test are all made from these rows. A new operation does not compile until its row is
//! written.

use crate::state::State;
use serde::Serialize;
use std::fmt;

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// Anybody with a credential; what they see is their own.
    User,
    /// The session's owner, and administrators.
    Owner,
    /// Administrators.
    Admin,
    /// Anybody at all.
    Anyone,
}

/// In which states of a live session it can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum States {
    /// It is about no session.
    NoSession,
    /// In every state.
    Any,
    /// In every state before the end.
    Live,
    /// Ready or running, with an environment.
    Working,
    /// Running, with an environment.
    Running,
    /// Ready or running; paused already is as good.
    Pause,
    /// Paused; ready or running already is as good.
    Resume,
    /// As the machine of states says.
    Transition,
}

/// Whether it needs the current token while a lease is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fence {
    /// It does, from administrators too.
    Token,
    /// It does not.
    Open,
}

/// What the answer is once the session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterEnd {
    /// Gone, with reason and instant.
    Gone,
    /// The same as before: it reads what is remembered.
    Read,
    /// Done already: the first end stands.
    Done,
    /// It is about no session.
    NotApplicable,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its name, in the audit, in metrics and in the documentation.
    pub name: &'static str,
    /// Who may ask.
    pub who: Who,
    /// In which states.
    pub states: States,
    /// Whether it counts as activity.
    pub activity: bool,
    /// Whether it needs the lease's token.
    pub fence: Fence,
    /// What it answers after the end.
    pub after_end: AfterEnd,
}

macro_rules! operations {
    ($(#[doc = $doc:literal] $name:ident = $text:literal: $who:ident, $states:ident, $activity:ident, $fence:ident, $after:ident;)+) => {
        /// What can be asked.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Operation { $(#[doc = $doc] $name),+ }

        impl Operation {
            /// All of them.
            pub const ALL: &'static [Operation] = &[$(Operation::$name),+];

            /// Its row.
            pub const fn row(self) -> Row {
                match self {
                    $(Operation::$name => Row {
                        name: $text,
                        who: Who::$who,
                        states: States::$states,
                        activity: operations!(@ $activity),
                        fence: Fence::$fence,
                        after_end: AfterEnd::$after,
                    }),+
                }
            }

            /// What it does, in a sentence.
            pub const fn about(self) -> &'static str {
                match self {
                    $(Operation::$name => $doc.trim_ascii()),+
                }
            }
        }
    };
    (@ active) => { true };
    (@ quiet) => { false };
}

operations! {
    /// Makes a session.
    SessionCreate = "session_create": User, NoSession, quiet, Open, NotApplicable;
    /// Lists sessions.
    SessionList = "session_list": User, NoSession, quiet, Open, NotApplicable;
    /// Reads the record.
    SessionGet = "session_get": Owner, Any, quiet, Open, Read;
    /// Reads the status.
    SessionStatus = "session_status": Owner, Any, quiet, Open, Read;
    /// Says why it lives or why it ended.
    SessionExplain = "session_explain": Owner, Any, quiet, Open, Read;
    /// Reads its audit.
    SessionAudit = "session_audit": Owner, Any, quiet, Open, Read;
    /// Follows its status.
    SessionEvents = "session_events": Owner, Any, quiet, Open, Read;
    /// Freezes it.
    SessionPause = "session_pause": Owner, Pause, active, Token, Gone;
    /// Thaws it.
    SessionResume = "session_resume": Owner, Resume, active, Token, Gone;
    /// Ends it.
    SessionTerminate = "session_terminate": Owner, Any, quiet, Open, Done;
    /// Deletes it, ending it first.
    SessionDelete = "session_delete": Owner, Any, quiet, Open, Done;
    /// Brings a deleted record back.
    SessionUndelete = "session_undelete": Owner, Any, quiet, Open, Done;
    /// Gives it more time.
    SessionExtend = "session_extend": Admin, Live, quiet, Open, Gone;
    /// Renews its lease.
    LeaseHeartbeat = "lease_heartbeat": Owner, Live, quiet, Token, Gone;
    /// Takes its lease.
    LeaseTake = "lease_take": Owner, Live, quiet, Open, Gone;
    /// Gives its lease up.
    LeaseRelease = "lease_release": Owner, Live, quiet, Token, Gone;
    /// Moves it to another state.
    SessionTransition = "session_transition": Owner, Transition, quiet, Token, Done;
    /// Runs a program.
    ExecRun = "exec_run": Owner, Working, active, Token, Gone;
    /// Lists execs.
    ExecList = "exec_list": Owner, Any, quiet, Open, Read;
    /// Reads one exec.
    ExecGet = "exec_get": Owner, Any, quiet, Open, Read;
    /// Reads what an exec printed.
    ExecOutput = "exec_output": Owner, Any, quiet, Open, Read;
    /// Feeds an exec.
    ExecStdin = "exec_stdin": Owner, Running, active, Token, Gone;
    /// Signals an exec.
    ExecKill = "exec_kill": Owner, Running, active, Token, Gone;
    /// Reads a file.
    FileRead = "file_read": Owner, Working, active, Open, Gone;
    /// Says what is at a path.
    FileStat = "file_stat": Owner, Working, active, Open, Gone;
    /// Lists a directory.
    DirList = "dir_list": Owner, Working, active, Open, Gone;
    /// Follows changes below a path.
    FileWatch = "file_watch": Owner, Working, active, Open, Gone;
    /// Writes a file.
    FileWrite = "file_write": Owner, Working, active, Token, Gone;
    /// Deletes a file or directory.
    FileDelete = "file_delete": Owner, Working, active, Token, Gone;
    /// Makes a port reachable.
    PreviewRegister = "preview_register": Owner, Working, active, Token, Gone;
    /// Lists the ports that are reachable.
    PreviewList = "preview_list": Owner, Working, active, Open, Gone;
    /// Makes a port unreachable.
    PreviewRemove = "preview_remove": Owner, Working, active, Token, Gone;
    /// Asks whether something answers at a port.
    PreviewHealth = "preview_health": Owner, Working, quiet, Open, Gone;
    /// Passes a request on to a port.
    PreviewProxy = "preview_proxy": Owner, Working, active, Open, Gone;
    /// Opens a terminal, or comes back to one.
    Terminal = "terminal": Owner, Working, active, Token, Gone;
    /// Makes a ticket for what cannot carry a header.
    TicketCreate = "ticket_create": Owner, Live, quiet, Open, Gone;
    /// Reads what is known of the environment.
    EnvironmentGet = "environment_get": Admin, Live, quiet, Open, Gone;
    /// Makes the environment of a session that has none.
    EnvironmentCreate = "environment_create": Admin, Live, quiet, Open, Gone;
    /// Ends the environment, and so the session.
    EnvironmentDelete = "environment_delete": Admin, Live, quiet, Open, Gone;
    /// Makes an API key.
    KeyCreate = "key_create": Admin, NoSession, quiet, Open, NotApplicable;
    /// Lists API keys.
    KeyList = "key_list": Admin, NoSession, quiet, Open, NotApplicable;
    /// Revokes an API key.
    KeyRevoke = "key_revoke": Admin, NoSession, quiet, Open, NotApplicable;
    /// Gives an API key another secret.
    KeyRotate = "key_rotate": Admin, NoSession, quiet, Open, NotApplicable;
    /// Makes a template, or a new version of one.
    TemplateCreate = "template_create": Admin, NoSession, quiet, Open, NotApplicable;
    /// Lists templates.
    TemplateList = "template_list": Admin, NoSession, quiet, Open, NotApplicable;
    /// Reads a template.
    TemplateGet = "template_get": Admin, NoSession, quiet, Open, NotApplicable;
    /// Removes a template.
    TemplateDelete = "template_delete": Admin, NoSession, quiet, Open, NotApplicable;
    /// Reads the audit of everything.
    AuditList = "audit_list": Admin, NoSession, quiet, Open, NotApplicable;
    /// Checks the audit's chains and signatures.
    AuditVerify = "audit_verify": Admin, NoSession, quiet, Open, NotApplicable;
    /// Says whether a user may use a session, as the gate would.
    AccessAuthorize = "access_authorize": Admin, NoSession, quiet, Open, NotApplicable;
    /// Records that access was denied by hand.
    AccessDeny = "access_deny": Admin, NoSession, quiet, Open, NotApplicable;
    /// Says whether a sweep would clean a session up, and changes nothing.
    CleanupCheck = "cleanup_check": Admin, Any, quiet, Open, Read;
    /// Ends every session whose time has come, and takes down what is left of environments.
    CleanupSweep = "cleanup_sweep": Admin, NoSession, quiet, Open, NotApplicable;
    /// Copies everything that is remembered, as it is at one instant.
    Backup = "backup": Admin, NoSession, quiet, Open, NotApplicable;
    /// Reads the service's metrics.
    MetricsGet = "metrics_get": Admin, NoSession, quiet, Open, NotApplicable;
    /// Says whether the service runs.
    HealthGet = "health_get": Anyone, NoSession, quiet, Open, NotApplicable;
    /// Says whether the service answers requests.
    ReadyGet = "ready_get": Anyone, NoSession, quiet, Open, NotApplicable;
    /// Reads the API's description.
    OpenapiGet = "openapi_get": Anyone, NoSession, quiet, Open, NotApplicable;
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().name)
    }
}

impl Operation {
    /// Whether it begins work in a session that nobody has worked in yet, and so makes it `running` (LC-8).
    pub fn begins_work(self) -> bool {
        matches!(self.effect(), Effect::Work)
    }

    /// The state that it leads to, where it leads to one by itself.
    pub fn leads_to(self) -> Option<State> {
        match self.effect() {
            Effect::Pause => Some(State::Paused),
            Effect::End => Some(State::Terminated),
            Effect::Nothing | Effect::Work | Effect::Resume | Effect::Transition => None,
        }
    }

    /// Whether it counts as activity. Pausing and resuming do, also where they are asked for as transitions: no clock of the session keeps the
    /// remainder of its idle time, so it begins anew.
    pub fn counts_as_activity(self, to: Option<State>) -> bool {
        match self.effect() {
            Effect::Transition => to.is_some_and(State::is_live),
            Effect::Nothing | Effect::Work | Effect::Pause | Effect::Resume | Effect::End => self.row().activity,
        }
    }

    /// What it does to the state of the session.
    pub(crate) const fn effect(self) -> Effect {
        use Operation::*;
        match self {
            ExecRun | Terminal => Effect::Work,
            SessionPause => Effect::Pause,
            SessionResume => Effect::Resume,
            SessionTransition => Effect::Transition,
            SessionTerminate | SessionDelete | EnvironmentDelete => Effect::End,
            SessionCreate | SessionList | SessionGet | SessionStatus | SessionExplain | SessionAudit
            | SessionEvents | SessionUndelete | SessionExtend | LeaseHeartbeat | LeaseTake | LeaseRelease
            | ExecList | ExecGet | ExecOutput | ExecStdin | ExecKill | FileRead | FileStat | DirList | FileWatch
            | FileWrite | FileDelete | PreviewRegister | PreviewList | PreviewRemove | PreviewHealth | PreviewProxy
            | TicketCreate | EnvironmentGet | EnvironmentCreate | KeyCreate | KeyList | KeyRevoke | KeyRotate
            | TemplateCreate | TemplateList | TemplateGet | TemplateDelete | AuditList | AuditVerify
            | AccessAuthorize | AccessDeny | CleanupCheck | CleanupSweep | Backup | MetricsGet | HealthGet
            | ReadyGet | OpenapiGet => Effect::Nothing,
        }
    }
}

/// What an operation does to the state of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    Nothing,
    /// It is worked in.
    Work,
    /// It stands still.
    Pause,
    /// It goes on.
    Resume,
    /// It ends.
    End,
    /// What the caller names.
    Transition,
}
