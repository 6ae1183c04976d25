//! Programs inside: starting them, finding them again, and asking about them.

use crate::agent::Client;
use crate::agent::attached::Attached;
use crate::agent::connection::{broken, out_of_turn};
use crate::error::AgentError;
use std::collections::HashSet;
use std::os::fd::OwnedFd;
use tenure_protocol::{
    EXECS_MAX, Ended, Exec, ExecState, Invalid, NAME_MAX, PROCESSES_MAX, Process, Reply, Request, Sink,
};

/// Longest command line in a list: 256 bytes, each of which may have become a replacement character.
const CMD_MAX: usize = 3 * 256;

/// The processes of an environment, as its agent tells them.
#[derive(Debug, Clone, PartialEq)]
pub struct Processes {
    /// In order of their IDs.
    pub processes: Vec<Process>,
    /// Whether some were left out.
    pub truncated: bool,
}

impl Client {
    /// Starts a program and attaches to it.
    ///
    /// With [`Sink::File`] its output goes to `files`, one for output and one for error output, or a single one with a terminal; with [`Sink::Frames`] there are none.
    /// The connection belongs to the program from here on; [`Attached::into_client`] may give it back.
    pub async fn exec(mut self, exec: Exec, files: Vec<OwnedFd>) -> Result<Attached, AgentError> {
        let wanted = match (exec.sink, exec.tty) {
            (Sink::Frames, _) => 0,
            (Sink::File { .. }, Some(_)) => 1,
            (Sink::File { .. }, None) => 2,
        };
        if files.len() != wanted {
            return Err(Invalid { field: "files", problem: "must be one for each of the program's outputs" }.into());
        }
        let (sink, fed) = (exec.sink, exec.stdin || exec.tty.is_some());
        let request = Request::Exec(exec);
        self.begin(&request).await?;
        self.writer.queue_with_files(&request, files)?;
        self.writer.drain().await?;
        self.started(Some(sink), fed).await
    }

    /// Attaches to a program that runs or ran, under whatever connection it was started.
    pub async fn attach(mut self, exec_id: &str) -> Result<Attached, AgentError> {
        let request = Request::Attach { exec_id: exec_id.to_owned() };
        self.begin(&request).await?;
        self.writer.message(&request).await?;
        self.started(None, true).await
    }

    async fn started(mut self, sink: Option<Sink>, fed: bool) -> Result<Attached, AgentError> {
        match self.reader.reply().await? {
            Reply::Started { pid } => Ok(Attached::new(self, pid, sink, fed)),
            _ => out_of_turn(),
        }
    }

    /// Signals the process group of a program.
    pub async fn signal(&mut self, exec_id: &str, signal: i32) -> Result<(), AgentError> {
        self.command(&Request::Signal { exec_id: exec_id.to_owned(), signal }).await
    }

    /// The programs that the agent remembers, running and ended.
    pub async fn execs(&mut self) -> Result<Vec<ExecState>, AgentError> {
        let mut all: Vec<ExecState> = Vec::new();
        loop {
            let after = all.last().map(|exec| exec.exec_id.clone());
            let Reply::Execs { execs, more } = self.ask(&Request::Execs { after }).await? else { return out_of_turn() };
            let page = execs.len();
            all.extend(execs);
            check_execs(&all)?;
            self.rest();
            // An empty page that promises more would go on for ever.
            if !more || page == 0 {
                return Ok(all);
            }
        }
    }

    /// Lets the agent forget a program that has ended.
    pub async fn forget(&mut self, exec_id: &str) -> Result<(), AgentError> {
        self.command(&Request::Forget { exec_id: exec_id.to_owned() }).await
    }

    /// The processes inside.
    pub async fn processes(&mut self) -> Result<Processes, AgentError> {
        let Reply::Processes { processes, truncated } = self.ask(&Request::Processes).await? else {
            return out_of_turn();
        };
        let sound = |process: &Process| process.state.chars().count() == 1 && process.cmd.len() <= CMD_MAX;
        if processes.len() > PROCESSES_MAX || !processes.iter().all(sound) {
            return Err(broken("a list of processes that no environment has"));
        }
        self.rest();
        Ok(Processes { processes, truncated })
    }
}

fn check_execs(execs: &[ExecState]) -> Result<(), AgentError> {
    let named = |exec: &ExecState| {
        (1..=NAME_MAX).contains(&exec.exec_id.len()) && exec.tag.as_ref().is_none_or(|tag| tag.len() <= NAME_MAX)
    };
    let different: HashSet<&str> = execs.iter().map(|exec| exec.exec_id.as_str()).collect();
    if execs.len() > EXECS_MAX || different.len() < execs.len() || !execs.iter().all(named) {
        return Err(broken("a list of execs that no environment has"));
    }
    execs.iter().filter_map(|exec| exec.ended.as_ref()).try_for_each(check_ended)
}

/// An end has one cause, and numbers that the kernel gives.
pub(super) fn check_ended(ended: &Ended) -> Result<(), AgentError> {
    let sound = match (ended.exit_code, ended.signal, &ended.not_started) {
        (Some(code), None, None) => (0..=255).contains(&code),
        (None, Some(signal), None) => (1..=64).contains(&signal),
        (None, None, Some(_)) => true,
        (None, None, None) | (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => false,
    };
    if sound { Ok(()) } else { Err(broken("a program that ended in no way or in several")) }
}
