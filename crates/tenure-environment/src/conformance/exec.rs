//! What every driver promises of programs.

use super::{command, connect, run, shell, soon, start};
use crate::agent::Event;
use crate::driver::Environment;
use crate::error::AgentError;
use std::io::{Read, Seek};
use tenure_protocol::{Ended, FailureCode, Sink, WindowSize};

/// Tries every promise of this file.
pub async fn every_exec(env: &dyn Environment) {
    exec_reports_the_exit_code(env).await;
    exec_reports_the_signal(env).await;
    exec_keeps_output_and_error_apart(env).await;
    exec_reads_its_input(env).await;
    exec_sees_its_variables(env).await;
    exec_runs_in_its_directory(env).await;
    exec_of_nothing_is_not_found(env).await;
    exec_past_its_time_is_told_apart(env).await;
    exec_writes_to_the_files_it_was_given(env).await;
    exec_stops_writing_at_the_cap(env).await;
    exec_can_be_left_and_found_again(env).await;
    exec_on_a_terminal_has_one(env).await;
    processes_are_listed(env).await;
}

fn exited(ended: &Ended) -> Option<i32> {
    assert!(!ended.timed_out && !ended.oom_killed && ended.not_started.is_none(), "{ended:?}");
    ended.exit_code
}

/// EN-3: the exit code is the program's.
pub async fn exec_reports_the_exit_code(env: &dyn Environment) {
    assert_eq!(exited(&run(env, shell("exit 0")).await.ended), Some(0));
    assert_eq!(exited(&run(env, shell("exit 7")).await.ended), Some(7));
    assert_eq!(exited(&run(env, shell("exit 255")).await.ended), Some(255));
}

/// EN-3: a program that a signal killed has no exit code.
pub async fn exec_reports_the_signal(env: &dyn Environment) {
    let ended = run(env, shell("kill -9 $$")).await.ended;
    assert_eq!((ended.exit_code, ended.signal, ended.timed_out), (None, Some(9), false));
}

/// EN-3: both streams come, whole and apart.
pub async fn exec_keeps_output_and_error_apart(env: &dyn Environment) {
    let captured = run(env, shell("printf out; printf err >&2")).await;
    assert_eq!((captured.output.as_slice(), captured.error.as_slice()), (&b"out"[..], &b"err"[..]));
}

/// EN-3: input reaches the program, byte for byte, and has an end.
pub async fn exec_reads_its_input(env: &dyn Environment) {
    let bytes: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    let attached = start(env, cat_with_input()).await.expect("cat starts");
    let (mut sender, mut receiver) = attached.split();
    let feed = async {
        sender.input(&bytes).await.expect("the program reads");
        sender.end_input().await.expect("the program reads");
    };
    let hear = async {
        let mut heard = Vec::new();
        while let Some(event) = receiver.next().await.expect("the program goes on") {
            match event {
                Event::Output(bytes) => heard.extend(bytes),
                Event::Exited(ended) => assert_eq!(exited(&ended), Some(0)),
                Event::Error(_) | Event::Progress { .. } | Event::Detached => panic!("{event:?}"),
            }
        }
        heard
    };
    let ((), heard) = soon(async { tokio::join!(feed, hear) }).await;
    assert!(heard == bytes, "what went in came out");
    assert_eq!(run(env, command(&["cat"])).await.output, b"", "without input it is at its end from the start");
}

fn cat_with_input() -> tenure_protocol::Exec {
    tenure_protocol::Exec { stdin: true, ..command(&["cat"]) }
}

/// EN-3: the environment's variables, and over them the exec's.
pub async fn exec_sees_its_variables(env: &dyn Environment) {
    let mut exec = shell("printf %s \"$FROM_SPEC,$MINE\"");
    exec.env.insert("MINE".into(), "a b=c".into());
    assert_eq!(String::from_utf8_lossy(&run(env, exec).await.output), "spec,a b=c");
    let mut exec = shell("printf %s \"$FROM_SPEC,$MINE\"");
    exec.env.insert("FROM_SPEC".into(), "exec".into());
    assert_eq!(String::from_utf8_lossy(&run(env, exec).await.output), "exec,");
}

/// EN-3: the working directory is the one asked for.
pub async fn exec_runs_in_its_directory(env: &dyn Environment) {
    for cwd in ["/tmp", "/workspace"] {
        let mut exec = shell("pwd");
        exec.cwd = cwd.into();
        assert_eq!(String::from_utf8_lossy(&run(env, exec).await.output).trim_end(), cwd);
    }
}

/// EN-3: what does not exist never started; no exit code is invented.
pub async fn exec_of_nothing_is_not_found(env: &dyn Environment) {
    match start(env, command(&["/there/is/no/such/program"])).await {
        Err(AgentError::Failed { code: FailureCode::NotFound, .. }) => {}
        Err(other) => panic!("{other}"),
        Ok(mut attached) => {
            let ended = soon(attached.wait()).await.expect("its end is told");
            assert!(ended.not_started.is_some() && ended.exit_code.is_none(), "{ended:?}");
        }
    }
}

/// EN-3: a timeout is told apart from a signal.
pub async fn exec_past_its_time_is_told_apart(env: &dyn Environment) {
    let ended = run(env, tenure_protocol::Exec { timeout_ms: Some(200), ..command(&["sleep", "1000"]) }).await.ended;
    assert!(ended.timed_out && ended.exit_code.is_none() && ended.signal.is_some(), "{ended:?}");
}

/// EN-4: output goes to the files it was given, and its totals are told.
pub async fn exec_writes_to_the_files_it_was_given(env: &dyn Environment) {
    let (ended, output, error) = run_to_files(env, "printf out; printf error >&2", 1000).await;
    assert_eq!((exited(&ended), output.as_slice(), error.as_slice()), (Some(0), &b"out"[..], &b"error"[..]));
    assert_eq!((ended.output.bytes, ended.output.dropped, ended.error.bytes, ended.error.dropped), (3, 0, 5, 0));
}

/// EN-4: past the cap nothing is written, and what was dropped is counted.
pub async fn exec_stops_writing_at_the_cap(env: &dyn Environment) {
    let (ended, output, _) = run_to_files(env, "printf 0123456789", 4).await;
    assert_eq!((exited(&ended), output.as_slice()), (Some(0), &b"0123"[..]));
    assert_eq!((ended.output.bytes, ended.output.dropped), (4, 6));
}

async fn run_to_files(env: &dyn Environment, script: &str, cap_bytes: u64) -> (Ended, Vec<u8>, Vec<u8>) {
    let mut files = [tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap()];
    let handed = files.iter().map(|file| file.try_clone().unwrap().into()).collect();
    let exec = tenure_protocol::Exec { sink: Sink::File { cap_bytes }, ..shell(script) };
    let mut attached = soon(connect(env).await.exec(exec, handed)).await.expect("the program starts");
    let ended = soon(attached.wait()).await.expect("the program ends");
    let [output, error] = files.each_mut().map(|file| {
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    });
    (ended, output, error)
}

/// EN-4: a program goes on without its connection; it is listed, signalled, attached to again, and forgotten.
pub async fn exec_can_be_left_and_found_again(env: &dyn Environment) {
    let exec = tenure_protocol::Exec { tag: Some("left".into()), ..command(&["sleep", "1000"]) };
    let exec_id = exec.exec_id.clone();
    let mut attached = start(env, exec).await.expect("sleep starts");
    let pid = attached.pid();
    soon(attached.sender.detach()).await.expect("it hears");
    assert_eq!(soon(attached.next()).await.expect("it answers"), Some(Event::Detached));

    let mut client = attached.into_client().expect("the connection is at rest");
    let execs = soon(client.execs()).await.expect("execs are listed");
    let state = execs.iter().find(|state| state.exec_id == exec_id).expect("it is listed");
    assert_eq!((state.pid, state.tag.as_deref(), &state.ended), (pid, Some("left"), &None));
    assert!(soon(client.forget(&exec_id)).await.is_err(), "a running program is not forgotten");

    let mut again = soon(client.attach(&exec_id)).await.expect("it is found again");
    assert_eq!(again.pid(), pid);
    let mut client = connect(env).await;
    soon(client.signal(&exec_id, 15)).await.expect("it is signalled");
    assert_eq!(soon(again.wait()).await.expect("its end is told").signal, Some(15));
    soon(client.forget(&exec_id)).await.expect("an ended program is forgotten");
    let gone = soon(client.signal(&exec_id, 15)).await;
    assert!(matches!(gone, Err(AgentError::Failed { code: FailureCode::NoSuchExec, .. })), "{gone:?}");
}

/// EN-7: a program on a terminal sees one, of the size that was asked for.
pub async fn exec_on_a_terminal_has_one(env: &dyn Environment) {
    let tty = Some(WindowSize { rows: 24, cols: 80 });
    let captured = run(env, tenure_protocol::Exec { tty, ..shell("test -t 1 && printf yes") }).await;
    assert_eq!(String::from_utf8_lossy(&captured.output), "yes");
    assert_eq!(captured.error, b"");
}

/// EN-2: running programs are seen. Whether the agent lists itself is its own affair.
pub async fn processes_are_listed(env: &dyn Environment) {
    let mut attached = start(env, command(&["sleep", "999"])).await.expect("sleep starts");
    let listed = soon(connect(env).await.processes()).await.expect("processes are listed");
    let sleep = listed.processes.iter().find(|process| process.pid == attached.pid()).expect("it is listed");
    assert!(sleep.cmd.contains("999"), "{sleep:?}");
    soon(attached.sender.signal(9)).await.expect("it is signalled");
    assert_eq!(soon(attached.wait()).await.expect("its end is told").signal, Some(9));
}
