//! Who may do what to whose session (AU-3, TR-3).

use crate::law::Law;
use crate::sample::{admin, caller, owner, session};
use tenure_session::*;

trials![
    an_owner_does_everything_but_what_takes_an_administrator,
    an_administrator_does_everything_on_every_session,
    to_a_stranger_no_session_exists_whatever_they_try,
];

/// What takes an administrator, of all that is about one session.
const ADMINS_ONLY: [Operation; 5] = [
    Operation::SessionExtend,
    Operation::EnvironmentGet,
    Operation::EnvironmentCreate,
    Operation::EnvironmentDelete,
    Operation::CleanupCheck,
];

fn about_a_session() -> impl Iterator<Item = Operation> {
    Operation::ALL.iter().copied().filter(|operation| operation.row().states != States::NoSession)
}

/// AU-3
fn an_owner_does_everything_but_what_takes_an_administrator(law: &Law) {
    for operation in about_a_session() {
        let expected = if ADMINS_ONLY.contains(&operation) { Err(Denied::Role) } else { Ok(Access::Owner) };
        assert_eq!((law.may)(&owner(), &session(State::Ready), operation), expected, "{operation}");
    }
}

/// AU-3
fn an_administrator_does_everything_on_every_session(law: &Law) {
    let own = caller("alice", Role::Admin);
    for operation in about_a_session() {
        for state in State::ALL {
            assert_eq!((law.may)(&admin(), &session(state), operation), Ok(Access::Admin), "{operation}");
            assert_eq!((law.may)(&own, &session(state), operation), Ok(Access::Owner), "{operation}");
        }
    }
}

/// TR-3
fn to_a_stranger_no_session_exists_whatever_they_try(law: &Law) {
    for stranger in ["bob", "alic", "alice2", "Alice"].map(|name| caller(name, Role::User)) {
        for operation in about_a_session() {
            for state in State::ALL {
                let denied = (law.may)(&stranger, &session(state), operation);
                assert_eq!(denied, Err(Denied::Stranger), "{operation} by {}", stranger.user);
            }
        }
    }
}
