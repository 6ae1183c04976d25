//! After a start: is everything there that was acknowledged, and nothing that never was?

use crate::client::{Client, Stopped};
use crate::facts::{Certainty, Creating, End, Exec, Outcome, Program, Soon};
use crate::http::Request;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long an environment may be taken over, or be on its way out.
const SETTLED_WITHIN: Duration = Duration::from_secs(15);
/// How long a program that runs may be written down as one that is about to.
const STARTED_WITHIN: Duration = Duration::from_secs(3);
/// How soon a session ends whose agent has ended its programs for its lifetime.
const SHORT_LIFE_ENDS_WITHIN: Duration = Duration::from_secs(1);
/// How often an ended session is looked at in full; at the very end each is once more.
const LOOKS: u32 = 2;

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Whether sessions live as they should, and what became of what broke off.
    Light,
    /// Also what is in them.
    Deep,
    /// Also those that ended long ago.
    Everything,
}

impl Client {
    /// Compares what is there with what is known. Nobody kills meanwhile.
    pub fn check_all(&mut self, depth: Depth) {
        if self.check_everything(depth).is_err() {
            self.lost("the server went away while it was looked at");
        }
    }

    fn check_everything(&mut self, depth: Depth) -> Result<(), Stopped> {
        for creating in std::mem::take(&mut self.creating) {
            self.creating_check(&creating)?;
        }
        for index in 0..self.sessions.len() {
            if self.sessions[index].looks < LOOKS || depth == Depth::Everything {
                self.session_check(index, depth)?;
            }
        }
        if depth != Depth::Light {
            self.keys_check()?;
        }
        Ok(())
    }

    /// A create that broke off made one session or none; under its key it is answered again, always with the same one.
    fn creating_check(&mut self, creating: &Creating) -> Result<(), Stopped> {
        let mut told = None;
        if creating.key.is_some() {
            let answer = self.ask(&creating.request())?;
            let body = answer.json();
            told = [&body["id"], &body["session_id"]].into_iter().find_map(Value::as_str).map(str::to_owned);
            self.check(told.is_some(), || format!("create {} again: {}", creating.tag, answer.told()));
        }
        let path = format!("/v1/sessions?include_deleted=true&metadata=tag:{}", creating.tag);
        let answer = self.ask(&Request::new("GET", path))?;
        let body = answer.json();
        let made = body["items"].as_array().cloned().unwrap_or_default();
        let ids: Vec<&str> = made.iter().filter_map(|session| session["id"].as_str()).collect();
        let good = match &told {
            Some(id) => ids == [id],
            None => ids.len() <= 1 && answer.status == 200,
        };
        self.check(good, || format!("create {} made {ids:?}, and told of {told:?}: {}", creating.tag, answer.told()));
        if let Some(session) = made.first() {
            self.take_up(creating, session, Certainty::Perhaps);
        }
        Ok(())
    }

    fn session_check(&mut self, index: usize, depth: Depth) -> Result<(), Stopped> {
        let body = self.session_settled(index)?;
        self.deleted_check(index, &body)?;
        self.lease_settle(index)?;
        if self.sessions[index].end.is_some() {
            self.sessions[index].looks += u32::from(depth != Depth::Light);
        }
        if depth != Depth::Light {
            let lives = self.sessions[index].lives() && !self.sessions[index].may_be("paused");
            self.execs_repeat(index)?;
            self.execs_check(index, lives)?;
            self.short_life_check(index)?;
            if lives && self.sessions[index].lives() {
                self.inside_check(index)?;
            }
            self.token_check(index)?;
            self.audit_check(index)?;
        }
        Ok(())
    }

    /// Where programs were killed that outlived the last look at their session, its short life was about to end: it has to, then.
    fn short_life_check(&mut self, index: usize) -> Result<(), Stopped> {
        let session = &self.sessions[index];
        let killed = |exec: &Exec| exec.outcome.as_ref().is_some_and(|outcome| outcome.state == "killed");
        let excused = session.end.is_some() || session.reasons.contains("killed");
        if session.soon != Some(Soon::Lifetime) || excused || !session.execs.iter().any(killed) {
            return Ok(());
        }
        let id = session.id.clone();
        let until = Instant::now() + SHORT_LIFE_ENDS_WITHIN;
        while self.sessions[index].end.is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
            self.session_settled(index)?;
        }
        let has_ended = self.sessions[index].end.is_some();
        self.check(has_ended, || format!("{id} lives on, and programs in it were killed"));
        Ok(())
    }

    /// Waits until a session is not being taken over, and compares where it is in its life.
    fn session_settled(&mut self, index: usize) -> Result<Value, Stopped> {
        let id = self.sessions[index].id.clone();
        let until = Instant::now() + SETTLED_WITHIN;
        loop {
            let answer = self.ask(&Request::new("GET", format!("/v1/sessions/{id}?include_deleted=true")))?;
            let body = answer.json();
            if answer.status != 200 {
                self.lost(format!("{id} is not there: {}", answer.told()));
                return Ok(body);
            }
            let on_its_way = matches!(body["state"].as_str(), Some("created" | "initializing"));
            if (on_its_way || body["environment"]["state"] == "recovering") && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            self.life_check(index, &body);
            return Ok(body);
        }
    }

    fn life_check(&mut self, index: usize, body: &Value) {
        let session = &self.sessions[index];
        let (id, known) = (session.id.clone(), session.end.clone());
        if let Some(end) = body["terminated_at"].is_string().then(|| End::of(body)).flatten() {
            return self.ended(index, end);
        }
        self.check(known.is_none(), || format!("{id} lives again; it ended as {known:?}"));
        let state = body["state"].as_str().unwrap_or_default().to_owned();
        let possible = self.sessions[index].states.clone();
        self.check(possible.contains(&state), || format!("{id} is {state}, none of {possible:?}"));
        self.lease_check(index, body);
        let environment = body["environment"]["state"].as_str().unwrap_or_default();
        let wanted = if state == "paused" { "frozen" } else { "ready" };
        self.check(environment == wanted, || format!("{id} is {state}, and its environment {environment}"));
        self.sessions[index].is(&state);
    }

    fn deleted_check(&mut self, index: usize, body: &Value) -> Result<(), Stopped> {
        let session = &mut self.sessions[index];
        let (id, known) = (session.id.clone(), session.deleted);
        let deleted = body["deleted_at"].is_string();
        session.deleted = if deleted { Certainty::Yes } else { Certainty::No };
        let good = known == Certainty::Perhaps || deleted == (known == Certainty::Yes);
        self.check(good, || format!("{id} is deleted: {deleted}; known is {known:?}"));
        if deleted {
            let answer = self.ask(&Request::new("GET", format!("/v1/sessions/{id}")))?;
            let good = answer.status == 404 && answer.json()["reason"] == "deleted";
            self.check(good, || format!("{id} is deleted: {}", answer.told()));
        }
        Ok(())
    }

    /// What broke off is asked for again under its key: it is run once, however often it is asked for.
    fn execs_repeat(&mut self, index: usize) -> Result<(), Stopped> {
        for at in 0..self.sessions[index].execs.len() {
            if self.sessions[index].execs[at].again {
                self.exec_ask(index, at)?;
            }
        }
        Ok(())
    }

    fn execs_check(&mut self, index: usize, lives: bool) -> Result<(), Stopped> {
        let id = self.sessions[index].id.clone();
        let mut rows: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let (terminals, others): (Vec<Value>, _) =
            self.ledger(&id, lives)?.into_iter().partition(|row| row["tag"] == "terminal");
        self.terminals_check(index, &terminals, lives);
        for row in others {
            rows.entry(row["tag"].as_str().unwrap_or_default().to_owned()).or_default().push(row);
        }
        for at in 0..self.sessions[index].execs.len() {
            let tag = self.sessions[index].execs[at].tag.clone();
            let found = rows.remove(&tag).unwrap_or_default();
            self.check(found.len() <= 1, || format!("{tag} is {} times in the ledger of {id}", found.len()));
            match found.first() {
                Some(row) => self.exec_check(index, at, row, lives),
                None => {
                    let asked = self.sessions[index].execs[at].asked;
                    self.check(asked != Certainty::Yes, || format!("{tag} is not in the ledger of {id}"));
                }
            }
        }
        self.check(rows.is_empty(), || format!("in the ledger of {id} is what nobody asked for: {rows:?}"));
        Ok(())
    }

    /// The ledger of a session. That a program runs is written down a moment after it was found to run.
    fn ledger(&mut self, id: &str, lives: bool) -> Result<Vec<Value>, Stopped> {
        let until = Instant::now() + STARTED_WITHIN;
        loop {
            let rows = self.pages(&format!("/v1/sessions/{id}/execs?include_deleted=true&limit=100"))?;
            if !lives || Instant::now() > until || rows.iter().all(|row| row["state"] != "intended") {
                return Ok(rows);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Everything that is listed there.
    fn pages(&mut self, path: &str) -> Result<Vec<Value>, Stopped> {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let answer = self.ask(&Request::new("GET", format!("{path}{cursor}")))?;
            let body = answer.json();
            self.check(answer.status == 200, || format!("{path}: {}", answer.told()));
            all.extend(body["items"].as_array().cloned().unwrap_or_default());
            match body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(all),
            }
        }
    }

    fn exec_check(&mut self, index: usize, at: usize, row: &Value, lives: bool) {
        let agents = self.sessions[index].reasons.contains("killed");
        let ended = self.sessions[index].may_be_over();
        let exec = &mut self.sessions[index].execs[at];
        let told = row["exec_id"].as_str().map(str::to_owned);
        let same = exec.id.is_none() || exec.id == told;
        exec.id = told;
        let (exec, outcome) = (exec.clone(), Outcome::of(row));
        let what = |wrong: &str| format!("{} {wrong}: {row}; known is {exec:?}", exec.tag);
        self.check(same, || what("has another ID"));
        let good = match outcome.state.as_str() {
            "exited" if exec.program == Program::Repeats => exec.closed != Certainty::No || ended || agents,
            "exited" => outcome.exit_code == Some(exec.code()) || ended,
            "failed" => outcome.exit_code.is_none() && (exec.asked != Certainty::Yes || exec.outcome.is_some()),
            "killed" | "unknown" => outcome.exit_code.is_none() && (ended || agents),
            "started" => exec.outcome.is_none(),
            "intended" => exec.outcome.is_none() && !lives,
            _ => false,
        };
        self.check(good, || what("is not as it can be"));
        if !matches!(outcome.state.as_str(), "started" | "intended") {
            self.exec_ended(index, at, outcome);
        }
    }

    /// What a living session holds: files, what ran, what was printed, ports.
    fn inside_check(&mut self, index: usize) -> Result<(), Stopped> {
        for name in self.sessions[index].files.keys().cloned().collect::<Vec<_>>() {
            self.file_check(index, &name)?;
        }
        self.done_check(index)?;
        for at in 0..self.sessions[index].execs.len() {
            match self.sessions[index].execs[at].program {
                Program::Exits(_) => {}
                Program::Counts(_) => self.lines_check(index, at)?,
                Program::Repeats => self.fed_check(index, at)?,
            }
        }
        if self.sessions[index].terminal.is_some() {
            self.terminal_look(index)?;
        }
        self.previews_check(index)
    }

    /// Each program says itself that it ran: once where the ledger knows of its end, never where the ledger says that it did not begin.
    fn done_check(&mut self, index: usize) -> Result<(), Stopped> {
        let id = self.sessions[index].id.clone();
        let answer = self.ask(&Request::new("GET", format!("/v1/sessions/{id}/files?path=/workspace/done")))?;
        match (answer.status, answer.code().as_str()) {
            (200, _) | (404, "FILE_NOT_FOUND") => {}
            _ => {
                self.refused(index, "file read", &answer);
                return Ok(());
            }
        }
        let text =
            if answer.status == 200 { String::from_utf8_lossy(&answer.body).into_owned() } else { String::new() };
        let mut ran: BTreeMap<&str, usize> = BTreeMap::new();
        text.lines().for_each(|tag| *ran.entry(tag).or_default() += 1);
        for exec in self.sessions[index].execs.clone() {
            let times = ran.get(exec.tag.as_str()).copied().unwrap_or(0);
            let good = match exec.outcome.as_ref().map(|outcome| outcome.state.as_str()) {
                Some("exited") => times == 1,
                Some("failed") => times == 0,
                _ => times <= 1,
            };
            self.check(good, || format!("in {id} {} ran {times} times: {exec:?}", exec.tag));
        }
        Ok(())
    }

    /// A program that counts printed every number once, and no fewer than were seen before.
    fn lines_check(&mut self, index: usize, at: usize) -> Result<(), Stopped> {
        let (session, exec) = (self.sessions[index].id.clone(), self.sessions[index].execs[at].clone());
        let Some(id) = &exec.id else { return Ok(()) };
        if exec.outcome.as_ref().is_some_and(|outcome| outcome.state == "failed") {
            return Ok(());
        }
        let path = format!("/v1/sessions/{session}/execs/{id}/output");
        let answer = self.ask(&Request::new("GET", path))?;
        if answer.status != 200 {
            self.refused(index, "exec output", &answer);
            return Ok(());
        }
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines: Vec<&str> = whole.lines().collect();
        let contiguous = lines.iter().zip(1_u64..).all(|(line, number)| **line == number.to_string());
        let count = lines.len() as u64;
        let whole = match (&exec.outcome, exec.program) {
            (Some(outcome), Program::Counts(to)) if outcome.state == "exited" => count == to,
            _ => count >= exec.lines,
        };
        self.sessions[index].execs[at].lines = count;
        let good = contiguous && whole || self.may_be_cut(index) && count >= exec.lines;
        self.check(good, || {
            format!(
                "the output of {} has {count} lines, {} were seen: {exec:?} {}",
                exec.tag,
                exec.lines,
                answer.told()
            )
        });
        Ok(())
    }

    fn previews_check(&mut self, index: usize) -> Result<(), Stopped> {
        let id = self.sessions[index].id.clone();
        let answer = self.ask(&Request::new("GET", format!("/v1/sessions/{id}/previews")))?;
        if answer.status != 200 {
            self.refused(index, "preview list", &answer);
            return Ok(());
        }
        let body = answer.json();
        let items = body["items"].as_array().cloned().unwrap_or_default();
        let found: BTreeSet<u16> = items.iter().filter_map(|item| item["port"].as_u64()?.try_into().ok()).collect();
        for (port, known) in self.sessions[index].previews.clone() {
            let there = found.contains(&port);
            let good = match known {
                Certainty::Yes => there,
                Certainty::No => !there,
                Certainty::Perhaps => true,
            };
            self.sessions[index].previews.insert(port, if there { Certainty::Yes } else { Certainty::No });
            self.check(good, || format!("port {port} of {id} is {there}, known is {known:?}"));
        }
        Ok(())
    }

    /// Ends are in the audit once, and every step begins where the one before it ended.
    fn audit_check(&mut self, index: usize) -> Result<(), Stopped> {
        let session = &self.sessions[index];
        let (id, known) = (session.id.clone(), session.end.clone());
        let entries = self.pages(&format!("/v1/sessions/{id}/audit?include_deleted=true&limit=200"))?;
        let ends: Vec<&Value> = entries.iter().filter(|entry| entry["action"] == "session_end").collect();
        let reasons: Vec<&str> = ends.iter().filter_map(|entry| entry["reason"].as_str()).collect();
        let wanted: Vec<&str> = known.iter().map(|end| end.reason.as_str()).collect();
        // A session may have ended since it was looked at, where its lifetime was short.
        let ended_since =
            known.is_none() && (self.sessions[index].soon.is_some() || self.sessions[index].reasons.contains("killed"));
        self.check(reasons == wanted || ended_since && reasons.len() <= 1, || {
            format!("the audit of {id} ends it {reasons:?}; known is {wanted:?}")
        });
        let mut state = Value::Null;
        let mut broken = None;
        for entry in &entries {
            if entry["old_state"] != state && entry["old_state"] != entry["new_state"] {
                broken.get_or_insert(entry.clone());
            }
            state = entry["new_state"].clone();
        }
        self.check(broken.is_none(), || format!("the audit of {id} has a step from elsewhere: {broken:?}"));
        Ok(())
    }

    fn keys_check(&mut self) -> Result<(), Stopped> {
        for key in self.keys.clone() {
            let request = Request { credential: Some(key.secret), ..Request::new("GET", "/v1/sessions?limit=1") };
            let answer = self.ask(&request)?;
            let good = match key.revoked {
                Certainty::No => answer.status == 200,
                Certainty::Yes => answer.status == 401,
                Certainty::Perhaps => matches!(answer.status, 200 | 401),
            };
            self.check(good, || format!("key {} ({:?}): {}", key.id, key.revoked, answer.told()));
        }
        self.keys.retain(|key| key.revoked == Certainty::No);
        Ok(())
    }

    /// Ends whatever lives, and waits until every environment is gone.
    pub fn finish(&mut self) {
        if self.finish_all().is_err() {
            self.lost("the server went away at the end");
        }
    }

    fn finish_all(&mut self) -> Result<(), Stopped> {
        for index in self.living() {
            self.terminate(index)?;
        }
        let until = Instant::now() + SETTLED_WITHIN;
        for index in 0..self.sessions.len() {
            let id = self.sessions[index].id.clone();
            loop {
                let answer = self.ask(&Request::new("GET", format!("/v1/sessions/{id}?include_deleted=true")))?;
                let state = answer.json()["environment"]["state"].as_str().unwrap_or_default().to_owned();
                if state == "gone" {
                    break;
                }
                if Instant::now() > until {
                    self.lost(format!("the environment of {id} is {state}, long after its end"));
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }
}
