//! Everything from inside is hostile: whatever an agent says, and wherever it stops, the client answers with an error or a bounded value.
#![allow(clippy::unwrap_used, reason = "these are tests: a panic is how one fails")]

mod support;

use proptest::prelude::*;
use std::time::Duration;
use support::*;
use tenure_environment::AgentError;
use tenure_environment::agent::Client;
use tenure_protocol::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The operations, one of each kind.
const OPERATIONS: usize = 12;
/// Most that a test asks for of anything that can be long.
const MOST: usize = 1000;

/// Does one operation to its end. Whatever comes back must be within what was asked for.
async fn operate(mut client: Client, operation: usize) -> Result<(), AgentError> {
    match operation {
        0 => client.ping().await,
        1 => {
            let mut attached = client.exec(exec("a"), Vec::new()).await?;
            let captured = attached.capture(MOST).await?;
            assert!(captured.output.len() <= MOST && captured.error.len() <= MOST);
            Ok(())
        }
        2 => client.attach("a").await?.wait().await.map(drop),
        3 => client.execs().await.map(|execs| assert!(execs.len() <= EXECS_MAX)),
        4 => client.processes().await.map(|listed| assert!(listed.processes.len() <= PROCESSES_MAX)),
        5 => {
            let (_, mut reader) = client.file_read("/a", 0, Some(MOST as u64)).await?;
            let mut total = 0;
            while let Some(chunk) = reader.chunk().await? {
                total += chunk.len();
            }
            assert!(total <= MOST);
            Ok(())
        }
        6 => {
            let mut writer = client.file_write("/a", None).await?;
            writer.write(b"abc").await?;
            writer.finish().await.map(|(size, _)| assert_eq!(size, 3))
        }
        7 => client.stat("/a").await.map(drop),
        8 => client.list("/a", MOST).await.map(|listing| {
            assert!(listing.entries.len() <= MOST);
            assert!(listing.entries.iter().all(|entry| !entry.name.contains('/') && entry.name != ".."));
        }),
        9 => {
            let mut watcher = client.watch("/a", true).await?;
            loop {
                assert!(watcher.next().await?.path.starts_with('/'));
            }
        }
        10 => {
            let mut stream = client.dial(80).await?;
            stream.write_all(b"abc").await?;
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await?;
            Ok(())
        }
        _ => client.bind(&id(), tenure_environment::Generation(1), None, Default::default()).await,
    }
}

fn stat() -> Stat {
    Stat { kind: FileKind::File, size: 3, mode: 0o644, modified_ms: 0 }
}

/// What an honest agent would answer, whole.
fn honest(operation: usize) -> Vec<Vec<u8>> {
    let done = || encoded(&Reply::Done);
    let entries = vec![Entry { name: "a".into(), stat: stat() }];
    match operation {
        1 => vec![
            encoded(&Reply::Started { pid: 2 }),
            data(Stream::Output, b"abc"),
            data(Stream::Error, b"def"),
            encoded(&Reply::Exited(exited(0))),
        ],
        2 => vec![
            encoded(&Reply::Started { pid: 2 }),
            encoded(&Reply::Progress { output: Written::default(), error: Written::default() }),
            encoded(&Reply::Exited(exited(0))),
        ],
        3 => vec![encoded(&Reply::Execs {
            execs: vec![ExecState { exec_id: "a".into(), pid: 2, tag: None, ended: Some(exited(0)), room_bytes: None }],
            more: false,
        })],
        4 => vec![encoded(&Reply::Processes { processes: Vec::new(), truncated: false })],
        5 => vec![encoded(&Reply::File { stat: stat() }), data(Stream::Output, b"abc"), done()],
        6 => vec![encoded(&Reply::Written { size: 3 })],
        7 => vec![encoded(&Reply::Stat { stat: Some(stat()) })],
        8 => vec![encoded(&Reply::Entries { entries }), done()],
        9 => vec![done(), encoded(&Reply::Change { kind: ChangeKind::Created, path: "/a".into() })],
        10 => vec![done(), data(Stream::Output, b"abc"), data(Stream::Output, b"")],
        _ => vec![done()],
    }
}

/// Bytes that are frames, that are nearly frames, and that are none.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..300);
    let stream = prop_oneof![Just(Stream::Input), Just(Stream::Output), Just(Stream::Error)];
    let other = (0..OPERATIONS).prop_map(|operation| honest(operation).concat());
    let message = bytes().prop_map(|text| encoded(&String::from_utf8_lossy(&text).into_owned()));
    let names = "[a./]{0,3}".prop_map(|name| {
        let entries = vec![Entry { name, stat: stat() }; 3];
        encoded(&Reply::Entries { entries })
    });
    let ends = (any::<Option<i32>>(), any::<Option<i32>>())
        .prop_map(|(exit_code, signal)| encoded(&Reply::Exited(Ended { exit_code, signal, ..exited(0) })));
    let piece = prop_oneof![
        bytes(),
        other,
        message,
        names,
        ends,
        (stream, bytes()).prop_map(|(stream, bytes)| data(stream, &bytes)),
        Just(u32::MAX.to_le_bytes().to_vec()),
        Just(encoded(&failed(FailureCode::Io))),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), future).await.expect("it hangs") })
}

/// Sends these bytes to whoever does this operation, hears all there is to hear, and closes.
async fn face(operation: usize, wire: &[u8]) -> Result<(), AgentError> {
    let (client, mut agent) = connected().await;
    let speak = async {
        agent.request().await;
        let (mut hear, mut speak) = tokio::io::split(agent.stream);
        let (_, _) = tokio::join!(
            async {
                let _ = speak.write_all(wire).await;
                let _ = speak.shutdown().await;
            },
            async { tokio::io::copy(&mut hear, &mut tokio::io::sink()).await }
        );
    };
    tokio::join!(operate(client, operation), speak).0
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// EN-3, EN-5: any bytes, after any part of a valid conversation.
    #[test]
    fn whatever_an_agent_says_the_client_ends_with_an_error_or_a_bounded_answer(
        operation in 0..OPERATIONS, cut in any::<prop::sample::Index>(), garbage in garbage()
    ) {
        let mut wire = honest(operation).concat();
        wire.truncate(cut.index(wire.len() + 1));
        wire.extend(garbage);
        let _ = run(face(operation, &wire));
    }

    /// EN-3, EN-5: any part of a valid conversation is an error, whole or cut within a frame.
    #[test]
    fn an_agent_that_stops_midway_is_an_error(operation in 0..OPERATIONS, cut in any::<prop::sample::Index>()) {
        let wire = honest(operation).concat();
        let outcome = run(face(operation, &wire[..cut.index(wire.len())]));
        prop_assert!(outcome.is_err());
    }

    /// ID-4: any bytes instead of a handshake.
    #[test]
    fn whatever_answers_the_hello_without_the_key_is_not_let_in(garbage in garbage()) {
        let met = run(async {
            let (transport, mut agent) = pair();
            let speak = async {
                agent.hello().await;
                agent.raw(&garbage).await;
                drop(agent);
            };
            tokio::join!(shake(transport), speak).0
        });
        prop_assert!(met.is_err());
    }
}

#[test]
fn an_honest_agent_satisfies_every_operation() {
    for operation in (0..OPERATIONS).filter(|operation| *operation != 9) {
        run(face(operation, &honest(operation).concat())).unwrap_or_else(|error| panic!("{operation}: {error}"));
    }
}

async fn refused(operation: usize, wire: Vec<Vec<u8>>) {
    let outcome = face(operation, &wire.concat()).await;
    assert!(matches!(outcome, Err(AgentError::Protocol(_))), "{operation}: {outcome:?}");
}

/// EN-3
#[tokio::test]
async fn ends_that_no_program_has_are_refused() {
    let end = |exit_code, signal, why: Option<&str>| {
        let not_started = why.map(str::to_owned);
        vec![
            encoded(&Reply::Started { pid: 2 }),
            encoded(&Reply::Exited(Ended { exit_code, signal, not_started, ..exited(0) })),
        ]
    };
    refused(1, end(None, None, None)).await;
    refused(1, end(Some(0), Some(9), None)).await;
    refused(1, end(Some(0), None, Some("no"))).await;
    refused(1, end(Some(256), None, None)).await;
    refused(1, end(Some(-1), None, None)).await;
    refused(1, end(None, Some(0), None)).await;
    refused(1, end(None, Some(65), None)).await;
}

/// EN-3, EN-5
#[tokio::test]
async fn answers_out_of_turn_are_refused() {
    let started = || encoded(&Reply::Started { pid: 2 });
    let progress = || encoded(&Reply::Progress { output: Written::default(), error: Written::default() });
    refused(0, vec![started()]).await;
    refused(0, vec![encoded(&Reply::Done)[..7].to_vec()]).await;
    refused(1, vec![encoded(&Reply::Done)]).await;
    refused(1, vec![data(Stream::Output, b"a")]).await;
    refused(1, vec![started(), started()]).await;
    refused(1, vec![started(), encoded(&Reply::Done)]).await;
    refused(1, vec![started(), progress()]).await;
    refused(1, vec![started(), data(Stream::Input, b"a")]).await;
    refused(1, vec![started(), data(Stream::Output, b""), data(Stream::Output, b"a")]).await;
    refused(2, vec![started(), progress(), data(Stream::Output, b"a")]).await;
    refused(5, vec![encoded(&Reply::File { stat: stat() }), data(Stream::Output, &[0; MOST + 1])]).await;
    refused(5, vec![encoded(&Reply::File { stat: Stat { kind: FileKind::Other, ..stat() } })]).await;
    refused(6, vec![encoded(&Reply::Written { size: 4 })]).await;
    refused(9, vec![encoded(&Reply::Done), encoded(&Reply::Done)]).await;
    refused(9, vec![encoded(&Reply::Done), encoded(&Reply::Change { kind: ChangeKind::Created, path: "a".into() })])
        .await;
}

/// EN-5
#[tokio::test]
async fn names_that_lead_elsewhere_are_refused() {
    for name in ["", ".", "..", "/", "a/b", "../a", "a\0b", &"a".repeat(766)] {
        refused(8, vec![encoded(&Reply::Entries { entries: vec![Entry { name: name.into(), stat: stat() }] })]).await;
    }
}

/// EN-3
#[tokio::test]
async fn lists_that_no_environment_has_are_refused() {
    let state = |exec_id: &str| ExecState { exec_id: exec_id.into(), pid: 2, tag: None, ended: None, room_bytes: None };
    refused(3, vec![encoded(&Reply::Execs { execs: vec![state("a"), state("a")], more: false })]).await;
    refused(3, vec![encoded(&Reply::Execs { execs: vec![state("")], more: false })]).await;
    let process = Process { pid: 1, ppid: 0, uid: 0, state: "S".into(), cpu_ms: 0, rss_bytes: 0, cmd: String::new() };
    let processes = vec![process.clone(); PROCESSES_MAX + 1];
    refused(4, vec![encoded(&Reply::Processes { processes, truncated: true })]).await;
    let processes = vec![Process { cmd: "a".repeat(1000), ..process }];
    refused(4, vec![encoded(&Reply::Processes { processes, truncated: true })]).await;
}

/// EN-5
#[tokio::test]
async fn a_directory_without_end_is_cut_and_the_client_listens_no_more() {
    let (mut client, mut agent) = connected().await;
    let endless = async {
        agent.request().await;
        let entries = vec![Entry { name: "a".into(), stat: stat() }; ENTRIES_MAX];
        let wire = encoded(&Reply::Entries { entries });
        while agent.stream.write_all(&wire).await.is_ok() {}
    };
    let listing = tokio::select! {
        listing = client.list("/a", MOST) => listing.unwrap(),
        () = endless => unreachable!("it is endless"),
    };
    assert!(listing.truncated);
    assert_eq!(listing.entries.len(), MOST);
    assert!(matches!(client.ping().await, Err(AgentError::Abandoned)));
}

/// EN-3
#[tokio::test]
async fn a_failures_message_cannot_fill_a_log_or_drive_a_terminal() {
    let message = format!("\x1b[2J{}", "ä".repeat(5000));
    let outcome = face(0, &encoded(&Reply::Failed { code: FailureCode::Io, message })).await;
    let Err(AgentError::Failed { message, .. }) = outcome else { panic!("{outcome:?}") };
    assert!(message.len() <= 1024 && !message.chars().any(char::is_control), "{message:?}");
}
