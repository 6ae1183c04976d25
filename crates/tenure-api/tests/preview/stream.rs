//! What streams through a preview, in either direction, and never stands still in memory.

use crate::house::{House, SOON, head, header, status};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MEBIBYTE: usize = 1 << 20;
const LARGE: usize = 100 * MEBIBYTE;
/// What the streams between the two ends may hold together: sockets, the agent's connection, hyper on both sides.
const ON_THE_WAY: u64 = 16 * MEBIBYTE as u64;

/// EN-6
#[tokio::test]
async fn a_hundred_mebibytes_stream_out_and_a_slow_visitor_slows_the_server_down() {
    let house = House::open().await;
    let written = Arc::new(AtomicU64::new(0));
    let counted = written.clone();
    house.inside(move |mut stream| {
        let counted = counted.clone();
        async move {
            head(&mut stream).await;
            let said = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
            stream.write_all(said.as_bytes()).await.unwrap();
            let chunk = vec![b'x'; 64 << 10];
            for _ in 0..LARGE / chunk.len() {
                stream.write_all(&chunk).await.unwrap();
                counted.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            }
            let _ = stream.shutdown().await;
        }
    });
    let mut visitor = TcpStream::connect(house.address).await.unwrap();
    let request = format!("GET {}/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", house.own_path());
    visitor.write_all(request.as_bytes()).await.unwrap();
    // Nobody reads: the server inside comes to a stand.
    let mut before = 1;
    while written.load(Ordering::Relaxed) != before {
        before = written.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(before > 0 && before < ON_THE_WAY, "{before} bytes are on the way");
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        let count = tokio::time::timeout(SOON, visitor.read(&mut buffer)).await.unwrap().unwrap();
        if count == 0 {
            break;
        }
        total += count;
    }
    assert!(total > LARGE && total < LARGE + 4096, "{total}");
    assert_eq!(written.load(Ordering::Relaxed), LARGE as u64);
}

/// EN-6
#[tokio::test]
async fn an_upload_streams_in_and_a_slow_server_slows_the_visitor_down() {
    const SIZE: usize = 32 * MEBIBYTE;
    for chunked in [false, true] {
        let house = House::open().await;
        let (begin, begun) = tokio::sync::watch::channel(false);
        house.inside(move |mut stream| {
            let mut begun = begun.clone();
            async move {
                let asked = head(&mut stream).await;
                begun.wait_for(|begun| *begun).await.unwrap();
                let is_chunked = header(&String::from_utf8_lossy(&asked), "transfer-encoding").is_some();
                let mut buffer = vec![0; 64 << 10];
                let mut read = 0;
                let mut last = Vec::new();
                while (is_chunked && !last.ends_with(b"0\r\n\r\n")) || (!is_chunked && read < SIZE) {
                    let count = stream.read(&mut buffer).await.unwrap();
                    assert_ne!(count, 0, "after {read}");
                    read += count;
                    last = buffer[count.saturating_sub(16)..count].to_vec();
                }
                let said = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Read: {read}\r\nX-Chunked: {is_chunked}\r\n\r\n"
                );
                let _ = stream.write_all(said.as_bytes()).await;
            }
        });
        let visitor = TcpStream::connect(house.address).await.unwrap();
        let (mut from, mut to) = visitor.into_split();
        let length = if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {SIZE}") };
        let path = house.own_path();
        let sent = Arc::new(AtomicU64::new(0));
        let counted = sent.clone();
        let upload = tokio::spawn(async move {
            let said = format!("POST {path}/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{length}\r\n\r\n");
            to.write_all(said.as_bytes()).await.unwrap();
            let piece = vec![b'y'; 64 << 10];
            for _ in 0..SIZE / piece.len() {
                if chunked {
                    to.write_all(b"10000\r\n").await.unwrap();
                }
                to.write_all(&piece).await.unwrap();
                if chunked {
                    to.write_all(b"\r\n").await.unwrap();
                }
                counted.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
            if chunked {
                to.write_all(b"0\r\n\r\n").await.unwrap();
            }
            to
        });
        let mut before = 1;
        while sent.load(Ordering::Relaxed) != before {
            before = sent.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        assert!(before < ON_THE_WAY, "{before} bytes are on the way");
        begin.send_replace(true);
        let mut heard = Vec::new();
        tokio::time::timeout(SOON, from.read_to_end(&mut heard)).await.unwrap().unwrap();
        let heard = String::from_utf8_lossy(&heard).into_owned();
        assert_eq!(status(&heard), 200, "{heard}");
        let read: usize = header(&heard, "x-read").unwrap().parse().unwrap();
        assert!(read >= SIZE, "{read}");
        assert_eq!(header(&heard, "x-chunked").unwrap(), chunked.to_string());
        drop(upload.await.unwrap());
    }
}

/// EN-6
#[tokio::test]
async fn events_arrive_one_by_one() {
    let house = House::open().await;
    let (next, wanted) = tokio::sync::watch::channel(0);
    house.inside(move |mut stream| {
        let mut wanted = wanted.clone();
        async move {
            head(&mut stream).await;
            let said = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(said.as_bytes()).await.unwrap();
            for event in 1..=3 {
                stream.write_all(format!("9\r\ndata: {event}\n\n\r\n").as_bytes()).await.unwrap();
                wanted.wait_for(|wanted| *wanted >= event).await.unwrap();
            }
            stream.write_all(b"0\r\n\r\n").await.unwrap();
        }
    });
    let mut visitor = TcpStream::connect(house.address).await.unwrap();
    let request = format!("GET {}/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", house.own_path());
    visitor.write_all(request.as_bytes()).await.unwrap();
    let mut heard = String::new();
    for event in 1..=3 {
        while !heard.contains(&format!("data: {event}")) {
            let mut buffer = [0; 4096];
            let count = tokio::time::timeout(SOON, visitor.read(&mut buffer)).await.unwrap().unwrap();
            assert_ne!(count, 0, "{heard}");
            heard += &String::from_utf8_lossy(&buffer[..count]);
        }
        next.send_replace(event);
    }
    assert_eq!(header(&heard, "content-type").as_deref(), Some("text/event-stream"));
}

/// EN-6
#[tokio::test]
async fn answers_without_a_body_are_answers_without_a_body() {
    let house = House::open().await;
    let path = format!("{}/", house.own_path());
    house.inside_says("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    let heard = house.send(&crate::house::request("HEAD", &path, "localhost", &[])).await;
    assert_eq!((status(&heard), header(&heard, "content-length").as_deref()), (200, Some("1000")), "{heard}");
    house.inside_says("HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n");
    let heard = house.get(&path, "localhost", &[("If-None-Match", "\"e\"")]).await;
    assert!(status(&heard) == 304 && heard.ends_with("\r\n\r\n"), "{heard}");
    house.inside_says("HTTP/1.1 204 No Content\r\n\r\n");
    let heard = house.get(&path, "localhost", &[]).await;
    assert!(status(&heard) == 204 && heard.ends_with("\r\n\r\n"), "{heard}");
}

/// EN-6
#[tokio::test]
async fn a_visitor_who_leaves_is_not_waited_for() {
    let house = House::open().await;
    let (gone, mut left) = tokio::sync::watch::channel(false);
    house.inside(move |mut stream| {
        let gone = gone.clone();
        async move {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            while stream.write_all(b"5\r\nhello\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            gone.send_replace(true);
        }
    });
    let mut visitor = TcpStream::connect(house.address).await.unwrap();
    let request = format!("GET {}/ HTTP/1.1\r\nHost: localhost\r\n\r\n", house.own_path());
    visitor.write_all(request.as_bytes()).await.unwrap();
    visitor.read_u8().await.unwrap();
    drop(visitor);
    tokio::time::timeout(SOON, left.wait_for(|left| *left)).await.expect("the server inside hears of it").unwrap();
}
