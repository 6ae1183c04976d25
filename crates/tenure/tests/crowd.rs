//! Fifty sessions at the same time: each is ready in time, and sees itself alone.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Barrier;
use std::time::{Duration, Instant};
use support::needs_root;
use support::server::server;

const FIFTY: usize = 50;
/// The contract's bound for one session to be ready.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// EN-9, TR-3: no session sees another's files or processes, and each is ready within the bound.
#[test]
fn fifty_sessions_made_at_once_are_ready_in_time_and_see_themselves_alone() {
    if needs_root() {
        return;
    }
    let server = server();
    let together = Barrier::new(FIFTY);
    let one = |number: usize| {
        let own = format!("marker-{number}");
        together.wait();
        let begun = Instant::now();
        let id = server.session_with(&["--memory", "64M", "--disk", "16M"]);
        let took = begun.elapsed();
        assert!(took < READY_WITHIN, "ready after {took:?}");
        let script = format!("touch {own}; sleep 1; ls /workspace; cat /proc/[0-9]*/cmdline | tr '\\0' ' '");
        let seen = server.ask(["exec", &id, "--", "sh", "-c", &script]);
        assert_eq!(seen.code, 0, "{seen}");
        let out = seen.out();
        assert_eq!(out.lines().next(), Some(own.as_str()), "{out}");
        let others = out.matches("marker-").count() - out.matches(&own).count();
        // `marker-1` begins `marker-10` as well; what is counted is every name that is not its own.
        assert_eq!(others, 0, "session {number} sees another: {out}");
        assert_eq!(server.ask(["session", "terminate", &id]).code, 0);
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..FIFTY)
            .map(|number| {
                let one = &one;
                scope.spawn(move || one(number))
            })
            .collect();
        all.into_iter().for_each(|one| one.join().unwrap());
    });
}
