//! The agent as it runs in an environment: PID 1 of a namespace, under a user of its own, with three capabilities.

mod client;

use client::*;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};
use tenure_protocol::*;

/// `None` where this host cannot do it.
fn start(options: Options) -> Option<Agent> {
    if !is_root() {
        println!("skipped: needs root to make a PID namespace");
        return None;
    }
    Some(Agent::start_with(Options { init: true, ..options }))
}

fn status(agent: &Agent, of: &str, field: &str) -> String {
    let text = agent.run(agent.shell(&format!("grep ^{field}: /proc/{of}/status"))).text();
    text.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

/// EN-2
#[test]
fn the_agent_and_the_tenant_are_two_users_and_neither_has_more_than_it_needs() {
    let Some(agent) = start(Options::default()) else { return };
    assert_eq!(status(&agent, "1", "Uid"), "65535\t65535\t65535\t65535");
    // CAP_KILL, CAP_SETGID and CAP_SETUID.
    assert_eq!(status(&agent, "1", "CapEff"), "00000000000000e0");
    assert_eq!(status(&agent, "self", "Uid"), "1000\t1000\t1000\t1000");
    assert_eq!(status(&agent, "self", "Gid"), "1000\t1000\t1000\t1000");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status(&agent, "self", set), "0000000000000000", "{set}");
    }
    assert_eq!(agent.run(agent.shell("cat /proc/self/oom_score_adj /proc/1/oom_score_adj")).text(), "500\n0\n");
}

/// EN-2
#[test]
fn the_tenant_can_neither_signal_nor_look_into_the_agent() {
    let Some(agent) = start(Options::default()) else { return };
    let script = "for s in KILL TERM STOP INT HUP; do kill -$s 1 && echo signalled; done; \
                  cat /proc/1/environ /proc/1/maps /proc/1/mem /proc/1/auxv; ls /proc/1/fd /proc/1/cwd/; \
                  readlink /proc/1/exe; exit 0";
    let outcome = agent.run(agent.shell(script));
    assert_eq!(outcome.text(), "");
    assert_eq!(agent.connect().ask(&Request::Ping), Reply::Done);
    let also_refused = agent.shell("true").with(|exec| exec.user = Some(AGENT_UID.to_string()));
    assert_eq!(agent.connect().refused(&Request::Exec(also_refused.0)), FailureCode::Denied);
}

/// EN-5
#[test]
fn file_work_is_the_tenants_though_the_agent_is_another_user() {
    let Some(agent) = start(Options::default()) else { return };
    let mut connection = agent.connect();
    connection.send(&Request::FileWrite { path: agent.path("a/file"), mode: None });
    connection.data(b"content");
    connection.data(b"");
    assert_eq!(connection.reply(), Reply::Written { size: 7 });
    let found = std::fs::metadata(agent.path("a/file")).unwrap();
    assert_eq!((found.uid(), found.gid()), (1000, 1000));
    let path = agent.directory.path().join("of-the-agent").to_str().unwrap().to_owned();
    assert_eq!(
        connection.refused(&Request::MakeDir { path }),
        FailureCode::Denied,
        "the agent could, the tenant cannot"
    );
    for path in ["/proc/1/environ", "/proc/self/mem", "/proc/1/root/etc/passwd"] {
        let read = Request::FileRead { path: path.into(), offset: 0, length: None };
        assert_eq!(connection.refused(&read), FailureCode::Denied, "{path}");
    }
    assert_eq!(connection.ask(&Request::Watch { path: agent.path("a"), recursive: true }), Reply::Done);
    assert_eq!(agent.run(agent.shell("rm -r a && echo gone")).text(), "gone\n");
}

/// EN-3
#[test]
fn only_what_is_inside_is_listed_and_orphans_of_any_kind_are_reaped() {
    let Some(agent) = start(Options::default()) else { return };
    let outcome = agent.run(agent.shell("setsid sh -c '(sleep 0.2 &) ; exit 0' & (sleep 1000 &) ; exit 0"));
    assert_eq!(outcome.ended.exit_code, Some(0));
    let list = || match agent.connect().ask(&Request::Processes) {
        Reply::Processes { processes, truncated: false } => processes,
        other => panic!("{other:?}"),
    };
    eventually("one is left", || list().len() == 1);
    let left = list().remove(0);
    assert_eq!((left.ppid, left.uid, left.cmd.as_str()), (1, 1000, "sleep 1000"));
}

/// EN-7
#[test]
fn a_terminal_belongs_to_the_tenant() {
    let Some(agent) = start(Options::default()) else { return };
    let outcome = agent.run(agent.shell("stty size; stat -c %u $(tty); echo again > $(tty)").tty(20, 70));
    assert_eq!(outcome.text(), "20 70\r\n1000\r\nagain\r\n");
    assert_eq!(agent.run(agent.shell("echo one > /dev/stdout; echo two > /dev/stdout")).text(), "one\ntwo\n");
}

/// TM-6
#[test]
fn at_the_hard_deadline_everything_in_the_namespace_ends() {
    let Some(mut agent) = start(Options { bind: false, ..Options::default() }) else { return };
    agent.connect().bind(Some(boot_ms() + 500));
    let mut connection = agent.connect();
    let pid =
        connection.start(&agent.shell("setsid sh -c \"trap '' TERM; while :; do sleep 1; done\" & trap '' TERM; wait"));
    agent.control = None;
    let outcome = connection.rest(pid);
    assert_eq!(outcome.ended.signal, Some(libc::SIGKILL));
    agent.exit_status();
    let left = std::process::Command::new("pgrep").args(["-f", agent.directory.path().to_str().unwrap()]).output();
    assert!(left.unwrap().stdout.is_empty(), "nothing of it is left");
}

/// TM-7
#[test]
fn a_shutdown_lets_programs_say_goodbye_and_then_ends_at_once() {
    let Some(mut agent) = start(Options::default()) else { return };
    let mut connection = agent.connect();
    let pid = connection.start(&agent.shell("trap 'echo bye; exit 4' TERM; echo ready; while :; do sleep 0.05; done"));
    connection.output_until("ready");
    let begun = Instant::now();
    assert_eq!(agent.connect().ask(&Request::Shutdown { grace_ms: 600_000 }), Reply::Done);
    let outcome = connection.rest(pid);
    assert_eq!((outcome.text().trim(), outcome.ended.exit_code), ("bye", Some(4)));
    agent.exit_status();
    assert!(begun.elapsed() < Duration::from_secs(60), "the grace is not waited out");
}

/// TM-7
#[test]
fn a_pooled_one_ends_with_its_keeper() {
    let Some(mut agent) = start(Options { bind: false, ..Options::default() }) else { return };
    agent.control = None;
    agent.exit_status();
}
