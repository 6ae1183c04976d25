//! Troubles of the host, each with the outcome that is promised for it: against a real server, real environments and the kernel's own failings.
#![allow(clippy::unwrap_used)]

mod support;

#[path = "host_trouble/disk.rs"]
mod disk;
#[path = "host_trouble/dying.rs"]
mod dying;
#[path = "host_trouble/http.rs"]
mod http;
#[path = "host_trouble/own.rs"]
mod own;
#[path = "host_trouble/starting.rs"]
mod starting;
#[path = "host_trouble/unwritable.rs"]
mod unwritable;

fn directory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("tenure-trouble-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}
