//! Ten sessions at work, in each a program that prints and an editor, outlive the server and the version of it that made them; then each ends, and says why.
#![allow(clippy::unwrap_used)]

#[path = "leftovers/kernel.rs"]
#[allow(dead_code, reason = "only what is left is asked for")]
mod kernel;
mod support;

use kernel::Traces;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use support::server::Server;
use support::tmux::{Tmux, vim};
use support::{PATIENCE, binary, eventually, needs_root};

const SESSIONS: usize = 10;

/// What numbers the lines of an endless program, a tenth of a second apart.
const PRINTS: &str = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done";

/// The idle timeout of those that idle out in the end.
const IDLE: Duration = Duration::from_secs(3);

/// How long nobody serves.
const DOWN: Duration = Duration::from_secs(2);

/// A session at work.
struct Worked {
    id: String,
    printer: String,
    editor: String,
    tmux: Tmux,
    /// What its printer had printed when somebody last looked.
    read: Vec<u8>,
    /// Its processes: each with its number and the instant of its start.
    processes: String,
}

impl Worked {
    fn begin(server: &Server, vim: &str, options: &[&str]) -> Option<Worked> {
        let id = server.session_with(options);
        let begun = server.ask(["exec", "--background", &id, "--", "sh", "-c", PRINTS]);
        assert_eq!(begun.code, 0, "{begun}");
        let printer = begun.out().trim().to_owned();
        let tmux = outside(server)?;
        attach(&tmux, server, &format!("{id} -- {vim} -u NONE notes.txt"));
        tmux.sees_line("~");
        tmux.press("i");
        tmux.types(&format!("written in {id}"));
        tmux.sees(&id);
        let editor = exec_of(server, &id, "terminal");
        let mut worked = Worked { id, printer, editor, tmux, read: Vec::new(), processes: String::new() };
        worked.read_on(server);
        worked.processes = worked.processes_now(server, vim);
        Some(worked)
    }

    /// Reads on where it was left.
    fn read_on(&mut self, server: &Server) {
        let offset = self.read.len().to_string();
        let more = server.ask(["execs", "output", &self.id, &self.printer, "--offset", &offset]);
        assert_eq!(more.code, 0, "{more}");
        self.read.extend(&more.stdout);
    }

    /// How many lines there are; none is missing, and none is there twice.
    fn lines(&self) -> usize {
        let text = std::str::from_utf8(&self.read).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for (index, line) in whole.lines().enumerate() {
            assert_eq!(line, format!("line {}", index + 1), "in {}", self.id);
        }
        whole.lines().count()
    }

    fn processes_now(&self, server: &Server, vim: &str) -> String {
        // In brackets, so that whoever asks does not find itself.
        let is_printer = "tr '\\0' ' ' <$p/cmdline | grep -q 'echo [l]ine'";
        let script = format!(
            "for p in /proc/[0-9]*; do grep -qx {vim} $p/comm || {is_printer} || continue; cut -d' ' -f1,4,22 $p/stat; done"
        );
        let found = server.ask(["exec", &self.id, "--", "sh", "-c", &script]);
        let text = found.out();
        let all: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
        // A printer's child looks like its parent until it has become a `sleep`.
        let is_child = |process: &&Vec<&str>| all.iter().any(|parent| parent[0] == process[1]);
        let lines: BTreeSet<String> =
            all.iter().filter(|process| !is_child(process)).map(|process| process.join(" ")).collect();
        assert_eq!(lines.len(), 2, "an editor and a printer: {found} {}", self.explained(server));
        lines.into_iter().collect::<Vec<_>>().join("\n")
    }

    fn explained(&self, server: &Server) -> Value {
        server.ask(["--json", "session", "explain", &self.id]).json()
    }
}

/// The exec of a session that is called so.
fn exec_of(server: &Server, id: &str, tag: &str) -> String {
    let listed = server.ask(["--json", "execs", "list", id]).json();
    let found = listed["items"].as_array().unwrap().iter().find(|exec| exec["tag"] == tag).cloned();
    found.unwrap_or_else(|| panic!("{listed}"))["exec_id"].as_str().unwrap().to_owned()
}

/// A terminal whose `tenure` speaks to this server.
fn outside(server: &Server) -> Option<Tmux> {
    let key = std::fs::read_to_string(server.dir().path().join("admin.key")).unwrap();
    Tmux::start(&[&format!("TENURE_API_KEY={}", key.trim())])
}

fn attach(tmux: &Tmux, server: &Server, words: &str) {
    tmux.types(&format!("clear; TENURE_URL={} {} attach {words}", server.url(), binary().display()));
}

/// The version that the server is first started from: an earlier one, where its path is given, otherwise a copy of this one at another place.
fn first_version(server_dir: &std::path::Path) -> PathBuf {
    if let Some(earlier) = std::env::var_os("EARLIER_TENURE") {
        return earlier.into();
    }
    let copy = server_dir.with_extension("earlier");
    std::fs::copy(binary(), &copy).unwrap();
    copy
}

/// EN-4, EN-7, EN-10, TM-7, TM-8, TR-8, GV-3: the same processes, no line missing and none twice, the editor's screen as it was; and at the end nothing is left.
#[test]
fn ten_sessions_at_work_outlive_the_server_and_its_version_and_end_for_their_own_reasons() {
    if needs_root() {
        return;
    }
    let Some(vim) = vim() else { return };
    let dir = support::DataDir::new();
    std::fs::create_dir(dir.path().join("instances")).unwrap();
    let traces = Traces::watch(dir.path());
    let earlier = first_version(dir.path());
    let mut server = Server::start_from(&earlier, dir);
    let idle_timeout = format!("{}s", IDLE.as_secs());
    let idle = |index: usize| ["--idle-timeout", if index < SESSIONS / 2 { "1h" } else { &idle_timeout }];
    let begun: Option<Vec<Worked>> = (0..SESSIONS).map(|index| Worked::begin(&server, vim, &idle(index))).collect();
    let Some(mut sessions) = begun else { return };
    // Nobody comes by for longer than that: what runs is work enough.
    std::thread::sleep(IDLE + Duration::from_secs(1));
    sessions.iter_mut().for_each(|session| session.read_on(&server));
    let before: Vec<usize> = sessions.iter().map(Worked::lines).collect();

    server.kill();
    std::thread::sleep(DOWN);
    server.start_again_from(&binary());
    for (session, before) in sessions.iter_mut().zip(before) {
        session.read_on(&server);
        assert!(session.lines() > before + 10, "{} printed while nobody served", session.id);
        assert_eq!(session.processes_now(&server, vim), session.processes, "in {}", session.id);
        session.tmux.sees("the connection to the server broke");
        session.tmux.is_sane();
        attach(&session.tmux, &server, &format!("{} --exec {}", session.id, session.editor));
        let written = format!("written in {}", session.id);
        session.tmux.sees_that("its screen", |screen| {
            screen.contains(&written) && screen.lines().filter(|line| line.trim_end() == "~").count() >= 18
        });
    }

    let (asked, idle) = sessions.split_at(SESSIONS / 2);
    for session in asked {
        let ended = server.ask(["session", "terminate", &session.id, "--reason", "completed"]);
        assert_eq!(ended.code, 0, "{ended}");
    }
    for session in idle {
        session.tmux.press("Escape");
        session.tmux.types(":wq");
        session.tmux.sees("outside>");
        let saved = server.ask(["file", "read", &session.id, "notes.txt"]);
        assert_eq!(saved.out(), format!("written in {}\n\n", session.id));
        let killed = server.ask(["execs", "kill", &session.id, &session.printer, "--signal", "KILL"]);
        assert_eq!(killed.code, 0, "{killed}");
    }
    for (sessions, reason) in [(asked, "completed"), (idle, "idle_timeout")] {
        for session in sessions {
            let has_ended = || session.explained(&server)["ended"].is_object();
            assert!(eventually(PATIENCE, has_ended), "{}", session.explained(&server));
            let explained = session.explained(&server);
            assert_eq!(explained["ended"]["reason"], reason, "{explained}");
            assert!(explained["ended"]["at"].is_string() && explained["evidence"].is_object(), "{explained}");
        }
    }
    for session in &mut sessions {
        session.read_on(&server);
        session.lines();
    }
    server.stop();
    let nothing = || traces.everything().is_empty();
    assert!(eventually(PATIENCE, nothing), "{:#?}", traces.everything());
    if std::env::var_os("EARLIER_TENURE").is_none() {
        std::fs::remove_file(earlier).unwrap();
    }
}
