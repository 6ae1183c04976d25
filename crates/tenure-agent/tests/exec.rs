//! Execs: how programs start, what they see, how they end.

// The helpers below stand outside of test functions.
#![allow(clippy::unwrap_used)]

mod client;

use client::*;
use std::os::unix::fs::PermissionsExt;
use tenure_protocol::*;

/// EN-3
#[test]
fn a_program_ends_with_its_own_code() {
    let agent = Agent::start();
    let outcome = agent.run(agent.shell("echo out; echo err >&2; exit 7"));
    assert_eq!(outcome.output, b"out\n");
    assert_eq!(outcome.error, b"err\n");
    assert_eq!((outcome.ended.exit_code, outcome.ended.signal), (Some(7), None));
    assert!(!outcome.ended.timed_out && !outcome.ended.oom_killed);
}

/// EN-3
#[test]
fn a_signal_is_told_apart_from_a_code() {
    let agent = Agent::start();
    let ended = agent.run(agent.shell("kill -SEGV $$")).ended;
    assert_eq!((ended.exit_code, ended.signal), (None, Some(libc::SIGSEGV)));
    let ended = agent.run(agent.shell("exit 139")).ended;
    assert_eq!((ended.exit_code, ended.signal), (Some(139), None));
}

fn check_refused(agent: &Agent, wanted: Wanted, code: FailureCode, named: &str) {
    let mut connection = agent.connect();
    match connection.ask(&Request::Exec(wanted.0.clone())) {
        Reply::Failed { code: seen, message } => {
            assert_eq!(seen, code, "{message}");
            assert!(message.contains(named), "{message} does not name {named}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        connection.ask(&Request::Execs { after: None }),
        Reply::Execs { execs: vec![], more: false },
        "nothing is remembered of it"
    );
    assert_eq!(connection.ask(&Request::Ping), Reply::Done);
}

/// EN-3
#[test]
fn a_program_that_cannot_start_is_a_failure_and_never_a_code() {
    let agent = Agent::start();
    let path = |name: &str| agent.path(name);
    std::fs::write(path("plain"), "#!/bin/sh\n").unwrap();
    std::fs::write(path("garbage"), "neither script nor binary").unwrap();
    std::fs::set_permissions(path("garbage"), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::create_dir(path("locked")).unwrap();
    std::fs::set_permissions(path("locked"), PermissionsExt::from_mode(0o000)).unwrap();
    let in_directory = |name: &str| agent.shell("true").with(|exec| exec.cwd = path(name));

    check_refused(&agent, agent.exec(&["no-such-program"]), FailureCode::NotFound, "no-such-program");
    check_refused(&agent, agent.exec(&["/no/such/program"]), FailureCode::NotFound, "/no/such/program");
    check_refused(&agent, in_directory("missing"), FailureCode::NotFound, "missing");
    check_refused(&agent, in_directory("plain"), FailureCode::NotADirectory, "plain");
    check_refused(&agent, agent.exec(&[&path("plain")]), FailureCode::Denied, "plain");
    check_refused(&agent, agent.exec(&[&path("garbage")]), FailureCode::Invalid, "garbage");
    if is_root() {
        check_refused(&agent, in_directory("locked"), FailureCode::Denied, "locked");
    }
    let nobody = agent.shell("true").with(|exec| exec.user = Some("no-such-user".into()));
    check_refused(&agent, nobody, FailureCode::NoSuchUser, "no-such-user");
    check_refused(&agent, agent.shell("true").files(10), FailureCode::Invalid, "sink");
}

/// EN-3
#[test]
fn a_program_runs_with_the_variables_that_were_asked_for() {
    let agent = Agent::start();
    let print = "echo $USER $LOGNAME $HOME $LANG $GREETING $OWN ${TERM-none}; pwd; umask";
    let text = agent.run(agent.shell(print).with(|exec| drop(exec.env.insert("OWN".into(), "mine".into())))).text();
    let work = agent.work();
    assert_eq!(text, format!("tenant tenant /tmp C.UTF-8 hello mine none\n{}\n0022\n", work.display()));
    let over = agent.shell("echo $GREETING $HOME").with(|exec| {
        exec.env.insert("GREETING".into(), "bye".into());
        exec.env.insert("HOME".into(), "/".into());
    });
    assert_eq!(agent.run(over).text(), "bye /\n");
}

/// EN-3
#[test]
fn a_program_is_looked_for_in_its_own_path() {
    let agent = Agent::start();
    std::fs::write(agent.path("tool"), "#!/bin/sh\necho found $0\n").unwrap();
    std::fs::set_permissions(agent.path("tool"), PermissionsExt::from_mode(0o755)).unwrap();
    let search = format!("/no/such:{}", agent.work().display());
    let wanted = agent.exec(&["tool"]).with(|exec| drop(exec.env.insert("PATH".into(), search)));
    assert_eq!(agent.run(wanted).text(), format!("found {}\n", agent.path("tool")));
}

/// EN-2
#[test]
fn a_program_has_the_tenants_rights_and_no_more() {
    let agent = Agent::start();
    let text = agent.run(agent.shell("grep -E '^(Uid|Gid|Groups|Cap|NoNew|SigBlk|SigIgn)' /proc/self/status")).text();
    let user = user();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_ascii_whitespace().skip(1).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(field("Uid:"), vec![user.uid.to_string(); 4]);
    assert_eq!(field("Gid:"), vec![user.gid.to_string(); 4]);
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), ["1"]);
    assert_eq!(field("SigBlk:"), ["0000000000000000"]);
    assert_eq!(field("SigIgn:"), ["0000000000000000"]);
    if is_root() {
        assert_eq!(field("Groups:"), [] as [&str; 0]);
    }
    // Where tenant and agent are one user, the score is raised just after the program has begun.
    let script = "ulimit -n; sleep 0.2; cat /proc/self/oom_score_adj";
    assert_eq!(agent.run(agent.shell(script)).text(), "256\n500\n");
}

/// EN-2
#[test]
fn a_program_inherits_its_three_streams_and_no_other_descriptor() {
    let agent = Agent::start();
    let script = "i=0; while [ $i -lt 400 ]; do [ -e /proc/$$/fd/$i ] && echo $i; i=$((i+1)); done";
    for wanted in [agent.shell(script), agent.shell(script).stdin(), agent.shell(script).tty(24, 80)] {
        let text = agent.run(wanted).text();
        assert_eq!(text.split_ascii_whitespace().collect::<Vec<_>>(), ["0", "1", "2"]);
    }
}

/// EN-2
#[test]
fn the_agent_cannot_be_looked_into() {
    let agent = Agent::start();
    let pid = agent.child.id();
    let peek = format!("cat /proc/{pid}/environ /proc/{pid}/maps /proc/{pid}/mem; ls /proc/{pid}/fd; kill -9 {pid}");
    if is_root() {
        let outcome = agent.run(agent.shell(&peek));
        assert_eq!(outcome.text(), "");
        assert_ne!(outcome.ended.exit_code, Some(0));
        assert!(lives(pid));
    } else {
        println!("skipped: the tenant is the agent's own user here");
    }
}

/// EN-3
#[test]
fn a_user_can_be_chosen_but_never_the_agents_own() {
    if !is_root() {
        println!("skipped: needs root to become another user");
        return;
    }
    let agent = Agent::start();
    let as_user = |name: &str| agent.shell("id -u").with(|exec| exec.user = Some(name.into()));
    check_refused(&agent, as_user("root"), FailureCode::Denied, "root");
    check_refused(&agent, as_user("0"), FailureCode::Denied, "0");
    assert_eq!(agent.run(as_user("nobody")).text(), "65534\n");
    assert_eq!(agent.run(as_user("4711")).text(), "4711\n");
}

/// EN-3
#[test]
fn standard_input_goes_through_whole_however_slow_its_reader() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let pid = connection.start(&agent.exec(&["cat"]).stdin());
    let sent: Vec<u8> = (0..6 * 1024 * 1024u32).map(|index| (index / 3) as u8).collect();
    let mut writer = connection.socket.try_clone().unwrap();
    let bytes = sent.clone();
    let feeder = std::thread::spawn(move || {
        let mut wire = Vec::new();
        encode_data(Stream::Input, &bytes, &mut wire);
        encode_data(Stream::Input, &[], &mut wire);
        std::io::Write::write_all(&mut writer, &wire).unwrap();
    });
    // Everything on the way fills up meanwhile.
    std::thread::sleep(std::time::Duration::from_millis(200));
    let outcome = connection.rest(pid);
    feeder.join().unwrap();
    assert!(outcome.output == sent, "{} bytes came back", outcome.output.len());
    assert_eq!(outcome.ended.exit_code, Some(0));
}

/// EN-3
#[test]
fn without_standard_input_a_program_reads_its_end() {
    let agent = Agent::start();
    assert_eq!(agent.run(agent.shell("cat; echo over")).text(), "over\n");
}

/// EN-3
#[test]
fn input_for_a_program_that_does_not_read_it_harms_nobody() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    connection.start(&agent.shell("exec <&-; echo deaf; sleep 0.2; exit 4").stdin());
    let mut writer = Connection::new(connection.socket.try_clone().unwrap());
    let feeder = std::thread::spawn(move || (0..64).for_each(|_| writer.data(&[7; 65536])));
    let outcome = connection.rest(0);
    feeder.join().unwrap();
    assert_eq!((outcome.text().as_str(), outcome.ended.exit_code), ("deaf\n", Some(4)));
    connection.data(b"too late");
    assert_eq!(connection.ask(&Request::Ping), Reply::Done);
}

/// EN-3
#[test]
fn a_program_can_open_its_own_standard_output_again() {
    let agent = Agent::start();
    let outcome = agent.run(agent.shell("echo one > /dev/stdout; echo two > /proc/self/fd/2"));
    assert_eq!((outcome.output.as_slice(), outcome.error.as_slice()), (&b"one\n"[..], &b"two\n"[..]));
}

/// EN-3
#[test]
fn a_time_limit_ends_a_program_first_softly_then_hard() {
    let agent = Agent::start();
    let ended = agent.run(agent.shell("sleep 1000").timeout(150)).ended;
    assert!(ended.timed_out);
    assert_eq!((ended.exit_code, ended.signal), (None, Some(libc::SIGTERM)));
    let outcome = agent.run(agent.shell("trap 'echo bye; exit 5' TERM; sleep 1000 & wait").timeout(150));
    assert!(outcome.ended.timed_out);
    assert_eq!((outcome.text().as_str(), outcome.ended.exit_code), ("bye\n", Some(5)));
    let ended = agent.run(agent.shell("trap '' TERM; while :; do sleep 1; done").timeout(150)).ended;
    assert!(ended.timed_out && !ended.oom_killed);
    assert_eq!(ended.signal, Some(libc::SIGKILL));
    assert!(ended.duration_ms >= 450, "the limit and the grace: {}", ended.duration_ms);
    let ended = agent.run(agent.shell("exit 0").timeout(10_000)).ended;
    assert!(!ended.timed_out);
}

/// EN-3
#[test]
fn a_time_limit_reaches_what_the_program_started() {
    let agent = Agent::start();
    let outcome =
        agent.run(agent.shell("trap 'exit 0' TERM; (trap '' TERM; echo $$; exec sleep 1000) & wait").timeout(200));
    assert!(outcome.ended.timed_out);
    let Reply::Processes { processes, .. } = agent.connect().ask(&Request::Processes) else { panic!() };
    let left = processes.iter().filter(|process| process.cmd == "sleep 1000" && process.uid == user().uid);
    let own: Vec<u32> = left.map(|process| process.pid).filter(|pid| has_ancestor(*pid, agent.child.id())).collect();
    assert_eq!(own, [] as [u32; 0]);
}

fn has_ancestor(mut pid: u32, ancestor: u32) -> bool {
    while pid > 1 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let Some((_, rest)) = stat.rsplit_once(')') else { return false };
        let Some(parent) = rest.split_ascii_whitespace().nth(1).and_then(|field| field.parse().ok()) else {
            return false;
        };
        if parent == ancestor {
            return true;
        }
        pid = parent;
    }
    false
}

/// EN-3
#[test]
fn a_signal_reaches_the_whole_process_group() {
    let agent = Agent::start();
    let wanted = agent.exec(&["sleep", "1000"]);
    let mut connection = agent.connect();
    let pid = connection.start(&wanted);
    let exec_id = wanted.0.exec_id.clone();
    let mut other = agent.connect();
    assert_eq!(other.ask(&Request::Signal { exec_id: exec_id.clone(), signal: libc::SIGINT }), Reply::Done);
    assert_eq!(connection.rest(pid).ended.signal, Some(libc::SIGINT));
    assert_eq!(other.refused(&Request::Signal { exec_id, signal: 9 }), FailureCode::OutOfTurn);
    assert_eq!(other.refused(&Request::Signal { exec_id: "none".into(), signal: 9 }), FailureCode::NoSuchExec);
    let wanted = agent.shell("sleep 1000 & echo $!; wait");
    let pid = connection.start(&wanted);
    let child: u32 = connection.output_until("\n").trim().parse().unwrap();
    connection.send(&Request::SignalAttached { signal: libc::SIGTERM });
    assert_eq!(connection.rest(pid).ended.signal, Some(libc::SIGTERM));
    eventually("the group is gone", || !lives(child));
}

/// EN-3
#[test]
fn an_oom_kill_is_told_apart_from_any_other_kill() {
    let run = |kill: &dyn Fn(&mut Connection, u32), counter: u64| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "low 0\noom 3\noom_kill 3\n").unwrap();
        let oom = Some(std::fs::File::open(file.path()).unwrap());
        let agent = Agent::start_with(Options { oom, ..Options::default() });
        let mut connection = agent.connect();
        let pid = connection.start(&agent.exec(&["sleep", "1000"]));
        std::fs::write(file.path(), format!("low 0\noom 4\noom_kill {counter}\n")).unwrap();
        kill(&mut connection, pid);
        connection.rest(pid).ended
    };
    let outside = |number: i32| move |_: &mut Connection, pid: u32| signal(pid, number);
    assert!(run(&outside(libc::SIGKILL), 4).oom_killed);
    assert!(!run(&outside(libc::SIGKILL), 3).oom_killed, "the counter stands still");
    assert!(!run(&outside(libc::SIGTERM), 4).oom_killed, "another signal");
    let by_agent = |connection: &mut Connection, _: u32| connection.send(&Request::SignalAttached { signal: 9 });
    assert!(!run(&by_agent, 4).oom_killed, "the agent sent it");
}

/// EN-3
#[test]
fn orphans_are_reaped() {
    let agent = Agent::start();
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do (sleep 0.1 & echo $! ) ; done";
    let outcome = agent.run(agent.shell(script));
    let orphans: Vec<u32> = outcome.text().split_ascii_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(orphans.len(), 10);
    for pid in orphans {
        eventually("it is gone altogether", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}

/// EN-3
#[test]
fn processes_are_listed_with_what_they_are() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let pid = connection.start(&agent.exec(&["sleep", "1000"]));
    let find = || match agent.connect().ask(&Request::Processes) {
        Reply::Processes { processes, .. } => processes.into_iter().find(|process| process.pid == pid),
        other => panic!("{other:?}"),
    };
    let process = find().expect("the program is listed");
    assert_eq!(process.cmd, "sleep 1000");
    assert_eq!((process.ppid, process.uid), (agent.child.id(), user().uid));
    assert!(process.rss_bytes > 0);
    connection.send(&Request::SignalAttached { signal: libc::SIGKILL });
    connection.rest(pid);
    assert!(find().is_none());
}

/// EN-3
#[test]
fn execs_are_remembered_until_they_are_forgotten() {
    let agent = Agent::start();
    let mut connection = agent.connect();
    let wanted = agent.shell("exit 9").with(|exec| exec.tag = Some("build".into()));
    let exec_id = wanted.0.exec_id.clone();
    let pid = connection.start(&wanted);
    let ended = connection.rest(pid).ended;
    let list = |connection: &mut Connection| match connection.ask(&Request::Execs { after: None }) {
        Reply::Execs { execs, .. } => execs,
        other => panic!("{other:?}"),
    };
    let expected = ExecState {
        exec_id: exec_id.clone(),
        pid,
        tag: Some("build".into()),
        ended: Some(ended.clone()),
        room_bytes: None,
    };
    assert_eq!(list(&mut connection), [expected]);
    assert_eq!(connection.refused(&Request::Exec(wanted.0.clone())), FailureCode::Exists);
    assert_eq!(connection.ask(&Request::Attach { exec_id: exec_id.clone() }), Reply::Started { pid });
    assert_eq!(connection.rest(pid).ended, ended);
    assert_eq!(connection.ask(&Request::Forget { exec_id: exec_id.clone() }), Reply::Done);
    assert_eq!(list(&mut connection), []);
    assert_eq!(connection.refused(&Request::Attach { exec_id: exec_id.clone() }), FailureCode::NoSuchExec);
    assert_eq!(connection.refused(&Request::Forget { exec_id }), FailureCode::NoSuchExec);
    let running = agent.exec(&["sleep", "1000"]);
    connection.start(&running);
    let forget = Request::Forget { exec_id: running.0.exec_id.clone() };
    assert_eq!(agent.connect().refused(&forget), FailureCode::OutOfTurn);
}
