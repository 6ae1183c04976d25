//! PID 1 inside an environment: starts programs, feeds and drains them, does file work with the tenant's rights, dials ports, and holds the
//! hard deadline. It obeys whoever proves the environment's key, and goes on without a manager.
//!
//! One thread, one epoll loop, no runtime. Everything that comes from a manager or from the tenant is bounded; see `event_loop`.

// Fork, credentials, signals and descriptors have no safe interface; each block says why it is sound.
#![allow(unsafe_code)]
// A binary has no public interface; what items are for stands at the module and where it is not obvious.
#![allow(missing_docs)]

mod boot;
mod clock;
mod connection;
mod credentials;
mod delete;
mod dial;
mod ending;
mod event_loop;
mod exec;
mod failure;
mod file;
mod handshake;
mod input;
mod launch;
mod output;
mod path;
mod poll;
mod process;
mod reaper;
mod request;
mod spawn;
mod tty;
mod upload;
mod user;
mod watch;

fn main() {
    // No message and no detail on failure: the keeper sees the control socket close, and nobody else may see anything.
    let code = match boot::boot() {
        Ok(mut agent) => agent.run(),
        Err(_) => 1,
    };
    ending::exit(code)
}
