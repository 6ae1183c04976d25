//! What a client may be used for after this or that: turns, cancellation, and giving connections back.
#![allow(clippy::unwrap_used, reason = "these are tests: a panic is how one fails")]

mod support;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use support::*;
use tenure_environment::AgentError;
use tenure_environment::agent::Event;
use tenure_protocol::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Polls a future once and drops it.
async fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        })
    })
    .await
}

/// EN-3
#[tokio::test]
async fn a_receive_that_is_dropped_after_every_byte_loses_nothing() {
    let (client, mut agent) = connected().await;
    let (attached, ()) = tokio::join!(client.exec(exec("a"), Vec::new()), async {
        agent.request().await;
        agent.say(&Reply::Started { pid: 2 }).await;
    });
    let mut attached = attached.unwrap();
    let mut wire = Vec::new();
    for n in 0..20u8 {
        wire.extend(data(if n % 2 == 0 { Stream::Output } else { Stream::Error }, &[n; 5]));
    }
    wire.extend(encoded(&Reply::Exited(exited(3))));
    let mut events = Vec::new();
    for byte in wire {
        agent.raw(&[byte]).await;
        if let Some(event) = poll_once(attached.next()).await {
            events.push(event.unwrap().unwrap());
        }
    }
    assert_eq!(events.pop(), Some(Event::Exited(exited(3))));
    let expected: Vec<Event> =
        (0..20u8).map(|n| if n % 2 == 0 { Event::Output(vec![n; 5]) } else { Event::Error(vec![n; 5]) }).collect();
    assert_eq!(events, expected);
    assert_eq!(attached.next().await.unwrap(), None);
    let mut client = attached.into_client().expect("nothing was sent to the program");
    tokio::join!(async { client.ping().await.unwrap() }, async {
        assert_eq!(agent.request().await, Request::Ping);
        agent.say(&Reply::Done).await;
    });
}

/// EN-3
#[tokio::test]
async fn an_operation_that_was_dropped_midway_spoils_its_client() {
    let (mut client, mut agent) = connected().await;
    assert!(poll_once(client.ping()).await.is_none());
    assert!(!client.is_usable());
    agent.say(&Reply::Done).await;
    assert!(matches!(client.ping().await, Err(AgentError::Abandoned)));
}

/// EN-3
#[tokio::test]
async fn a_request_that_breaks_a_limit_is_not_sent_and_spoils_nothing() {
    let (mut client, mut agent) = connected().await;
    assert!(matches!(client.stat("relative").await, Err(AgentError::Invalid(_))));
    assert!(matches!(client.stat(&format!("/{}", "a".repeat(5000))).await, Err(AgentError::Invalid(_))));
    assert!(matches!(client.signal("a", 0).await, Err(AgentError::Invalid(_))));
    tokio::join!(async { client.ping().await.unwrap() }, async {
        assert_eq!(agent.request().await, Request::Ping);
        agent.say(&Reply::Done).await;
    });
}

/// EN-4
#[tokio::test]
async fn files_that_do_not_fit_the_program_are_refused() {
    let file = || std::fs::File::open("/dev/null").unwrap().into();
    let to_files = Exec { sink: Sink::File { cap_bytes: 1 }, ..exec("a") };
    let on_terminal = Exec { tty: Some(WindowSize { rows: 1, cols: 1 }), ..to_files.clone() };
    for (exec, files) in [(exec("a"), vec![file()]), (to_files.clone(), vec![file()]), (on_terminal, vec![])] {
        let (client, _agent) = connected().await;
        assert!(matches!(client.exec(exec, files).await, Err(AgentError::Invalid(_))));
    }
    // A stream that cannot carry files says so.
    let (client, _agent) = connected().await;
    let refused = client.exec(to_files, vec![file(), file()]).await;
    assert!(matches!(&refused, Err(AgentError::Io(error)) if error.kind() == std::io::ErrorKind::Unsupported));
}

/// EN-3
#[tokio::test]
async fn a_failure_is_an_answer_and_the_client_goes_on() {
    let (mut client, mut agent) = connected().await;
    tokio::join!(
        async {
            let failure = client.list("/a", 1).await;
            assert!(matches!(failure, Err(AgentError::Failed { code: FailureCode::NotFound, .. })));
            assert!(client.is_usable());
            client.ping().await.unwrap();
        },
        async {
            agent.request().await;
            agent.say(&failed(FailureCode::NotFound)).await;
            agent.request().await;
            agent.say(&Reply::Done).await;
        }
    );
}

/// EN-3
#[tokio::test]
async fn an_answer_before_its_question_is_none() {
    let (mut client, mut agent) = connected().await;
    agent.say(&Reply::Done).await;
    assert!(matches!(client.ping().await, Err(AgentError::Protocol(_))));
    assert!(matches!(client.ping().await, Err(AgentError::Abandoned)));
}

/// EN-3
#[tokio::test]
async fn a_connection_on_which_a_program_was_told_something_is_given_back_only_after_detaching() {
    for detach in [false, true] {
        let (client, mut agent) = connected().await;
        let fed = Exec { stdin: true, ..exec("a") };
        let manager = async {
            let mut attached = client.exec(fed, Vec::new()).await.unwrap();
            attached.sender.input(b"abc").await.unwrap();
            attached.sender.end_input().await.unwrap();
            assert!(matches!(attached.sender.input(b"d").await, Err(AgentError::Invalid(_))));
            if detach {
                attached.sender.detach().await.unwrap();
                assert_eq!(attached.next().await.unwrap(), Some(Event::Detached));
            } else {
                assert_eq!(attached.wait().await.unwrap(), exited(0));
            }
            assert_eq!(attached.into_client().is_some(), detach);
        };
        let inside = async {
            agent.request().await;
            agent.say(&Reply::Started { pid: 2 }).await;
            assert_eq!(agent.frame().await, Some(Frame::Data(Stream::Input, b"abc".to_vec())));
            assert_eq!(agent.frame().await, Some(Frame::Data(Stream::Input, Vec::new())));
            if detach {
                assert_eq!(agent.request().await, Request::Detach);
                agent.say(&Reply::Done).await;
            } else {
                agent.say(&Reply::Exited(exited(0))).await;
            }
        };
        tokio::join!(manager, inside);
    }
}

/// EN-3
#[tokio::test]
async fn an_end_that_crosses_a_detach_is_told_and_the_connection_is_not_given_back() {
    let (client, mut agent) = connected().await;
    let manager = async {
        let mut attached = client.exec(exec("a"), Vec::new()).await.unwrap();
        attached.sender.detach().await.unwrap();
        assert_eq!(attached.next().await.unwrap(), Some(Event::Exited(exited(0))));
        assert!(attached.into_client().is_none());
    };
    let inside = async {
        agent.request().await;
        agent.say(&Reply::Started { pid: 2 }).await;
        agent.request().await;
        agent.say(&Reply::Exited(exited(0))).await;
        agent.say(&failed(FailureCode::OutOfTurn)).await;
    };
    tokio::join!(manager, inside);
}

/// EN-3
#[tokio::test]
async fn input_that_was_dropped_midway_leaves_whole_frames() {
    let (client, mut agent) = connected().await;
    let (attached, ()) = tokio::join!(client.exec(Exec { stdin: true, ..exec("a") }, Vec::new()), async {
        agent.request().await;
        agent.say(&Reply::Started { pid: 2 }).await;
    });
    let mut attached = attached.unwrap();
    // More than the stream holds, so that it stops within a frame.
    assert!(poll_once(attached.sender.input(&[1; 50_000])).await.is_none());
    tokio::join!(async { attached.sender.signal(15).await.unwrap() }, async {
        assert_eq!(agent.frame().await, Some(Frame::Data(Stream::Input, vec![1; 50_000])));
        assert_eq!(agent.request().await, Request::SignalAttached { signal: 15 });
    });
}

/// EN-5
#[tokio::test]
async fn a_write_that_fails_inside_is_told_while_bytes_still_go() {
    let (client, mut agent) = connected().await;
    let manager = async {
        let mut writer = client.file_write("/a", None).await.unwrap();
        loop {
            match writer.write(&[0; 100_000]).await {
                Ok(()) => {}
                Err(AgentError::Failed { code, .. }) => break assert_eq!(code, FailureCode::DiskFull),
                Err(other) => panic!("{other}"),
            }
        }
    };
    let inside = async {
        agent.request().await;
        agent.frame().await;
        // From here on it reads nothing more.
        agent.say(&failed(FailureCode::DiskFull)).await;
        agent
    };
    tokio::join!(manager, inside);
}

/// EN-5
#[tokio::test]
async fn a_write_that_was_dropped_midway_cannot_be_finished() {
    let (client, mut agent) = connected().await;
    let (writer, _) = tokio::join!(client.file_write("/a", None), agent.request());
    let mut writer = writer.unwrap();
    assert!(poll_once(writer.write(&[1; 50_000])).await.is_none());
    assert!(matches!(writer.write(b"more").await, Err(AgentError::Abandoned)));
    assert!(matches!(writer.finish().await, Err(AgentError::Abandoned)));
}

/// EN-5
#[tokio::test]
async fn a_files_bytes_can_be_read_as_a_stream_and_a_failure_midway_is_no_end() {
    let stat = Stat { kind: FileKind::File, size: 9, mode: 0o100644, modified_ms: 0 };
    for fails in [false, true] {
        let (client, mut agent) = connected().await;
        let manager = async {
            let (stat, mut reader) = client.file_read("/a", 0, None).await.unwrap();
            assert_eq!(stat.mode, 0o644);
            let mut bytes = Vec::new();
            let mut part = [0; 4];
            let outcome = loop {
                match reader.read(&mut part).await {
                    Ok(0) => break Ok(()),
                    Ok(count) => bytes.extend_from_slice(&part[..count]),
                    Err(error) => break Err(error),
                }
            };
            assert_eq!(bytes, b"012345678");
            assert_eq!(outcome.is_err(), fails);
            assert_eq!(reader.into_client().is_some(), !fails);
        };
        let inside = async {
            agent.request().await;
            agent.say(&Reply::File { stat: stat.clone() }).await;
            agent.data(Stream::Output, b"01234").await;
            agent.data(Stream::Output, b"5678").await;
            agent.say(&if fails { failed(FailureCode::Io) } else { Reply::Done }).await;
        };
        tokio::join!(manager, inside);
    }
}

/// EN-6
#[tokio::test]
async fn each_direction_of_a_dialled_port_ends_on_its_own_and_breaking_off_is_no_end() {
    for breaks in [false, true] {
        let (client, mut agent) = connected().await;
        let manager = async {
            let mut stream = client.dial(80).await.unwrap();
            stream.write_all(b"question").await.unwrap();
            stream.shutdown().await.unwrap();
            assert!(stream.write_all(b"more").await.is_err());
            let mut answer = Vec::new();
            let outcome = stream.read_to_end(&mut answer).await;
            assert_eq!(answer, b"answer");
            let kind = outcome.err().map(|error| error.kind());
            assert_eq!(kind, breaks.then_some(std::io::ErrorKind::UnexpectedEof));
        };
        let inside = async {
            assert_eq!(agent.request().await, Request::Dial { port: 80 });
            agent.say(&Reply::Done).await;
            assert_eq!(agent.frame().await, Some(Frame::Data(Stream::Input, b"question".to_vec())));
            assert_eq!(agent.frame().await, Some(Frame::Data(Stream::Input, Vec::new())));
            agent.data(Stream::Output, b"answer").await;
            if !breaks {
                agent.data(Stream::Output, b"").await;
            }
            drop(agent);
        };
        tokio::join!(manager, inside);
    }
}
