//! What every driver promises of ports inside.

use super::{connect, shell, soon, start};
use crate::driver::Environment;
use crate::error::AgentError;
use tenure_protocol::FailureCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PORT: u16 = 34_567;

/// Whichever of these there is listens once, reads to the end, and sends all of it back with a word before it.
const LISTENER: &str = r#"
command -v python3 >/dev/null && exec python3 -c '
import socket
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", 34567)); s.listen(); print("listening", flush=True)
c, _ = s.accept(); data = b""
while True:
    part = c.recv(65536)
    if not part: break
    data += part
c.sendall(b"heard " + data); c.close()'
command -v perl >/dev/null && exec perl -e '
use Socket; $| = 1;
socket(S, PF_INET, SOCK_STREAM, 0) or die; setsockopt(S, SOL_SOCKET, SO_REUSEADDR, 1);
bind(S, sockaddr_in(34567, inet_aton("127.0.0.1"))) or die; listen(S, 5) or die; print "listening\n";
accept(C, S) or die; local $/; my $data = <C>; print C "heard $data"; close C;'
echo listening; exec busybox nc -l -p 34567 -s 127.0.0.1 -e sh -c 'printf "heard "; cat'
"#;

/// EN-6: bytes travel both ways to a port inside, and each direction ends on its own.
pub async fn dial_reaches_a_listener(env: &dyn Environment) {
    let mut listener = start(env, shell(LISTENER)).await.expect("the listener starts");
    soon(listener.next()).await.expect("it says that it listens");
    let mut stream = loop {
        match soon(connect(env).await.dial(PORT)).await {
            Ok(stream) => break stream,
            // One that cannot say when it listens may need a moment more.
            Err(AgentError::Failed { code: FailureCode::Unreachable, .. }) => tokio::task::yield_now().await,
            Err(other) => panic!("{other}"),
        }
    };
    let sent: Vec<u8> = (0..300_000u32).map(|n| (n % 253) as u8).collect();
    soon(stream.write_all(&sent)).await.unwrap();
    soon(stream.shutdown()).await.unwrap();
    let mut heard = Vec::new();
    soon(stream.read_to_end(&mut heard)).await.unwrap();
    assert!(heard.strip_prefix(b"heard ") == Some(&sent), "what went in came out");
    soon(listener.wait()).await.expect("the listener ends");
}

/// EN-6: nobody listens, and that is what is said.
pub async fn dial_where_nobody_listens_is_unreachable(env: &dyn Environment) {
    let dialled = soon(connect(env).await.dial(PORT + 1)).await;
    assert!(matches!(&dialled, Err(AgentError::Failed { code: FailureCode::Unreachable, .. })), "{dialled:?}");
}
