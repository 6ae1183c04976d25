//! Laws that record or read wrongly: IDs, states, ends, limits, what users see.

use crate::law::{Law, RIGHT};
use tenure_session as right;
use tenure_session::*;

/// See the names.
pub const LAWS: &[Law] = &[
    Law {
        wrong: "an ID may end in a newline",
        session_id: |text| text.strip_suffix('\n').unwrap_or(text).parse(),
        ..RIGHT
    },
    Law { wrong: "an ID may stand in spaces", session_id: |text| text.trim_matches(' ').parse(), ..RIGHT },
    Law {
        wrong: "upper-case digits are digits",
        session_id: |text| if text.starts_with("exec_") { text.to_lowercase().parse() } else { text.parse() },
        ..RIGHT
    },
    Law { wrong: "30 February is a day", session_id: |text| text.replace("0230_", "0228_").parse(), ..RIGHT },
    Law { wrong: "29 February is in every year", session_id: |text| text.replace("0229_", "0228_").parse(), ..RIGHT },
    Law { wrong: "hour 25 is an hour", session_id: |text| text.replace("_25", "_23").parse(), ..RIGHT },
    Law { wrong: "second 60 is a second", session_id: |text| text.replace("60_", "59_").parse(), ..RIGHT },
    Law { wrong: "every digit of the world is a digit", session_id: any_digit, ..RIGHT },
    Law {
        wrong: "the compact form is an ID",
        session_id: |text| text.parse().or_else(|_| SessionId::from_compact(text)),
        ..RIGHT
    },
    Law {
        wrong: "an ID is a compact form",
        from_compact: |text| SessionId::from_compact(&text.replace('_', "")),
        ..RIGHT
    },
    Law { wrong: "a compact form loses its last digit", from_compact: last_digit_lost, ..RIGHT },
    Law {
        wrong: "nobody is the user default",
        identity: |claim, inside| {
            Identity::check(&IdentityClaim { user_id: claim.user_id.or(Some("default")), ..*claim }, inside)
        },
        ..RIGHT
    },
    Law {
        wrong: "the environment is not needed inside one",
        identity: |claim, _| Identity::check(claim, false),
        ..RIGHT
    },
    Law {
        wrong: "malformed parts are missing",
        identity: |claim, inside| {
            Identity::check(claim, inside).map_err(|mut wrong| {
                wrong.missing_fields.append(&mut wrong.invalid_fields);
                wrong
            })
        },
        ..RIGHT
    },
    Law {
        wrong: "running becomes ready",
        transition: |from, to| also(from, to, State::Running, State::Ready),
        ..RIGHT
    },
    Law {
        wrong: "the terminated run",
        transition: |from, to| also(from, to, State::Terminated, State::Running),
        ..RIGHT
    },
    Law {
        wrong: "created becomes ready at once",
        transition: |from, to| also(from, to, State::Created, State::Ready),
        ..RIGHT
    },
    Law {
        wrong: "the paused are paused",
        transition: |from, to| also(from, to, State::Paused, State::Paused),
        ..RIGHT
    },
    Law {
        wrong: "the paused do not fail",
        transition: |from, to| match (from, to) {
            (State::Paused, State::Failed) => Err(IllegalTransition { from, to }),
            _ => right::transition(from, to),
        },
        ..RIGHT
    },
    Law {
        wrong: "an illegal transition names the wrong state",
        transition: |from, to| right::transition(from, to).map_err(|_| IllegalTransition { from: to, to: from }),
        ..RIGHT
    },
    Law { wrong: "the deleted are only stopped", phase: |session| session.state.phase(), ..RIGHT },
    Law { wrong: "resuming forgets the state", step: |s, o, to| resumed(s, o, to, State::Running), ..RIGHT },
    Law { wrong: "resuming makes a session ready", step: |s, o, to| resumed(s, o, to, State::Ready), ..RIGHT },
    Law {
        wrong: "pausing forgets the state",
        step: |s, o, to| right::step(s, o, to).map(|step| Step { resumes_to: None, ..step }),
        ..RIGHT
    },
    Law {
        wrong: "work leaves a session ready",
        step: |s, o, to| right::step(s, o, to).filter(|_| o != Operation::ExecRun),
        ..RIGHT
    },
    Law {
        wrong: "reading a file makes a session running",
        step: |s, o, to| right::step(s, if o == Operation::FileRead { Operation::ExecRun } else { o }, to),
        ..RIGHT
    },
    Law { wrong: "the last reason wins", end: last_reason, ..RIGHT },
    Law { wrong: "failed needs no failure", end: no_failure_needed, ..RIGHT },
    Law { wrong: "any end may have a failure", end: any_failure, ..RIGHT },
    Law { wrong: "every end is terminated", end: always_terminated, ..RIGHT },
    Law {
        wrong: "a lost environment ends in terminated",
        ends_in: |reason| match reason {
            TerminationReason::EnvironmentLost => State::Terminated,
            other => other.ends_in(),
        },
        ..RIGHT
    },
    Law {
        wrong: "too many execs are a failure",
        ends_in: |reason| match reason {
            TerminationReason::ExecConcurrency => State::Failed,
            other => other.ends_in(),
        },
        ..RIGHT
    },
    Law {
        wrong: "users give the reasons of admins",
        may_be_given_by: |reason, _| reason.may_be_given_by(true),
        ..RIGHT
    },
    Law {
        wrong: "admins give every reason",
        may_be_given_by: |reason, admin| admin || reason.may_be_given_by(false),
        ..RIGHT
    },
    Law { wrong: "an admin's default is the owner's", by_default: |_| TerminationReason::UserRequest, ..RIGHT },
    Law {
        wrong: "bounds bind nobody",
        resolve: |request, template, policy| unbound(request, template, policy, 0, u64::MAX),
        ..RIGHT
    },
    Law {
        wrong: "one less than the least will do",
        resolve: |request, template, policy| unbound(request, template, policy, 99, 200),
        ..RIGHT
    },
    Law {
        wrong: "one more than the most will do",
        resolve: |request, template, policy| unbound(request, template, policy, 100, 201),
        ..RIGHT
    },
    Law {
        wrong: "the most cannot be chosen",
        resolve: |request, template, policy| unbound(request, template, policy, 100, 199),
        ..RIGHT
    },
    Law {
        wrong: "templates are not bound",
        resolve: |request, template, policy| {
            let limits = right::resolve(request, template, policy);
            limits
                .or_else(|invalid| if *request == LimitRequest::default() { Ok(policy.default) } else { Err(invalid) })
        },
        ..RIGHT
    },
    Law { wrong: "a request switches idle off", resolve: null_accepted, ..RIGHT },
    Law {
        wrong: "null is not given",
        resolve: |request, template, policy| {
            let idle_timeout_ms = request.idle_timeout_ms.filter(Option::is_some);
            right::resolve(&LimitRequest { idle_timeout_ms, ..*request }, template, policy)
        },
        ..RIGHT
    },
    Law {
        wrong: "the template goes before the request",
        resolve: |request, template, policy| right::resolve(template, request, policy),
        ..RIGHT
    },
    Law {
        wrong: "only the first wrong field is named",
        resolve: |request, template, policy| {
            right::resolve(request, template, policy).map_err(|invalid| invalid.into_iter().take(1).collect())
        },
        ..RIGHT
    },
    Law {
        wrong: "the status goes by what is stored alone",
        status: |s, p, _| right::status(s, p, s.created_at),
        ..RIGHT
    },
    Law { wrong: "the status counts to the lifetime", status: counts_to_the_lifetime, ..RIGHT },
    Law {
        wrong: "a paused environment is ready",
        status: |s, p, now| Status {
            environment_ready: s.state == State::Paused || right::status(s, p, now).environment_ready,
            ..right::status(s, p, now)
        },
        ..RIGHT
    },
    Law {
        wrong: "a failure has no reason",
        status: |s, p, now| Status { error_reason: None, ..right::status(s, p, now) },
        ..RIGHT
    },
    Law {
        wrong: "every failure is final",
        status: |s, p, now| Status { recoverable: false, ..right::status(s, p, now) },
        ..RIGHT
    },
    Law {
        wrong: "details are shown to users",
        status: |s, p, now| {
            let details = s.end.as_ref().and_then(|end| end.failure.as_ref()?.technical_details.clone());
            let status = right::status(s, p, now);
            Status { message: details.unwrap_or(status.message), ..status }
        },
        ..RIGHT
    },
    Law {
        wrong: "the lifetime is said to end every session first",
        explain: |s, p, now| {
            let explanation = right::explain(s, p, now);
            let ends_first = explanation.ahead.last().cloned();
            Explanation { ends_first, ..explanation }
        },
        ..RIGHT
    },
    Law {
        wrong: "whoever's end is not recorded is alive",
        explain: |s, p, now| Explanation { alive: s.end.is_none(), ..right::explain(s, p, now) },
        ..RIGHT
    },
    Law {
        wrong: "the explanation forgets work in progress",
        explain: |s, p, now| right::explain(s, &Presence { work: Work::None, ..*p }, now),
        ..RIGHT
    },
    Law {
        wrong: "the explanation takes what is not known for work in progress",
        explain: |s, p, now| {
            let work = if p.work == Work::Unknown { Work::InProgress } else { p.work };
            right::explain(s, &Presence { work, ..*p }, now)
        },
        ..RIGHT
    },
    Law {
        wrong: "the evidence lacks what was said at the end",
        explain: |s, p, now| {
            let mut explanation = right::explain(s, p, now);
            explanation.evidence.detail = None;
            explanation
        },
        ..RIGHT
    },
    Law {
        wrong: "a check sees only what is recorded",
        cleanup_check: |s, p, now| match s.end {
            Some(_) => right::cleanup_check(s, p, now),
            None => CleanupCheck { should_cleanup: false, ..right::cleanup_check(s, p, now) },
        },
        ..RIGHT
    },
    Law {
        wrong: "what has ended needs no clean-up",
        cleanup_check: |s, p, now| {
            let check = right::cleanup_check(s, p, now);
            CleanupCheck { should_cleanup: check.should_cleanup && s.end.is_none(), ..check }
        },
        ..RIGHT
    },
    Law {
        wrong: "nothing helps",
        classify: |kind, context| Failure { recoverable: false, ..right::classify(kind, context) },
        ..RIGHT
    },
    Law {
        wrong: "a full disk is retried",
        classify: |kind, context| {
            let failure = right::classify(kind, context);
            let full = context.cause == "disk_full";
            Failure { recovery_action: if full { RecoveryAction::Retry } else { failure.recovery_action }, ..failure }
        },
        ..RIGHT
    },
    Law {
        wrong: "causes are the same for every type",
        classify: |kind, context| {
            let of_init = right::classify(FailureType::Init, context);
            if context.cause == "timeout" { Failure { kind, ..of_init } } else { right::classify(kind, context) }
        },
        ..RIGHT
    },
    Law {
        wrong: "details are lost",
        classify: |kind, context| Failure { technical_details: None, ..right::classify(kind, context) },
        ..RIGHT
    },
];

fn any_digit(text: &str) -> Result<SessionId, InvalidId> {
    let plain = text.chars().map(|c| if c.is_numeric() && !c.is_ascii() { '1' } else { c });
    plain.collect::<String>().parse()
}

fn last_digit_lost(text: &str) -> Result<SessionId, InvalidId> {
    let id = SessionId::from_compact(text)?;
    let (kept, _) = id.as_str().split_at(28);
    format!("{kept}0").parse()
}

fn also(from: State, to: State, allowed_from: State, allowed_to: State) -> Result<(), IllegalTransition> {
    if (from, to) == (allowed_from, allowed_to) { Ok(()) } else { right::transition(from, to) }
}

fn resumed(session: &Session, operation: Operation, to: Option<State>, resumed: State) -> Option<Step> {
    let step = right::step(session, operation, to)?;
    Some(if session.state == State::Paused { Step { to: resumed, ..step } } else { step })
}

fn last_reason(session: &Session, end: End) -> Result<Ending<'_>, NoSuchEnd> {
    match right::end(session, end.clone())? {
        Ending::Stands(_) => Ok(Ending::Ends(end.reason.ends_in(), end)),
        ending => Ok(ending),
    }
}

fn no_failure_needed(session: &Session, end: End) -> Result<Ending<'_>, NoSuchEnd> {
    match right::end(session, end.clone()) {
        Err(NoSuchEnd::FailureMissing(_)) => Ok(Ending::Ends(State::Failed, end)),
        ending => ending,
    }
}

fn any_failure(session: &Session, end: End) -> Result<Ending<'_>, NoSuchEnd> {
    match right::end(session, end.clone()) {
        Err(NoSuchEnd::FailureUncalledFor(_)) => Ok(Ending::Ends(State::Terminated, end)),
        ending => ending,
    }
}

fn always_terminated(session: &Session, end: End) -> Result<Ending<'_>, NoSuchEnd> {
    match right::end(session, end)? {
        Ending::Ends(_, end) => Ok(Ending::Ends(State::Terminated, end)),
        stands => Ok(stands),
    }
}

/// With other bounds than those of the test, which are 100 and 200.
fn unbound(
    request: &LimitRequest,
    template: &LimitRequest,
    policy: &LimitPolicy,
    min: u64,
    max: u64,
) -> Result<SessionLimits, Vec<InvalidField>> {
    let range = Range { min, max };
    let other = LimitPolicy {
        default: policy.default,
        max_lifetime_ms: range,
        idle_timeout_ms: range,
        max_concurrent_execs: range,
        cpu_millis: range,
        memory_bytes: range,
        pids: range,
        disk_bytes: range,
    };
    let of_the_test = policy.pids == Range { min: 100, max: 200 };
    right::resolve(request, template, if of_the_test { &other } else { policy })
}

fn null_accepted(
    request: &LimitRequest,
    template: &LimitRequest,
    policy: &LimitPolicy,
) -> Result<SessionLimits, Vec<InvalidField>> {
    let off = request.idle_timeout_ms == Some(None);
    let template =
        LimitRequest { idle_timeout_ms: if off { Some(None) } else { template.idle_timeout_ms }, ..*template };
    right::resolve(request, &template, policy)
}

fn counts_to_the_lifetime(session: &Session, presence: &Presence, now: Timestamp) -> Status {
    let remaining_seconds = session.lifetime_ends_at.ms_since(now) / 1_000;
    let status = right::status(session, presence, now);
    let alive = status.remaining_seconds > 0;
    Status { remaining_seconds: if alive { remaining_seconds } else { 0 }, ..status }
}
