//! Servers inside that mean harm: each is answered for in time, with a status, and without growing.

use crate::house::{House, SOON, header, status};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a server inside says, and that the visitor hears 502 for it.
async fn unreachable(answer: impl Into<Vec<u8>>) {
    let answer = answer.into();
    let house = House::open().await;
    house.inside_says(answer.clone());
    let heard = tokio::time::timeout(SOON, house.get_by_key("/")).await.expect("in time");
    let said = String::from_utf8_lossy(&answer[..answer.len().min(200)]).into_owned();
    assert_eq!(status(&heard), 502, "{said:?} was answered with {heard}");
    assert!(heard.contains("PREVIEW_UNREACHABLE"));
}

/// EN-6
#[tokio::test]
async fn what_is_no_http_is_502() {
    for answer in [
        "",
        "\0\0\0\0",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "hello\r\n\r\n",
        "HTTP/0.9 200 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nNo colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nName : value\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: value\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        unreachable(answer).await;
    }
}

/// EN-6
#[tokio::test]
async fn two_lengths_at_once_are_502() {
    for lengths in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 6",
        "Content-Length: -1",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Content-Length: 99999999999999999999999",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    ] {
        let house = House::open().await;
        house.inside_says(format!("HTTP/1.1 200 OK\r\n{lengths}\r\n\r\nhello"));
        let heard = house.get_by_key("/").await;
        // Whatever is made of it, the visitor gets one message with one length, and its end.
        let framed = header(&heard, "content-length").is_some() ^ header(&heard, "transfer-encoding").is_some();
        assert!(status(&heard) == 502 || (framed && heard.matches("HTTP/1.1").count() == 1), "{lengths}: {heard}");
        if lengths.starts_with("Content-Length") {
            assert_eq!(status(&heard), 502, "{lengths}: {heard}");
        }
    }
}

/// EN-6
#[tokio::test]
async fn a_length_beside_chunks_does_not_pass() {
    let house = House::open().await;
    let second = "HTTP/1.1 200 OK\r\nX-Smuggled: yes\r\nContent-Length: 0\r\n\r\n";
    house.inside_says(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{second}"
    ));
    let heard = house.get_by_key("/").await;
    assert!(status(&heard) == 502 || header(&heard, "content-length").as_deref() != Some("3"), "{heard}");
    assert!(!heard.contains("X-Smuggled"), "{heard}");
}

/// EN-6
#[tokio::test]
async fn what_comes_after_an_answer_is_not_the_next_one() {
    let house = House::open().await;
    house.inside_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nX-Smuggled: yes\r\n\r\n");
    let path = format!("{}/", house.own_path());
    let twice = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let last = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let heard = house.send(&(twice + &last)).await;
    assert_eq!(heard.matches("HTTP/1.1 200 OK").count(), 2, "{heard}");
    assert!(!heard.contains("X-Smuggled") && !heard.contains("x-smuggled"), "{heard}");
}

/// EN-6
#[tokio::test]
async fn heads_without_measure_are_502() {
    let long = "x".repeat(70_000);
    unreachable(format!("HTTP/1.1 200 OK\r\nX-Long: {long}\r\n\r\n")).await;
    unreachable(format!("HTTP/1.1 200 {long}\r\n\r\n")).await;
    let many: String = (0..2000).map(|n| format!("X-{n}: 1\r\n")).collect();
    unreachable(format!("HTTP/1.1 200 OK\r\n{many}\r\n")).await;
}

/// EN-6
#[tokio::test]
async fn a_head_without_end_is_502() {
    for (start, piece) in [
        ("HTTP/1.1 200 OK\r\n", "X-More: more\r\n"),
        ("HTTP/1.1 200 OK\r\nX-Long: ", "xxxxxxxxxxxxxxxx"),
        ("", "\r\n"),
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
    ] {
        let house = House::open().await;
        house.inside(move |mut stream| async move {
            let _ = stream.write_all(start.as_bytes()).await;
            while stream.write_all(piece.repeat(100).as_bytes()).await.is_ok() {}
        });
        let heard = house.get_by_key("/").await;
        assert_eq!(status(&heard), 502, "{piece:?}: {heard}");
    }
}

/// EN-6
#[tokio::test]
async fn early_answers_are_swallowed_and_the_real_one_passes() {
    let house = House::open().await;
    house.inside_says(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let heard = house.get_by_key("/").await;
    assert!(status(&heard) == 200 && heard.ends_with("ok") && !heard.contains("103"), "{heard}");
}

/// EN-6
#[tokio::test]
async fn switching_to_what_nobody_asked_for_is_502() {
    unreachable("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n").await;
    unreachable("HTTP/1.1 101 Switching Protocols\r\n\r\n").await;
}

/// EN-6
#[tokio::test]
async fn a_body_shorter_than_promised_is_cut_and_not_ended() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
    ] {
        let house = House::open().await;
        house.inside_says(answer);
        let heard = house.get_by_key("/").await;
        let whole =
            heard.ends_with("0\r\n\r\n") || heard.split("\r\n\r\n").nth(1).is_some_and(|body| body.len() == 100);
        assert!(!whole, "{answer:?} was passed on as if it were whole: {heard}");
    }
}

/// EN-6
#[tokio::test]
async fn chunks_with_endless_words_beside_them_are_cut() {
    let house = House::open().await;
    house.inside(|mut stream| async move {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(b"5;").await;
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    let heard = house.get_by_key("/").await;
    assert!(!heard.ends_with("0\r\n\r\n"), "{heard}");
}

/// EN-6
#[tokio::test]
async fn trailers_do_not_pass() {
    let house = House::open().await;
    house.inside_says(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Set-Cookie\r\n\r\n2\r\nok\r\n0\r\nSet-Cookie: a=b\r\n\r\n",
    );
    let path = format!("{}/", house.own_path());
    let heard = house.get(&path, "localhost", &[("TE", "trailers")]).await;
    assert!(heard.contains("ok") && !heard.to_lowercase().contains("set-cookie"), "{heard}");
}

/// EN-6, TM-6
#[tokio::test]
async fn a_server_that_says_nothing_holds_a_visitor_only_until_the_session_ends() {
    let house = House::open().await;
    house.inside(|mut stream| async move {
        let mut nothing = Vec::new();
        let _ = stream.read_to_end(&mut nothing).await;
    });
    let (heard, ()) = tokio::join!(house.get_by_key("/"), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        house.end().await;
    });
    assert_eq!(status(&heard), 410, "{heard}");
}

/// EN-6, TM-6
#[tokio::test]
async fn a_body_without_end_is_cut_when_the_session_ends() {
    let house = House::open().await;
    house.inside(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        while stream.write_all(b"5\r\nhello\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let (heard, ()) = tokio::join!(house.get_by_key("/"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        house.end().await;
    });
    assert!(status(&heard) == 200 && heard.contains("hello") && !heard.ends_with("0\r\n\r\n"), "{heard}");
}

/// EN-6
#[tokio::test]
async fn a_server_that_listens_is_asked_by_one_request_however_the_visitor_frames_it() {
    let house = House::open().await;
    let seen = house.inside_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let path = format!("{}/", house.own_path());
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for lengths in [
        format!("Content-Length: {}\r\nContent-Length: 0", smuggled.len()),
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked", smuggled.len()),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x".to_owned(),
        "Transfer-Encoding: xchunked".to_owned(),
    ] {
        seen.clear();
        let mut stream = TcpStream::connect(house.address).await.unwrap();
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lengths}\r\n\r\n{smuggled}");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut heard = Vec::new();
        let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut heard)).await.expect("in time");
        let text = seen.text();
        let framed = header(&text, "content-length").is_some() && header(&text, "transfer-encoding").is_some();
        assert!(!framed && text.matches("HTTP/1.1").count() <= 1, "{lengths}: {text}");
    }
}
