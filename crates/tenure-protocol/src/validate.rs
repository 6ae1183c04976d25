//! The limits of every field, as code. Both sides check: the manager before it sends, the agent after it read.

use crate::limits::{ARGS_BYTES_MAX, ARGS_MAX, ENV_MAX, NAME_MAX, PATH_MAX};
use crate::message::{Exec, Request};
use std::collections::BTreeMap;

/// Which field of a request breaks which limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

fn require(holds: bool, field: &'static str, problem: &'static str) -> Result<(), Invalid> {
    holds.then_some(()).ok_or(Invalid { field, problem })
}

fn check_name(field: &'static str, name: &str) -> Result<(), Invalid> {
    require(!name.is_empty() && name.len() <= NAME_MAX, field, "must have 1 to 255 bytes")?;
    require(!name.chars().any(char::is_control), field, "must have no control characters")
}

fn check_path(field: &'static str, path: &str) -> Result<(), Invalid> {
    require(path.starts_with('/'), field, "must be absolute")?;
    require(path.len() <= PATH_MAX, field, "must have at most 4095 bytes")?;
    require(!path.contains('\0'), field, "must have no NUL")
}

fn check_signal(signal: i32) -> Result<(), Invalid> {
    require((1..=64).contains(&signal), "signal", "must be from 1 to 64")
}

fn check_env(env: &BTreeMap<String, String>) -> Result<usize, Invalid> {
    require(env.len() <= ENV_MAX, "env", "has too many variables")?;
    for (name, value) in env {
        require(!name.is_empty() && !name.contains(['=', '\0']), "env", "has a name that is empty or holds = or NUL")?;
        require(!value.contains('\0'), "env", "has a value that holds NUL")?;
    }
    Ok(env.iter().map(|(name, value)| name.len() + value.len() + 2).sum())
}

impl Exec {
    fn validate(&self) -> Result<(), Invalid> {
        check_name("exec_id", &self.exec_id)?;
        require(!self.cmd.is_empty() && !self.cmd[0].is_empty(), "cmd", "must name a program")?;
        require(self.cmd.len() <= ARGS_MAX, "cmd", "has too many arguments")?;
        require(!self.cmd.iter().any(|word| word.contains('\0')), "cmd", "must have no NUL")?;
        check_path("cwd", &self.cwd)?;
        let bytes = check_env(&self.env)? + self.cmd.iter().map(|word| word.len() + 1).sum::<usize>();
        require(bytes <= ARGS_BYTES_MAX, "cmd", "is too long together with env")?;
        self.user.iter().try_for_each(|user| check_name("user", user))?;
        self.tag.iter().try_for_each(|tag| check_name("tag", tag))
    }
}

impl Request {
    /// Checks every field against its limit. Both sides call it: the manager before it sends, the agent after it read.
    pub fn validate(&self) -> Result<(), Invalid> {
        match self {
            Request::Bind { environment, generation, env, .. } => {
                environment.iter().try_for_each(|name| check_name("environment", name))?;
                require(*generation > 0, "generation", "must be at least 1")?;
                require(check_env(env)? <= ARGS_BYTES_MAX, "env", "is too long")
            }
            Request::Exec(exec) => exec.validate(),
            Request::Attach { exec_id } | Request::Forget { exec_id } => check_name("exec_id", exec_id),
            Request::Execs { after } => after.iter().try_for_each(|after| check_name("after", after)),
            Request::SignalAttached { signal } => check_signal(*signal),
            Request::Signal { exec_id, signal } => {
                check_signal(*signal)?;
                check_name("exec_id", exec_id)
            }
            Request::FileRead { path, .. }
            | Request::FileWrite { path, .. }
            | Request::FileDelete { path, .. }
            | Request::Stat { path }
            | Request::List { path }
            | Request::MakeDir { path }
            | Request::Watch { path, .. } => check_path("path", path),
            Request::Rename { from, to } => {
                check_path("from", from)?;
                check_path("to", to)
            }
            Request::Dial { port } => require(*port > 0, "port", "must be at least 1"),
            Request::Deadline { .. }
            | Request::Resize { .. }
            | Request::Detach
            | Request::Processes
            | Request::Shutdown { .. }
            | Request::Ping => Ok(()),
        }
    }
}
