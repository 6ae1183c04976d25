//! Requests: whose turn it is on a connection, and what each request starts.

use crate::connection::{OutBuffer, Phase};
use crate::credentials::Tenant;
use crate::delete::{self, Delete};
use crate::dial::Dial;
use crate::event_loop::{Agent, Binding};
use crate::failure::Failure;
use crate::file::{FileRead, List};
use crate::path;
use crate::poll::Token;
use crate::process;
use crate::upload::Upload;
use crate::watch::Watch;
use std::time::Instant;
use tenure_protocol::{FailureCode, Frame, Reply, Request, Stream};

/// What an authenticated connection is busy with.
#[derive(Debug)]
pub enum Task {
    /// Waits for a request. Input that was meant for what is over by now is passed over.
    Idle,
    /// Gets the events of this exec and feeds its input.
    Attached(u64),
    Read(FileRead),
    Write(Upload),
    Delete(Delete),
    List(List),
    Watch(Watch),
    Dial(Dial),
}

/// A piece of a file, or its end.
fn upload_frame(upload: &mut Upload, bytes: &[u8]) -> Result<Option<Reply>, Failure> {
    if bytes.is_empty() {
        return upload.commit().map(Some);
    }
    upload.write(bytes).map(|()| None)
}

/// What became of a frame.
#[derive(Debug)]
pub enum Handled {
    Taken,
    /// There is no room for it now.
    Later(Frame),
    /// It breaks the protocol: the connection is closed.
    Broken,
}

/// What became of a task's turn.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// It waits for an event.
    Waiting,
    /// It has more to do at once.
    Again,
    /// The connection is free for the next request.
    Finished,
    /// The connection is of no use any more.
    Broken,
}

impl Task {
    /// One bounded step of what needs no frame.
    pub fn step(&mut self, out: &mut OutBuffer, scratch: &mut [u8], tenant: &Tenant, now: Instant) -> Step {
        match self {
            Task::Idle | Task::Attached(_) | Task::Write(_) => Step::Waiting,
            Task::Read(read) => tenant.run(|| read.step(out, scratch)),
            Task::Delete(delete) => {
                let (step, reply) = tenant.run(|| delete.step());
                reply.iter().for_each(|reply| out.reply(reply));
                step
            }
            Task::List(list) => tenant.run(|| list.step(out)),
            Task::Watch(watch) => watch.step(out, tenant),
            Task::Dial(dial) => dial.step(out, scratch, now),
        }
    }

    /// When it must be stepped although nothing happens.
    pub fn wakes_at(&self) -> Option<Instant> {
        match self {
            Task::Dial(dial) => dial.wakes_at(),
            Task::Idle
            | Task::Attached(_)
            | Task::Read(_)
            | Task::Write(_)
            | Task::Delete(_)
            | Task::List(_)
            | Task::Watch(_) => None,
        }
    }
}

impl Agent {
    /// Takes a frame of a connection that has proven itself.
    pub fn serve_frame(&mut self, id: u64, frame: Frame, now: Instant) -> Handled {
        let Some(connection) = self.connections.get_mut(&id) else { return Handled::Broken };
        let Phase::Serving(task) = &mut connection.phase else { return Handled::Broken };
        if let Frame::Data(Stream::Output | Stream::Error, _) = frame {
            return Handled::Broken;
        }
        match (&mut **task, frame) {
            (Task::Idle, Frame::Data(..)) => Handled::Taken,
            (Task::Idle, frame @ Frame::Message(_)) => self.serve_request(id, frame, now),
            (Task::Attached(key), frame) => {
                let key = *key;
                self.serve_attached(id, key, frame, now)
            }
            // The next request waits until this one is done.
            (Task::Read(_) | Task::Delete(_) | Task::List(_), frame) => Handled::Later(frame),
            (Task::Write(upload), Frame::Data(_, bytes)) => {
                match upload_frame(upload, &bytes) {
                    Ok(None) => {}
                    Ok(Some(reply)) => self.become_idle(id, Some(reply)),
                    Err(failure) => self.become_idle(id, Some(failure.reply())),
                }
                Handled::Taken
            }
            (Task::Dial(dial), Frame::Data(stream, bytes)) => {
                if !dial.has_room() {
                    return Handled::Later(Frame::Data(stream, bytes));
                }
                dial.feed(bytes);
                Handled::Taken
            }
            (Task::Write(_) | Task::Dial(_), Frame::Message(_)) | (Task::Watch(_), _) => Handled::Broken,
        }
    }

    fn serve_request(&mut self, id: u64, frame: Frame, now: Instant) -> Handled {
        let Some(connection) = self.connections.get_mut(&id) else { return Handled::Broken };
        if !connection.out.has_room_for_an_answer() {
            return Handled::Later(frame);
        }
        let Ok(request) = frame.message::<Request>() else { return Handled::Broken };
        let answer = self.admit(&request).and_then(|()| self.perform(id, request, now));
        let Some(connection) = self.connections.get_mut(&id) else { return Handled::Broken };
        connection.drop_unexpected_descriptors();
        match answer {
            Ok(Some(reply)) => connection.out.reply(&reply),
            Ok(None) => {}
            Err(failure) => connection.out.reply(&failure.reply()),
        }
        Handled::Taken
    }

    /// Whether a request makes sense now.
    fn admit(&self, request: &Request) -> Result<(), Failure> {
        request.validate().map_err(|invalid| Failure::new(FailureCode::Invalid, invalid.to_string()))?;
        let early =
            matches!(request, Request::Bind { .. } | Request::Ping | Request::Execs { .. } | Request::Shutdown { .. });
        if self.binding.is_none() && !early {
            return Err(Failure::new(FailureCode::OutOfTurn, "the environment is not bound"));
        }
        let starts = matches!(request, Request::Bind { .. } | Request::Exec(_));
        if self.ending.is_some() && starts {
            return Err(Failure::new(FailureCode::Ending, "everything is being ended"));
        }
        Ok(())
    }

    /// Does a request, or starts its task; `None` where the answer comes later or not at all.
    fn perform(&mut self, id: u64, request: Request, now: Instant) -> Result<Option<Reply>, Failure> {
        let done = Ok(Some(Reply::Done));
        match request {
            Request::Bind { environment, generation, deadline_boot_ms, env } => {
                self.bind(environment, deadline_boot_ms, Binding { generation, env })?;
                done
            }
            Request::Deadline { deadline_boot_ms } => {
                self.deadline_set(deadline_boot_ms)?;
                done
            }
            Request::Exec(exec) => self.exec_start(id, exec, now).map(|()| None),
            Request::Attach { exec_id } => self.exec_attach(id, &exec_id),
            // What was attached has just ended: these crossed with its end.
            Request::Resize { .. } | Request::SignalAttached { .. } => Ok(None),
            Request::Detach => done,
            Request::Signal { exec_id, signal } => {
                self.exec_signal(&exec_id, signal)?;
                done
            }
            Request::Execs { after } => self.exec_list(after.as_deref()).map(Some),
            Request::Forget { exec_id } => {
                self.exec_forget(&exec_id)?;
                done
            }
            Request::Processes => Ok(Some(process::list())),
            Request::Stat { path } => self.tenant.run(|| path::stat(&path)).map(|stat| Some(Reply::Stat { stat })),
            Request::MakeDir { path } => self.tenant.run(|| path::make_directories(&path)).map(|_| Some(Reply::Done)),
            Request::Rename { from, to } => self.tenant.run(|| path::rename(&from, &to)).map(|()| Some(Reply::Done)),
            Request::Shutdown { grace_ms } => {
                self.end_begin(std::time::Duration::from_millis(grace_ms), now);
                done
            }
            Request::Ping => done,
            Request::FileRead { path, offset, length } => {
                let (read, reply) = self.tenant.run(|| FileRead::begin(path, offset, length))?;
                self.set_task(id, Task::Read(read));
                Ok(Some(reply))
            }
            Request::FileWrite { path, mode } => {
                let upload = Upload::begin(path, mode, &self.tenant)?;
                self.set_task(id, Task::Write(upload));
                Ok(None)
            }
            Request::FileDelete { path, recursive } => match self.tenant.run(|| delete::begin(path, recursive))? {
                Some(delete) => {
                    self.set_task(id, Task::Delete(delete));
                    Ok(None)
                }
                None => done,
            },
            Request::List { path } => {
                let list = self.tenant.run(|| List::begin(path))?;
                self.set_task(id, Task::List(list));
                Ok(None)
            }
            Request::Watch { path, recursive } => {
                let watch = Watch::begin(&self.poller, Token::Aside(id), path, recursive, &self.tenant)?;
                self.set_task(id, Task::Watch(watch));
                Ok(None)
            }
            Request::Dial { port } => {
                let dial = Dial::begin(&self.poller, Token::Aside(id), port, now)?;
                self.set_task(id, Task::Dial(dial));
                Ok(None)
            }
        }
    }

    /// A frame while the connection is attached to an exec.
    fn serve_attached(&mut self, id: u64, key: u64, frame: Frame, now: Instant) -> Handled {
        let Some(exec) = self.execs.get_mut(&key) else { return Handled::Broken };
        let frame = match frame {
            Frame::Data(_, bytes) if exec.input.has_room() => {
                exec.input.feed(bytes);
                return Handled::Taken;
            }
            frame @ Frame::Data(..) => return Handled::Later(frame),
            frame @ Frame::Message(_) => frame,
        };
        let Ok(request) = frame.message::<Request>() else { return Handled::Broken };
        if request.validate().is_err() {
            return Handled::Broken;
        }
        match request {
            Request::Resize { size } => exec.resize(size),
            Request::SignalAttached { signal } => self.exec_kill(key, signal),
            Request::Detach => {
                self.exec_detach(key, id);
                self.become_idle(id, Some(Reply::Done));
            }
            _ => return Handled::Broken,
        }
        self.exec_turn(key, now);
        Handled::Taken
    }

    /// Frees a connection for its next request.
    pub fn become_idle(&mut self, id: u64, reply: Option<Reply>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if let Some(reply) = reply {
            connection.out.reply(&reply);
        }
        self.set_task(id, Task::Idle);
    }

    /// Gives a connection something to do.
    pub fn set_task(&mut self, id: u64, task: Task) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.phase = Phase::Serving(Box::new(task));
            self.ready_connections.insert(id);
        }
    }
}
