//! How many execs may run at once, and what becomes of the one too many (GV-2).

use crate::law::Law;
use crate::sample::session;
use tenure_session::*;

trials![as_many_execs_run_as_the_limit_says, the_one_too_many_ends_the_session_or_is_refused_as_the_policy_says];

fn limited(on_exec_limit: OnExecLimit) -> Session {
    let session = session(State::Running);
    Session { limits: SessionLimits { max_concurrent_execs: 3, on_exec_limit, ..session.limits }, ..session }
}

/// GV-2
fn as_many_execs_run_as_the_limit_says(law: &Law) {
    for policy in [OnExecLimit::Terminate, OnExecLimit::Reject] {
        for running in [0, 1, 2] {
            assert_eq!((law.admit_exec)(&limited(policy), running), Ok(()), "{running} run");
        }
        for running in [3, 4, u32::MAX] {
            assert!((law.admit_exec)(&limited(policy), running).is_err(), "{running} run");
        }
    }
}

/// GV-2
fn the_one_too_many_ends_the_session_or_is_refused_as_the_policy_says(law: &Law) {
    let ends = Err(ExecOverLimit::End(TerminationReason::ExecConcurrency));
    assert_eq!((law.admit_exec)(&limited(OnExecLimit::Terminate), 3), ends);
    let refused = Err(ExecOverLimit::Refuse(Refusal::ExecLimit { limit: 3 }));
    assert_eq!((law.admit_exec)(&limited(OnExecLimit::Reject), 3), refused);
}
