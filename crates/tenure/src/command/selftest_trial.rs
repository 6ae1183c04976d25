//! The trial itself: what is asked for between two kills, what was answered, and whether the next server still says so.

use super::selftest::Finding;
use super::selftest_server::Server;
use crate::client::Client;
use crate::failure::{Code, Failure};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Longer than the trial: should it be killed itself, its sessions end by themselves.
const LIFETIME_MS: u64 = 120_000;
/// How long an environment may take to be taken over, or to be gone.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);
/// A line every so often.
const PRINTER: &str = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done";
const FILE: &str = "/workspace/count";

/// The promises that are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promise {
    Sessions,
    Adoption,
    Output,
    Files,
    Ends,
    Leases,
    Audit,
}

const PROMISES: [(Promise, &str); 7] = [
    (Promise::Sessions, "acknowledged sessions are there"),
    (Promise::Adoption, "environments outlive the server"),
    (Promise::Output, "output has no gap"),
    (Promise::Files, "acknowledged files are there"),
    (Promise::Ends, "ends stay as they were told"),
    (Promise::Leases, "leases and their tokens hold"),
    (Promise::Audit, "the audit is intact"),
];

/// What was acknowledged.
#[derive(Debug, Default)]
pub struct Trial {
    /// The session that works.
    works: String,
    environment: String,
    exec: String,
    lines: u64,
    /// What the file holds, and what it may hold where an answer broke off.
    file: Option<u64>,
    file_next: u64,
    /// The session with a lease.
    leased: String,
    token: u64,
    lease_until: String,
    /// Those that ended: ID, time, reason.
    ended: Vec<(String, Value, Value)>,
    checked: Vec<(Promise, u64)>,
    broken: Vec<(Promise, String)>,
}

impl Trial {
    /// Makes the sessions.
    pub async fn begin(&mut self, client: &Client) -> Result<(), Failure> {
        let made = client.post(&["sessions"], &session(json!({}))).await?;
        (self.works, self.environment) = (text(&made["id"]), text(&made["environment"]["id"]));
        let printer = json!({ "cmd": ["sh", "-c", PRINTER], "background": true });
        self.exec = text(&client.post(&["sessions", &self.works, "exec"], &printer).await?["exec_id"]);
        let lease = json!({ "lease": { "ttl_ms": LIFETIME_MS, "heartbeat_interval_ms": 10 } });
        let made = client.post(&["sessions"], &session(lease)).await?;
        self.leased = text(&made["id"]);
        self.token = made["lease"]["token"].as_u64().unwrap_or_default();
        self.lease_until = text(&made["lease_expires_at"]);
        // One at least, also on a host that is too slow for more.
        self.end_one(client).await
    }

    /// Makes a session, and ends it.
    async fn end_one(&mut self, client: &Client) -> Result<(), Failure> {
        let id = text(&client.post(&["sessions"], &session(json!({}))).await?["id"]);
        let end = client.post(&["sessions", &id, "terminate"], &json!({ "reason": "completed" })).await?;
        self.ended.push((id, end["terminated_at"].clone(), end["termination_reason"].clone()));
        Ok(())
    }

    /// Works until it is stopped. What has no answer may have been done or not.
    pub async fn work(&mut self, server: &Server) -> Result<(), Failure> {
        let Some(client) = server.client() else { return Ok(()) };
        let holder = server.holder(&client, self.token)?;
        loop {
            self.file_next += 1;
            let body = self.file_next.to_string();
            let put = client.request(Method::PUT, &["sessions", &self.works, "files"], &[("path", FILE)])?;
            client.send(put.body(body)).await?;
            self.file = Some(self.file_next);
            let beat = holder.post(&["sessions", &self.leased, "heartbeat"], &Value::Null).await?;
            self.lease_until = text(&beat["lease_expires_at"]);
            if self.ended.len() < 3 {
                self.end_one(&client).await?;
            }
        }
    }

    /// Compares what there is with what was acknowledged.
    pub async fn compare(&mut self, client: &Client, server: &Server) -> Result<(), Failure> {
        let works = self.settled(client, &self.works.clone()).await?;
        let leased = self.settled(client, &self.leased.clone()).await?;
        for session in [&works, &leased] {
            let lives = session["state"] == "ready" || session["state"] == "running";
            self.see(Promise::Sessions, lives, || format!("{} is {}", session["id"], session["state"]));
        }
        let environment = &works["environment"];
        let same = environment["id"] == self.environment.as_str() && environment["generation"] == 1;
        self.see(Promise::Adoption, same && environment["state"] == "ready", || environment.to_string());
        self.output(client).await?;
        self.files(client).await?;
        self.leases(client, server, &leased).await?;
        self.ends(client).await?;
        let audit = client.post(&["audit", "verify"], &Value::Null).await?;
        self.see(Promise::Audit, audit["intact"] == true, || audit.to_string());
        Ok(())
    }

    /// A session, once its environment was taken over.
    async fn settled(&self, client: &Client, id: &str) -> Result<Value, Failure> {
        let until = Instant::now() + SETTLED_WITHIN;
        loop {
            let session = client.get(&["sessions", id], &[]).await?;
            if session["environment"]["state"] != "recovering" || Instant::now() > until {
                return Ok(session);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Every number is there once, in order, and no fewer than before.
    async fn output(&mut self, client: &Client) -> Result<(), Failure> {
        let request = client.request(Method::GET, &["sessions", &self.works, "execs", &self.exec, "output"], &[])?;
        let bytes = client.send(request).await?.bytes().await.map_err(|error| crate::client::broken(&error))?;
        let printed = String::from_utf8_lossy(&bytes).into_owned();
        let whole = printed.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let count = whole.lines().count() as u64;
        let in_order = whole.lines().zip(1_u64..).all(|(line, number)| line == number.to_string());
        let before = std::mem::replace(&mut self.lines, count);
        self.see(Promise::Output, in_order && count >= before, || format!("{count} lines, {before} were seen"));
        Ok(())
    }

    async fn files(&mut self, client: &Client) -> Result<(), Failure> {
        let request = client.request(Method::GET, &["sessions", &self.works, "files"], &[("path", FILE)])?;
        let found = match client.send(request).await {
            Ok(answer) => answer.text().await.ok().and_then(|text| text.parse::<u64>().ok()),
            Err(error) if error.is(Code::FileNotFound) => None,
            Err(error) => return Err(error),
        };
        let good = found == self.file || found == Some(self.file_next);
        let known = self.file;
        self.see(Promise::Files, good, || format!("{found:?} instead of {known:?}"));
        self.file = found;
        Ok(())
    }

    /// The holder is still the holder, for no shorter than was said; whoever has none is refused, and a takeover gives a token that there never was.
    async fn leases(&mut self, client: &Client, server: &Server, leased: &Value) -> Result<(), Failure> {
        let until = text(&leased["lease_expires_at"]);
        let known = self.lease_until.clone();
        self.see(Promise::Leases, until >= known, || format!("until {until} instead of {known}"));
        let id = self.leased.clone();
        let beat = ["sessions", &id, "heartbeat"];
        let heard = server.holder(client, self.token)?.post(&beat, &Value::Null).await;
        self.see(Promise::Leases, heard.is_ok(), || format!("the holder is refused: {heard:?}"));
        let stranger = client.post(&beat, &Value::Null).await;
        let refused = stranger.as_ref().err().is_some_and(|error| error.is(Code::StaleLease));
        self.see(Promise::Leases, refused, || format!("without a token: {stranger:?}"));
        let take = json!({ "takeover": true, "ttl_ms": LIFETIME_MS, "heartbeat_interval_ms": 10 });
        let taken = client.post(&["sessions", &self.leased, "lease"], &take).await?;
        let token = taken["lease"]["token"].as_u64().unwrap_or_default();
        let last = std::mem::replace(&mut self.token, token);
        self.see(Promise::Leases, token > last, || format!("token {token} after {last}"));
        self.lease_until = text(&taken["lease_expires_at"]);
        Ok(())
    }

    async fn ends(&mut self, client: &Client) -> Result<(), Failure> {
        for (id, at, reason) in self.ended.clone() {
            let found = client.get(&["sessions", &id], &[]).await?;
            let same = found["terminated_at"] == at && found["termination_reason"] == reason;
            self.see(Promise::Ends, same, || format!("{found}, which ended at {at} for {reason}"));
        }
        Ok(())
    }

    fn see(&mut self, promise: Promise, holds: bool, otherwise: impl FnOnce() -> String) {
        match self.checked.iter_mut().find(|(known, _)| *known == promise) {
            Some((_, times)) => *times += 1,
            None => self.checked.push((promise, 1)),
        }
        if !holds {
            self.broken.push((promise, otherwise()));
        }
    }

    /// Ends every session there is, and waits until their environments are gone.
    pub async fn end(&self, client: &Client) -> Result<(), Failure> {
        let all = client.list(&["sessions"], &[], true).await?;
        let ids: Vec<String> = all["items"].as_array().into_iter().flatten().map(|one| text(&one["id"])).collect();
        for id in &ids {
            client.post(&["sessions", id, "terminate"], &json!({ "reason": "completed" })).await?;
        }
        let until = Instant::now() + SETTLED_WITHIN;
        for id in &ids {
            while client.get(&["sessions", id], &[]).await?["environment"]["state"] != "gone" && Instant::now() < until
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    /// What became of each promise.
    pub fn findings(&self) -> Vec<Finding> {
        let finding = |(promise, words): &(Promise, &'static str)| {
            let times = self.checked.iter().find(|(known, _)| known == promise).map_or(0, |(_, times)| *times);
            let broken: Vec<&str> =
                self.broken.iter().filter(|(known, _)| known == promise).map(|(_, seen)| seen.as_str()).collect();
            let seen = if broken.is_empty() { format!("looked at {times} times") } else { broken.join("; ") };
            Finding { promise: words, holds: broken.is_empty(), seen }
        };
        PROMISES.iter().map(finding).collect()
    }
}

fn session(more: Value) -> Value {
    let mut body = json!({ "limits": { "max_lifetime_ms": LIFETIME_MS, "memory_bytes": 67_108_864 } });
    if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
        body.extend(more.clone());
    }
    body
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
