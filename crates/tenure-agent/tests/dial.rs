//! Dialling ports on the environment's loopback.

// The helpers below stand outside of test functions.
#![allow(clippy::unwrap_used)]

mod client;

use client::*;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use tenure_protocol::*;

fn dialled(agent: &Agent, port: u16) -> Connection {
    let mut connection = agent.connect();
    assert_eq!(connection.ask(&Request::Dial { port }), Reply::Done);
    connection
}

fn serve(listener: TcpListener, serve: impl FnOnce(TcpStream) + Send + 'static) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || serve(listener.accept().unwrap().0))
}

/// EN-6
#[test]
fn bytes_travel_both_ways_and_each_direction_ends_on_its_own() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(address) else {
            println!("skipped: this host has no {address}");
            continue;
        };
        let port = listener.local_addr().unwrap().port();
        let agent = Agent::start();
        let server = serve(listener, |mut stream| {
            let mut request = Vec::new();
            stream.read_to_end(&mut request).unwrap();
            request.reverse();
            stream.write_all(&request).unwrap();
        });
        let mut connection = dialled(&agent, port);
        let sent: Vec<u8> = (0..2_000_000u32).map(|index| (index % 253) as u8).collect();
        connection.data(&sent);
        connection.data(b"");
        let mut seen = Vec::new();
        loop {
            match connection.frame() {
                Frame::Data(Stream::Output, bytes) if bytes.is_empty() => break,
                Frame::Data(Stream::Output, bytes) => seen.extend(bytes),
                other => panic!("{other:?}"),
            }
        }
        server.join().unwrap();
        assert!(seen.iter().eq(sent.iter().rev()), "{} bytes", seen.len());
        assert_eq!(connection.ask(&Request::Ping), Reply::Done, "the connection is free again");
    }
}

/// EN-6
#[test]
fn the_other_side_may_end_first() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let agent = Agent::start();
    let server = serve(listener, |mut stream| {
        stream.write_all(b"welcome").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "still here");
    });
    let mut connection = dialled(&agent, port);
    assert_eq!(connection.frame(), Frame::Data(Stream::Output, b"welcome".to_vec()));
    assert_eq!(connection.frame(), Frame::Data(Stream::Output, vec![]));
    connection.data(b"still here");
    connection.data(b"");
    server.join().unwrap();
}

/// EN-6
#[test]
fn a_slow_reader_holds_back_the_sender_and_nobody_else() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let agent = Agent::start();
    let server = serve(listener, |mut stream| {
        stream.write_all(&vec![7; 30_000_000]).unwrap();
    });
    let mut connection = dialled(&agent, port);
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(agent.connect().ask(&Request::Ping), Reply::Done);
    assert!(!server.is_finished(), "it waits");
    let mut seen = 0;
    while seen < 30_000_000 {
        match connection.frame() {
            Frame::Data(Stream::Output, bytes) => seen += bytes.len(),
            other => panic!("{other:?}"),
        }
    }
    server.join().unwrap();
}

/// EN-6
#[test]
fn a_port_on_which_nobody_listens_is_unreachable() {
    let agent = Agent::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut connection = agent.connect();
    assert_eq!(connection.refused(&Request::Dial { port }), FailureCode::Unreachable);
    assert_eq!(connection.refused(&Request::Dial { port: 0 }), FailureCode::Invalid);
    assert_eq!(connection.ask(&Request::Ping), Reply::Done);
}

/// EN-6
#[test]
fn a_reset_is_not_taken_for_an_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let agent = Agent::start();
    let server = serve(listener, |mut stream| {
        stream.read_exact(&mut [0]).unwrap();
        let linger = Some(std::time::Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(&stream, linger).unwrap();
    });
    let mut connection = dialled(&agent, port);
    connection.data(b"x");
    server.join().unwrap();
    assert!(connection.is_closed());
}

/// EN-6
#[test]
fn the_port_sees_when_its_manager_is_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let agent = Agent::start();
    let server = serve(listener, |mut stream| {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    });
    drop(dialled(&agent, port));
    server.join().unwrap();
}
