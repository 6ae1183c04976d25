//! The agent of a fake environment: the other end of the protocol, on one connection.

use crate::agent::connection::{FrameReader, FrameWriter, split};
use crate::error::AgentError;
use crate::fake::environment::{State, locked};
use crate::fake::pipe::{Files, Pipe};
use crate::fake::program::{Run, start};
use crate::fake::tree::{Failure, is_below, is_in};
use crate::observe::EnvironmentEnd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tenure_protocol::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

/// Serves one connection until it closes or breaks the protocol.
pub(super) async fn serve(state: &Arc<State>, pipe: Pipe, files: Files) {
    state.thawed().await;
    let (reader, writer) = split(Box::new(pipe));
    let mut session = Session { state, reader, writer, files };
    // An error is the connection's end, and the client sees it as such.
    let _ = session.serve().await;
}

struct Session<'a> {
    state: &'a Arc<State>,
    reader: FrameReader,
    writer: FrameWriter,
    files: Files,
}

type Served = Result<(), AgentError>;

impl Session<'_> {
    async fn serve(&mut self) -> Served {
        self.shake().await?;
        loop {
            let request = self.reader.frame().await?.message::<Request>()?;
            self.state.thawed().await;
            match request.validate() {
                Ok(()) => self.answer(request).await?,
                Err(_) => self.fail((FailureCode::Invalid, "a field breaks a limit")).await?,
            }
        }
    }

    async fn shake(&mut self) -> Served {
        let hello: Hello = self.reader.frame().await?.message()?;
        let version = choose_version(hello.version_min..=hello.version_max).ok_or(AgentError::Version(0))?;
        // A fake has nothing to protect: its nonce may be known.
        let nonce = Nonce([1; 32]);
        let (environment, generation) = (self.state.spec.id.as_str(), self.state.spec.generation.0);
        let transcript = Transcript { version, manager: &hello.nonce, agent: &nonce, environment, generation };
        let proof = transcript.prove(&self.state.key, Side::Agent);
        let environment = environment.to_owned();
        self.writer.message(&Challenge { version, environment, generation, nonce, proof }).await?;
        let prove: Prove = self.reader.frame().await?.message()?;
        if !transcript.verify(&self.state.key, Side::Manager, &prove.proof) {
            return Err(AgentError::WrongProof);
        }
        self.writer.message(&Reply::Welcome).await
    }

    async fn reply(&mut self, reply: Reply) -> Served {
        self.writer.message(&reply).await
    }

    async fn fail(&mut self, (code, message): Failure) -> Served {
        self.reply(Reply::Failed { code, message: message.to_owned() }).await
    }

    async fn done(&mut self, result: Result<(), Failure>) -> Served {
        match result {
            Ok(()) => self.reply(Reply::Done).await,
            Err(failure) => self.fail(failure).await,
        }
    }

    async fn answer(&mut self, request: Request) -> Served {
        let tree = || locked(&self.state.tree);
        match request {
            Request::Bind { .. } => self.fail((FailureCode::OutOfTurn, "bound already")).await,
            Request::Deadline { deadline_boot_ms } => {
                *locked(&self.state.deadline_boot_ms) = deadline_boot_ms;
                self.done(Ok(())).await
            }
            Request::Exec(exec) => self.exec(exec).await,
            Request::Attach { exec_id } => {
                let found = self.run(&exec_id);
                match found {
                    Ok(run) => self.attached(run, None).await,
                    Err(failure) => self.fail(failure).await,
                }
            }
            // They may arrive after the end of the exec they were meant for.
            Request::Resize { .. } | Request::SignalAttached { .. } => Ok(()),
            Request::Detach => self.fail((FailureCode::OutOfTurn, "not attached")).await,
            Request::Signal { exec_id, signal } => {
                // A program that has ended does not listen any more.
                let sent = self.run(&exec_id).map(|run| run.signals.send(signal).unwrap_or_default());
                self.done(sent).await
            }
            Request::Execs { .. } => {
                let execs = locked(&self.state.runs).values().map(state_of).collect();
                self.reply(Reply::Execs { execs, more: false }).await
            }
            Request::Forget { exec_id } => {
                let forgotten = self.run(&exec_id).and_then(|run| match run.seen.borrow().ended {
                    Some(_) => Ok(()),
                    None => Err((FailureCode::OutOfTurn, "it runs")),
                });
                if forgotten.is_ok() {
                    locked(&self.state.runs).remove(&exec_id);
                }
                self.done(forgotten).await
            }
            Request::Processes => {
                let processes = self.processes();
                self.reply(Reply::Processes { processes, truncated: false }).await
            }
            Request::FileRead { path, offset, length } => self.file_read(&path, offset, length).await,
            Request::FileWrite { path, mode } => self.file_write(&path, mode).await,
            Request::FileDelete { path, recursive } => {
                let deleted = tree().delete(&path, recursive);
                self.done(deleted).await
            }
            Request::Stat { path } => {
                let stat = tree().stat(&path);
                self.reply(Reply::Stat { stat }).await
            }
            Request::List { path } => self.list(&path).await,
            Request::MakeDir { path } => {
                let made = tree().make_dir(&path);
                self.done(made).await
            }
            Request::Rename { from, to } => {
                let renamed = tree().rename(&from, &to);
                self.done(renamed).await
            }
            Request::Watch { path, recursive } => self.watch(&path, recursive).await,
            Request::Dial { port } => self.dial(port).await,
            Request::Shutdown { .. } => {
                self.reply(Reply::Done).await?;
                self.state.finish(EnvironmentEnd::Exited(0));
                Ok(())
            }
            Request::Ping => self.done(Ok(())).await,
        }
    }

    fn run(&self, exec_id: &str) -> Result<Run, Failure> {
        locked(&self.state.runs).get(exec_id).cloned().ok_or((FailureCode::NoSuchExec, "there is no such exec"))
    }

    fn processes(&self) -> Vec<Process> {
        let (uid, cpu_ms, rss_bytes) = (1000, 0, 4096);
        let process = |pid, ppid, cmd| Process { pid, ppid, uid, state: "S".into(), cpu_ms, rss_bytes, cmd };
        let mut processes = vec![process(1, 0, "tenure-agent".to_owned())];
        let runs = locked(&self.state.runs);
        let running = runs.values().filter(|run| run.seen.borrow().ended.is_none());
        processes.extend(running.map(|run| process(run.pid, 1, run.exec.cmd.join(" "))));
        processes.sort_by_key(|process| process.pid);
        processes
    }

    async fn exec(&mut self, exec: Exec) -> Served {
        let count = match (exec.sink, exec.tty) {
            (Sink::Frames, _) => 0,
            (Sink::File { .. }, Some(_)) => 1,
            (Sink::File { .. }, None) => 2,
        };
        let Some(files) = self.files.take(count) else {
            return self.fail((FailureCode::Invalid, "files are missing")).await;
        };
        if locked(&self.state.runs).contains_key(&exec.exec_id) {
            return self.fail((FailureCode::Exists, "there is such an exec")).await;
        }
        let (feed, input) = mpsc::unbounded_channel();
        let pid = self.state.next_pid.fetch_add(1, Ordering::Relaxed);
        // A program on a terminal prints before anybody types: its input is at its end from the start.
        let feed = (exec.stdin && exec.tty.is_none()).then_some(feed);
        let run = start(self.state, exec, pid, files, input);
        locked(&self.state.runs).insert(run.exec.exec_id.clone(), run.clone());
        self.attached(run, feed).await
    }

    /// What an attached connection hears and says until the program ends or it detaches.
    async fn attached(&mut self, mut run: Run, mut feed: Option<mpsc::UnboundedSender<Vec<u8>>>) -> Served {
        self.reply(Reply::Started { pid: run.pid }).await?;
        let mut shown = None;
        loop {
            let seen = run.seen.borrow_and_update().clone();
            if let Some(script) = seen.printed.as_ref().filter(|_| shown != Some(seen.written)) {
                if run.exec.sink == Sink::Frames {
                    for (stream, bytes) in [(Stream::Output, &script.output), (Stream::Error, &script.error)] {
                        self.writer.queue_data(stream, bytes);
                    }
                    self.writer.drain().await?;
                } else {
                    let (output, error) = seen.written;
                    self.reply(Reply::Progress { output, error }).await?;
                }
                shown = Some(seen.written);
            }
            if let Some(ended) = seen.ended {
                return self.reply(Reply::Exited(ended)).await;
            }
            let frame = tokio::select! {
                _ = run.seen.changed() => continue,
                frame = self.reader.frame() => frame?,
            };
            match frame {
                Frame::Data(Stream::Input, bytes) if run.exec.tty.is_some() => drop(run.typed.send(bytes)),
                Frame::Data(Stream::Input, bytes) if bytes.is_empty() => feed = None,
                // Nobody may be reading any more.
                Frame::Data(Stream::Input, bytes) => drop(feed.as_ref().map(|feed| feed.send(bytes))),
                Frame::Data(..) => return Err(AgentError::Closed),
                Frame::Message(_) => match frame.message::<Request>()? {
                    Request::SignalAttached { signal } => run.signals.send(signal).unwrap_or_default(),
                    Request::Resize { size } => {
                        drop(run.typed.send(format!("[{}x{}]", size.rows, size.cols).into_bytes()));
                    }
                    Request::Detach => return self.reply(Reply::Done).await,
                    _ => return Err(AgentError::Closed),
                },
            }
        }
    }

    async fn file_read(&mut self, path: &str, offset: u64, length: Option<u64>) -> Served {
        let found = {
            let tree = locked(&self.state.tree);
            tree.read_or_why(path).map(|bytes| (bytes, tree.stat(path)))
        };
        let (bytes, stat) = match found {
            Ok((bytes, Some(stat))) => (bytes, stat),
            Ok((_, None)) => return self.fail((FailureCode::NotFound, "there is no such file")).await,
            Err(failure) => return self.fail(failure).await,
        };
        self.reply(Reply::File { stat }).await?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let most = length.and_then(|length| usize::try_from(length).ok()).unwrap_or(usize::MAX);
        let wanted = &bytes[start..start + (bytes.len() - start).min(most)];
        for chunk in wanted.chunks(DATA_MAX) {
            self.writer.queue_data(Stream::Output, chunk);
            self.writer.drain().await?;
        }
        self.reply(Reply::Done).await
    }

    async fn file_write(&mut self, path: &str, mode: Option<u32>) -> Served {
        let mut body = Vec::new();
        loop {
            match self.reader.frame().await? {
                Frame::Data(Stream::Input, bytes) if bytes.is_empty() => break,
                Frame::Data(Stream::Input, bytes) => body.extend(bytes),
                Frame::Data(..) | Frame::Message(_) => return Err(AgentError::Closed),
            }
        }
        let size = body.len() as u64;
        let written = locked(&self.state.tree).write_with_mode(path, body, mode);
        match written {
            Ok(()) => self.reply(Reply::Written { size }).await,
            Err(failure) => self.fail(failure).await,
        }
    }

    async fn list(&mut self, path: &str) -> Served {
        let listed = locked(&self.state.tree).list(path);
        match listed {
            Err(failure) => self.fail(failure).await,
            Ok(entries) => {
                for some in entries.chunks(ENTRIES_MAX) {
                    self.reply(Reply::Entries { entries: some.to_vec() }).await?;
                }
                self.reply(Reply::Done).await
            }
        }
    }

    async fn watch(&mut self, path: &str, recursive: bool) -> Served {
        let mut changes = locked(&self.state.tree).watch();
        if locked(&self.state.tree).stat(path).is_none() {
            return self.fail((FailureCode::NotFound, "there is no such file")).await;
        }
        self.reply(Reply::Done).await?;
        while let Ok((kind, changed)) = changes.recv().await {
            if changed == path || is_in(&changed, path) || (recursive && is_below(&changed, path)) {
                self.reply(Reply::Change { kind, path: changed }).await?;
            }
        }
        Err(AgentError::Closed)
    }

    async fn dial(&mut self, port: u16) -> Served {
        let (ours, theirs) = tokio::io::duplex(DATA_MAX);
        let heard = locked(&self.state.ports).get(&port).is_some_and(|listener| listener.send(theirs).is_ok());
        if !heard {
            return self.fail((FailureCode::Unreachable, "nobody listens")).await;
        }
        self.reply(Reply::Done).await?;
        self.ferry(ours).await?;
        Err(AgentError::Closed)
    }

    /// Carries bytes both ways until both directions have ended.
    async fn ferry(&mut self, stream: DuplexStream) -> Served {
        let (mut from, mut to) = tokio::io::split(stream);
        let outwards = async {
            let mut bytes = vec![0; 16 * 1024];
            loop {
                let count = from.read(&mut bytes).await?;
                self.writer.queue_data(Stream::Output, &bytes[..count]);
                self.writer.drain().await?;
                if count == 0 {
                    return Ok(());
                }
            }
        };
        let inwards = async {
            loop {
                match self.reader.frame().await? {
                    Frame::Data(Stream::Input, bytes) if bytes.is_empty() => return Ok(to.shutdown().await?),
                    Frame::Data(Stream::Input, bytes) => to.write_all(&bytes).await?,
                    Frame::Data(..) | Frame::Message(_) => return Err(AgentError::Closed),
                }
            }
        };
        tokio::try_join!(outwards, inwards).map(drop)
    }
}

fn state_of(run: &Run) -> ExecState {
    let ended = run.seen.borrow().ended.clone();
    ExecState { exec_id: run.exec.exec_id.clone(), pid: run.pid, tag: run.exec.tag.clone(), ended, room_bytes: None }
}
