//! The closed sets of words in answers, as they are described. A test holds them to the words that are really written.

use utoipa::ToSchema;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident: $($word:ident = $text:tt),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, ToSchema)]
        #[allow(missing_docs, reason = "each word is its own name")]
        pub enum $name { $(#[serde(rename = $text)] $word),+ }

        impl $name {
            /// All of them, as they are written.
            pub const ALL: &'static [&'static str] = &[$($text),+];
        }
    };
}

words! {
    /// Where a session is in its life.
    SessionState: Created = "created", Initializing = "initializing", Ready = "ready", Running = "running", Paused = "paused",
    Terminated = "terminated", Failed = "failed"
}

words! {
    /// The coarse state.
    SessionPhase: Creating = "CREATING", Active = "ACTIVE", Paused = "PAUSED", Stopped = "STOPPED", Deleted = "DELETED"
}

words! {
    /// Why a session ended.
    Reason: UserRequest = "user_request", AdminRequest = "admin_request", Completed = "completed", MaxLifetime = "max_lifetime",
    IdleTimeout = "idle_timeout", LeaseExpired = "lease_expired", ExecConcurrency = "exec_concurrency", Deleted = "deleted",
    EnvironmentLost = "environment_lost", FailedInit = "failed_init", FailedRuntime = "failed_runtime", FailedInfra = "failed_infra"
}

words! {
    /// What set an audited event off.
    AuditTrigger: UserAction = "user_action", ApiCall = "api_call", SystemTimeout = "system_timeout", Recovery = "recovery",
    Error = "error"
}

words! {
    /// What is known of an environment.
    EnvironmentStatus: None = "none", Provisioning = "provisioning", Ready = "ready", Frozen = "frozen", Recovering = "recovering",
    Lost = "lost", Gone = "gone"
}

words! {
    /// Whether work is in progress.
    Work: None = "none", InProgress = "in_progress", Unknown = "unknown"
}

words! {
    /// A limit that the kernel holds an environment to.
    KernelLimit: Memory = "memory", Processes = "processes", Disk = "disk"
}

words! {
    /// What to show.
    Display: Creating = "creating", Initializing = "initializing", Ready = "ready", Running = "running", Paused = "paused",
    Terminated = "terminated", Error = "error"
}

words! {
    /// What happens when more execs are started than may run at once.
    OnExecLimit: Terminate = "terminate", Reject = "reject"
}

words! {
    /// What a session reaches beyond itself.
    Network: None = "none"
}

words! {
    /// Where a session works.
    EnvironmentKind: Linux = "linux", None = "none"
}

words! {
    /// How far an exec is.
    ExecState: Intended = "intended", Started = "started", Exited = "exited", Killed = "killed", Failed = "failed", Unknown = "unknown"
}

words! {
    /// What a credential lets its bearer do.
    Role: User = "user", Admin = "admin"
}

words! {
    /// What is at a path.
    FileType: File = "file", Dir = "dir", Symlink = "symlink", Other = "other"
}

words! {
    /// How turns are checked.
    Profile: Plain = "plain", Adventure = "adventure"
}

words! {
    /// What kind of thing failed.
    FailureType: Init = "init", Runtime = "runtime", Access = "access", Infra = "infra"
}

words! {
    /// How bad a failure is.
    Severity: Low = "low", Medium = "medium", High = "high", Critical = "critical"
}

words! {
    /// What helps.
    RecoveryAction: Retry = "retry", CreateNew = "create_new", Wait = "wait", ContactAdmin = "contact_admin", None = "none"
}

words! {
    /// What a ticket is for.
    TicketUse: Terminal = "terminal", Events = "events", Preview = "preview"
}

words! {
    /// What is wrong with the audit.
    AuditProblemKind: Changed = "changed", MetadataChanged = "metadata_changed", Removed = "removed", Inserted = "inserted",
    OutOfOrder = "out_of_order", Unlinked = "unlinked", MissingTail = "missing_tail", OtherLine = "other_line",
    BadSignature = "bad_signature"
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenure_session as law;

    fn check<T: serde::Serialize>(law: impl IntoIterator<Item = T>, described: &[&str]) {
        let law: Vec<_> = law.into_iter().map(|word| serde_json::to_value(word).unwrap()).collect();
        assert_eq!(law, described);
    }

    /// AP-1
    #[test]
    fn the_words_of_the_law_are_described_as_they_are_written() {
        check(law::State::ALL, SessionState::ALL);
        check(law::TerminationReason::ALL, Reason::ALL);
        check(law::Trigger::ALL, AuditTrigger::ALL);
        check(law::FailureType::ALL, FailureType::ALL);
        use law::Phase::{Active, Creating, Deleted, Paused, Stopped};
        check([Creating, Active, Paused, Stopped, Deleted], SessionPhase::ALL);
        check([law::OnExecLimit::Terminate, law::OnExecLimit::Reject], OnExecLimit::ALL);
        check([law::Network::None], Network::ALL);
        check([law::Role::User, law::Role::Admin], Role::ALL);
        use law::EnvironmentState as E;
        let environments = [E::None, E::Provisioning, E::Ready, E::Frozen, E::Recovering, E::Lost, E::Gone];
        check(environments, EnvironmentStatus::ALL);
        check([law::Work::None, law::Work::InProgress, law::Work::Unknown], Work::ALL);
        use law::DisplayState as D;
        check([D::Creating, D::Initializing, D::Ready, D::Running, D::Paused, D::Terminated, D::Error], Display::ALL);
        use law::Severity as S;
        check([S::Low, S::Medium, S::High, S::Critical], Severity::ALL);
        use law::RecoveryAction as R;
        check([R::Retry, R::CreateNew, R::Wait, R::ContactAdmin, R::None], RecoveryAction::ALL);
    }

    /// AP-1
    #[test]
    fn the_words_of_the_engine_are_described_as_they_are_written() {
        use tenure_engine::ExecLedgerState as X;
        check([X::Intended, X::Started, X::Exited, X::Killed, X::Failed, X::Unknown], ExecState::ALL);
        check(tenure_engine::KernelLimit::ALL, KernelLimit::ALL);
        use tenure_engine::FileKind as F;
        check([F::File, F::Dir, F::Symlink, F::Other], FileType::ALL);
        check([tenure_engine::Profile::Plain, tenure_engine::Profile::Adventure], Profile::ALL);
        check([tenure_engine::EnvironmentKind::Linux, tenure_engine::EnvironmentKind::None], EnvironmentKind::ALL);
        use tenure_engine::ProblemKind as P;
        let problems = [
            P::Changed,
            P::MetadataChanged,
            P::Removed,
            P::Inserted,
            P::OutOfOrder,
            P::Unlinked,
            P::MissingTail,
            P::OtherLine,
            P::BadSignature,
        ];
        check(problems, AuditProblemKind::ALL);
    }
}
