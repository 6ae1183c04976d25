//! The load: what clients do while they wait for the next kill.

use crate::client::{Client, Stopped};
use crate::facts::{ApiKey, Certainty, Creating, ENDLESS, End, Exec, Outcome, Program, Soon};
use crate::http::{Answer, Request};
use serde_json::json;
use std::time::Duration;

/// How long a client waits that was refused because the host fails.
const TROUBLED_PAUSE: Duration = Duration::from_millis(2);
/// The idle limit of a session that nobody visits: short, so that it would pass in nearly every round.
const IDLE_SOON_MS: u64 = 1000;
/// Sessions of one client that live at a time.
const SESSIONS_MAX: usize = 3;
/// Sessions that a client has before it is left to the kills.
const SESSIONS_SETTLED: usize = 2;
/// Programs in one session's life, of which the ledger has to be read again and again.
const EXECS_MAX: usize = 24;
/// Programs that count in one session.
const COUNTING_MAX: usize = 2;
const FILES: [&str; 4] = ["a", "b", "c", "d"];
const PORTS: [u16; 3] = [3000, 8000, 8080];
const KEYS_MAX: usize = 4;

impl Client {
    /// Works until the server is gone or the round over.
    pub fn work(&mut self) {
        while !self.is_over() {
            if self.step().is_err() {
                if !self.in_trouble() {
                    break;
                }
                std::thread::sleep(TROUBLED_PAUSE);
            }
        }
    }

    /// Makes sessions while nobody kills, so that the next kills find more than beginnings.
    pub fn settle_in(&mut self) {
        while self.living().len() < SESSIONS_SETTLED && !self.is_over() {
            if self.create().is_err() {
                return self.lost("the server went away while nobody killed it");
            }
        }
    }

    fn step(&mut self) -> Result<(), Stopped> {
        let (alone, living): (Vec<_>, Vec<_>) =
            self.living().into_iter().partition(|index| self.sessions[*index].soon == Some(Soon::Idle));
        if alone.is_empty() {
            return self.leave_alone();
        }
        let chance = self.random.below(100);
        // Those whose creation was not answered may live as well: known after the next kill.
        let room = living.len() + self.creating.len() < SESSIONS_MAX;
        if room && (living.is_empty() || chance < 12) {
            return self.create();
        }
        if chance < 15 || living.is_empty() {
            return self.key();
        }
        if chance < 18 {
            return self.repeat();
        }
        if chance < 20 {
            return self.undelete();
        }
        let index = self.random.pick(&living);
        if self.sessions[index].may_be("paused") && self.random.percent(60) {
            return self.resume(index);
        }
        match chance {
            0..34 => self.exec(index, true),
            34..42 => self.exec(index, false),
            42..49 => self.feed(index),
            49..53 => self.terminal(index),
            53..65 => self.lease(index),
            65..77 => self.write(index),
            77..82 => self.read(index),
            82..86 => self.preview(index),
            86..89 => self.extend(index),
            89..93 => self.pause(index),
            93..97 => self.terminate(index),
            _ => self.delete(index),
        }
    }

    fn create(&mut self) -> Result<(), Stopped> {
        let soon = self.random.percent(15).then_some(Soon::Lifetime);
        let creating = self.creating(soon);
        self.create_as(creating)
    }

    /// A session with a short idle limit and a program that goes on: nobody comes by any more, and it is not idle.
    fn leave_alone(&mut self) -> Result<(), Stopped> {
        let creating = self.creating(Some(Soon::Idle));
        self.create_as(creating)?;
        match self.sessions.iter().rposition(|session| session.soon == Some(Soon::Idle) && session.lives()) {
            Some(index) => self.exec_of(index, Program::Counts(ENDLESS)),
            None => Ok(()),
        }
    }

    fn create_as(&mut self, creating: Creating) -> Result<(), Stopped> {
        self.creating.push(creating.clone());
        let answer = self.ask(&creating.request())?;
        self.creating.pop();
        self.created(&creating, &answer);
        Ok(())
    }

    /// What is asked for.
    fn creating(&mut self, soon: Option<Soon>) -> Creating {
        let tag = self.word("session");
        let key = self.random.percent(50).then(|| format!("create-{tag}"));
        let short_lived = soon == Some(Soon::Lifetime);
        let lifetime_ms = if short_lived { 500 + self.random.below(3000) } else { 3_600_000 };
        let idle_timeout_ms = if soon == Some(Soon::Idle) { IDLE_SOON_MS } else { 3 * 3_600_000 };
        let limits =
            json!({ "max_lifetime_ms": lifetime_ms, "idle_timeout_ms": idle_timeout_ms, "memory_bytes": 67_108_864 });
        let mut body = json!({ "metadata": { "tag": tag }, "limits": limits });
        if soon != Some(Soon::Idle) && self.random.percent(30) {
            body["lease"] = self.terms();
        }
        Creating { tag, key, body, soon }
    }

    /// Takes the answer of a create.
    pub(crate) fn created(&mut self, creating: &Creating, answer: &Answer) {
        let body = answer.json();
        match answer.status {
            201 => {
                self.acknowledged("create");
                self.take_up(creating, &body, Certainty::Yes);
            }
            // It stays, failed: looked for by its tag.
            503 if answer.code() == "INIT_FAILED" && (self.keeper_dies() || self.agents_die()) => {
                self.creating.push(creating.clone());
            }
            // Its time was over before it was ready.
            410 if creating.soon.is_some() => self.creating.push(creating.clone()),
            _ => self.lost(format!("create: {}", answer.told())),
        }
    }

    pub(crate) fn exec(&mut self, index: usize, foreground: bool) -> Result<(), Stopped> {
        let session = &self.sessions[index];
        if session.execs.len() >= EXECS_MAX || !foreground && session.counting() >= COUNTING_MAX {
            return self.terminate(index);
        }
        let program = match foreground {
            true => Program::Exits(self.random.below(8) as i64),
            false if self.random.percent(55) => Program::Repeats,
            false => Program::Counts(self.random.pick(&[5, 20, 60, ENDLESS])),
        };
        self.exec_of(index, program)
    }

    fn exec_of(&mut self, index: usize, program: Program) -> Result<(), Stopped> {
        let tag = self.word("exec");
        let key = self.random.percent(40).then(|| format!("run-{tag}"));
        self.sessions[index].execs.push(Exec::new(tag, key, program));
        let at = self.sessions[index].execs.len() - 1;
        self.exec_ask(index, at)
    }

    /// Asks for a program, for the first time or again.
    pub(crate) fn exec_ask(&mut self, index: usize, at: usize) -> Result<(), Stopped> {
        let session = &mut self.sessions[index];
        let exec = &session.execs[at];
        let path = format!("/v1/sessions/{}/exec", session.id);
        let request = Request { key: exec.key.clone(), ..Request::json("POST", path, &exec.body()) };
        session.states.insert("running".to_owned());
        let answer = self.ask(&request)?;
        self.sessions[index].execs[at].again = false;
        match answer.status {
            200 | 202 => self.exec_answered(index, at, &answer),
            _ => self.refused(index, "exec", &answer),
        }
        Ok(())
    }

    fn exec_answered(&mut self, index: usize, at: usize, answer: &Answer) {
        let body = answer.json();
        let repeated = self.sessions[index].execs[at].asked == Certainty::Yes;
        let exec = &mut self.sessions[index].execs[at];
        let told = body["exec_id"].as_str().map(str::to_owned);
        let same = exec.id.is_none() || exec.id == told;
        exec.asked = Certainty::Yes;
        exec.id = told;
        let exec = exec.clone();
        if !repeated {
            self.acknowledged(match exec.program {
                Program::Exits(_) => "exec",
                Program::Counts(_) | Program::Repeats => "background exec",
            });
            self.sessions[index].states.retain(|state| state == "running" || state == "paused");
        }
        self.check(same, || format!("exec {} again has another ID: {}", exec.tag, answer.told()));
        if let Program::Exits(code) = exec.program {
            // One that was asked for before a kill may never have begun; and a session that ended since took its programs with it.
            let session = &self.sessions[index];
            let over = session.end.is_some() || session.soon.is_some() || !session.reasons.is_empty();
            let never = match body["state"].as_str() {
                Some("failed") => exec.key.is_some(),
                Some("unknown" | "killed") => exec.key.is_some() && over,
                _ => false,
            };
            let (printed, kept) = (format!("{}\n", exec.tag), body["stdout"].as_str().unwrap_or_default());
            let cut = self.may_be_cut(index) && body["dropped_bytes"].as_u64() > Some(0) && printed.starts_with(kept);
            let good = body["state"] == "exited" && body["exit_code"] == code && (kept == printed || cut);
            self.check(good || never || self.agents_die(), || format!("exec {} ({code}): {}", exec.tag, answer.told()));
        }
        if body["state"] != "started" && body["state"] != "intended" {
            self.exec_ended(index, at, Outcome::of(&body));
        }
    }

    /// Compares how a program ended with what is known, and remembers it.
    pub(crate) fn exec_ended(&mut self, index: usize, at: usize, outcome: Outcome) {
        let exec = &mut self.sessions[index].execs[at];
        let known = exec.outcome.get_or_insert_with(|| outcome.clone()).clone();
        let tag = exec.tag.clone();
        self.check(known == outcome, || format!("exec {tag} ended as {outcome:?}; acknowledged was {known:?}"));
    }

    fn write(&mut self, index: usize) -> Result<(), Stopped> {
        let name = self.random.pick(&FILES).to_owned();
        let path = format!("/v1/sessions/{}/files?path=/workspace/{name}", self.sessions[index].id);
        let delete = self.random.percent(15);
        let content = (!delete).then(|| self.content());
        let file = self.sessions[index].files.entry(name.clone()).or_insert_with(|| vec![None]);
        file.push(content.clone());
        let request = match &content {
            Some(bytes) => Request { body: bytes.clone(), ..Request::new("PUT", path) },
            None => Request::new("DELETE", path),
        };
        let answer = self.ask(&request)?;
        let file = self.sessions[index].files.entry(name.clone()).or_default();
        match (answer.status, content) {
            (204, content) => {
                *file = vec![content];
                self.acknowledged("file write");
            }
            (404, None) if answer.code() == "FILE_NOT_FOUND" => {
                let may_be_absent = file[..file.len() - 1].contains(&None);
                *file = vec![None];
                let id = self.sessions[index].id.clone();
                self.check(may_be_absent, || format!("file {name} in {id} is not there"));
            }
            (_, _) => {
                file.pop();
                self.refused(index, "file write", &answer);
            }
        }
        Ok(())
    }

    fn content(&mut self) -> Vec<u8> {
        let size = self.random.pick(&[0, 1, 100, 5000, 70_000]);
        let first = self.random.number() as u8;
        // Not what JSON begins with.
        (0..size).map(|at: usize| first.wrapping_add((at / 7) as u8) | 0x80).collect()
    }

    fn read(&mut self, index: usize) -> Result<(), Stopped> {
        let name = self.random.pick(&FILES);
        self.file_check(index, name)
    }

    /// Reads a file, and compares.
    pub(crate) fn file_check(&mut self, index: usize, name: &str) -> Result<(), Stopped> {
        let id = self.sessions[index].id.clone();
        let answer = self.ask(&Request::new("GET", format!("/v1/sessions/{id}/files?path=/workspace/{name}")))?;
        let found = match (answer.status, answer.code().as_str()) {
            (200, _) => Some(answer.body),
            (404, "FILE_NOT_FOUND") => None,
            _ => {
                self.refused(index, "file read", &answer);
                return Ok(());
            }
        };
        let possible = self.sessions[index].files.entry(name.to_owned()).or_insert_with(|| vec![None]);
        let is_one = possible.contains(&found);
        let told = |content: &Option<Vec<u8>>| content.as_ref().map(|bytes| (bytes.len(), bytes.first().copied()));
        let wanted: Vec<_> = possible.iter().map(told).collect();
        *possible = vec![found.clone()];
        self.check(is_one, || format!("file {name} in {id} is {:?}, not one of {wanted:?}", told(&found)));
        Ok(())
    }

    fn preview(&mut self, index: usize) -> Result<(), Stopped> {
        let port = self.random.pick(&PORTS);
        let session = &mut self.sessions[index];
        let remove = session.previews.get(&port) == Some(&Certainty::Yes);
        session.previews.insert(port, Certainty::Perhaps);
        let path = format!("/v1/sessions/{}/previews", session.id);
        let answer = match remove {
            true => self.ask(&Request::new("DELETE", format!("{path}/{port}")))?,
            false => self.ask(&Request::json("POST", path, &json!({ "port": port })))?,
        };
        match answer.status {
            200 | 201 | 204 => {
                let now = if remove { Certainty::No } else { Certainty::Yes };
                self.sessions[index].previews.insert(port, now);
                self.acknowledged("preview");
            }
            _ => self.refused(index, "preview", &answer),
        }
        Ok(())
    }

    fn pause(&mut self, index: usize) -> Result<(), Stopped> {
        self.sessions[index].states.insert("paused".to_owned());
        self.moved(index, "pause", &["paused"])
    }

    fn resume(&mut self, index: usize) -> Result<(), Stopped> {
        let ran = self.sessions[index].execs.iter().any(|exec| exec.asked == Certainty::Yes);
        let wanted: &[&str] = if ran { &["running"] } else { &["ready", "running"] };
        self.sessions[index].states.extend(wanted.iter().map(|state| (*state).to_owned()));
        self.moved(index, "resume", wanted)
    }

    fn moved(&mut self, index: usize, what: &'static str, wanted: &[&str]) -> Result<(), Stopped> {
        let id = self.sessions[index].id.clone();
        let answer = self.ask(&Request::new("POST", format!("/v1/sessions/{id}/{what}")))?;
        if answer.status != 200 {
            self.refused(index, what, &answer);
            return Ok(());
        }
        let body = answer.json();
        let state = body["state"].as_str().unwrap_or_default();
        self.sessions[index].is(state);
        self.acknowledged(what);
        self.check(wanted.contains(&state), || format!("{what} of {id} led to {}", answer.told()));
        Ok(())
    }

    pub(crate) fn terminate(&mut self, index: usize) -> Result<(), Stopped> {
        let session = &mut self.sessions[index];
        let reason = self.random.pick(&["user_request", "completed", "admin_request"]);
        session.reasons.insert(reason);
        let path = format!("/v1/sessions/{}/terminate", session.id);
        let answer = self.ask(&Request::json("POST", path, &json!({ "reason": reason })))?;
        match (answer.status, End::of(&answer.json())) {
            (200, Some(end)) => {
                self.ended(index, end);
                self.acknowledged(if self.in_trouble() { "terminate while the host failed" } else { "terminate" });
            }
            _ => self.refused(index, "terminate", &answer),
        }
        Ok(())
    }

    fn delete(&mut self, index: usize) -> Result<(), Stopped> {
        let session = &mut self.sessions[index];
        session.reasons.insert("deleted");
        session.deleted = Certainty::Perhaps;
        let path = format!("/v1/sessions/{}", session.id);
        let answer = self.ask(&Request::new("DELETE", path))?;
        match (answer.status, End::of(&answer.json())) {
            (200, Some(end)) => {
                self.sessions[index].deleted = Certainty::Yes;
                self.ended(index, end);
                self.acknowledged("delete");
            }
            _ => self.refused(index, "delete", &answer),
        }
        Ok(())
    }

    fn key(&mut self) -> Result<(), Stopped> {
        let valid = |key: &&mut ApiKey| key.revoked == Certainty::No;
        if self.keys.len() < KEYS_MAX {
            let label = self.word("key");
            let body = json!({ "role": "user", "user": self.name, "label": label });
            let answer = self.ask(&Request::json("POST", "/v1/keys", &body))?;
            let body = answer.json();
            match (answer.status, body["id"].as_str(), body["secret"].as_str()) {
                (201, Some(id), Some(secret)) => {
                    let key = ApiKey { id: id.to_owned(), secret: secret.to_owned(), revoked: Certainty::No };
                    self.keys.push(key);
                    self.acknowledged("key create");
                }
                _ => self.lost(format!("key create: {}", answer.told())),
            }
        } else if let Some(key) = self.keys.iter_mut().find(valid) {
            key.revoked = Certainty::Perhaps;
            let id = key.id.clone();
            let answer = self.ask(&Request::new("DELETE", format!("/v1/keys/{id}")))?;
            if answer.status == 200 {
                self.keys.iter_mut().filter(|key| key.id == id).for_each(|key| key.revoked = Certainty::Yes);
                self.acknowledged("key revoke");
            } else {
                self.lost(format!("key revoke: {}", answer.told()));
            }
        }
        Ok(())
    }

    fn undelete(&mut self) -> Result<(), Stopped> {
        let deleted = |index: &usize| self.sessions[*index].deleted == Certainty::Yes;
        let deleted: Vec<usize> = (0..self.sessions.len()).filter(deleted).collect();
        if deleted.is_empty() {
            return Ok(());
        }
        let index = self.random.pick(&deleted);
        let session = &mut self.sessions[index];
        (session.deleted, session.looks) = (Certainty::Perhaps, 0);
        let id = session.id.clone();
        let answer = self.ask(&Request::new("POST", format!("/v1/sessions/{id}/undelete")))?;
        let good = answer.status == 200 && answer.json()["deleted_at"].is_null();
        self.check(good, || format!("undelete of {id}: {}", answer.told()));
        self.sessions[index].deleted = Certainty::No;
        self.acknowledged("undelete");
        Ok(())
    }

    /// More time, which moves the end once.
    fn extend(&mut self, index: usize) -> Result<(), Stopped> {
        let session = &mut self.sessions[index];
        if session.soon.is_some() {
            return Ok(());
        }
        let known = session.expires_at.clone();
        if let Some((_, certainty)) = &mut session.expires_at {
            *certainty = Certainty::Perhaps;
        }
        let path = format!("/v1/sessions/{}/extend", session.id);
        let answer = self.ask(&Request::json("POST", path, &json!({ "by_ms": 60_000 })))?;
        if answer.status != 200 {
            self.sessions[index].expires_at = known;
            self.refused(index, "extend", &answer);
            return Ok(());
        }
        self.acknowledged("extend");
        self.sessions[index].expires_at = None;
        let later = answer.json()["expires_at"].as_str().map(str::to_owned);
        if !self.sessions[index].may_be_held() {
            let grew = known.as_ref().zip(later.as_ref()).is_none_or(|((known, _), later)| later > known);
            self.check(grew, || format!("extend moved {known:?} to {later:?}"));
            self.sessions[index].expires_at = later.map(|at| (at, Certainty::Yes));
        }
        Ok(())
    }

    /// An acknowledged request comes again: a create under its key, or an end.
    fn repeat(&mut self) -> Result<(), Stopped> {
        let index = self.random.below(self.sessions.len().max(1) as u64) as usize;
        let Some(session) = self.sessions.get(index) else { return Ok(()) };
        if let Some((key, body)) = session.asked.clone() {
            let id = session.id.clone();
            let request = Request { key: Some(key), ..Request::json("POST", "/v1/sessions", &body) };
            let answer = self.ask(&request)?;
            let same = answer.json()["id"] == *id || answer.json()["session_id"] == *id;
            self.check(same, || format!("create of {id} again: {}", answer.told()));
        } else if session.end.is_some() && session.deleted == Certainty::No {
            return self.terminate(index);
        }
        Ok(())
    }
}

impl Creating {
    /// As it is asked for, every time.
    pub(crate) fn request(&self) -> Request {
        Request { key: self.key.clone(), ..Request::json("POST", "/v1/sessions", &self.body) }
    }
}

impl Outcome {
    /// What an exec says of its end.
    pub(crate) fn of(body: &serde_json::Value) -> Outcome {
        Outcome {
            state: body["state"].as_str().unwrap_or_default().to_owned(),
            exit_code: body["exit_code"].as_i64(),
            ended_at: body["ended_at"].as_str().map(str::to_owned),
        }
    }
}
