//! What an admitted operation makes of the state of a session that goes on (LC-1, LC-8, LC-9).

use crate::operation::{Effect, Operation};
use crate::session::Session;
use crate::state::{State, transition};

/// From one live state to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Where it goes.
    pub to: State,
    /// Where resuming leads from there: where it came from, if it is paused by this.
    pub resumes_to: Option<State>,
}

/// The step that an admitted operation takes, if it takes one; `to` is what a transition names. Ends are not steps: see [`crate::end`].
pub fn step(session: &Session, operation: Operation, to: Option<State>) -> Option<Step> {
    let from = session.state;
    let to = match operation.effect() {
        Effect::Nothing | Effect::End => None,
        Effect::Work => (from == State::Ready).then_some(State::Running),
        Effect::Pause => Some(State::Paused),
        Effect::Resume => (from == State::Paused).then(|| session.resumed_state()),
        Effect::Transition => to.filter(|to| to.is_live()),
    };
    to.filter(|to| transition(from, *to).is_ok()).map(|to| Step { to, resumes_to: resumes_to(from, to) })
}

fn resumes_to(from: State, to: State) -> Option<State> {
    match to {
        State::Paused => Some(from),
        State::Created | State::Initializing | State::Ready | State::Running | State::Terminated | State::Failed => {
            None
        }
    }
}
