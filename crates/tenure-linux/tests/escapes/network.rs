//! Sockets that would lead out.

use crate::ground::{Inside, keeper};
use crate::trials;
use libtest_mimic::Trial;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

pub fn trials() -> Vec<Trial> {
    trials![
        only_harmless_socket_families_open,
        the_hosts_loopback_is_another,
        the_hosts_unix_sockets_are_out_of_reach,
        there_is_no_way_to_a_network,
        the_agents_own_socket_is_out_of_reach,
    ]
}

/// EN-2
async fn only_harmless_socket_families_open() {
    let inside = Inside::new(keeper(0)).await;
    let program = r#"
families = {1, 2, 10, 16}
for family in range(64):
    for kind in (1, 2, 3, 5):
        for high in (0, 1 << 32):
            answer = call(SOCKET, family | high, kind, 0)
            if family not in families and answer != "EPERM": print("family", family, kind, answer)
            if family in families and high == 0 and kind == 2 and answer != "ok": print("family", family, answer)
    pair = (ctypes.c_int * 2)()
    answer = call(SOCKETPAIR, family, 1, 0, pair)
    if family not in families and answer != "EPERM": print("pair", family, answer)
for protocol in range(1, 64):
    for high in (0, 1 << 32):
        answer = call(SOCKET, 16, 3, protocol | high)
        if answer != "EPERM": print("netlink", protocol, answer)
# Raw packets, by each of their names: also the old one that the kernel takes for a packet socket.
for family, kind, protocol in ((2, 3, 1), (2, 3, 6), (2, 3, 255), (10, 3, 58), (10, 3, 255), (2, 10, 0x300), (2, 10, 3)):
    answer = call(SOCKET, family, kind, protocol)
    if answer != "EPERM": print("raw", family, kind, protocol, answer)
"#
    .replace("SOCKETPAIR", &libc::SYS_socketpair.to_string())
    .replace("SOCKET", &libc::SYS_socket.to_string());
    assert_eq!(inside.python(&program).await.ok(), "");
}

/// EN-2
async fn the_hosts_loopback_is_another() {
    let inside = Inside::new(keeper(0)).await;
    let four = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut ports = vec![("127.0.0.1", four.local_addr().unwrap().port())];
    let six = TcpListener::bind("[::1]:0").ok();
    ports.extend(six.iter().map(|six| ("::1", six.local_addr().unwrap().port())));
    for (address, port) in ports {
        let connect = format!("print(attempt(lambda: socket.create_connection(({address:?}, {port}), 5)))");
        assert_eq!(inside.python(&connect).await.ok(), "ECONNREFUSED\n", "{address}");
    }
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_nonblocking(true).unwrap();
    let port = udp.local_addr().unwrap().port();
    inside.python(&format!("socket.socket(2, 2).sendto(b'x', ('127.0.0.1', {port}))")).await.ok();
    assert!(udp.recv(&mut [0; 8]).is_err(), "nothing arrives");
    // And what listens inside is not heard outside.
    let program = "import socket\ns = socket.socket(); s.bind(('0.0.0.0', 34999)); s.listen(); print('on', flush=True); time.sleep(1000)";
    let mut listener = inside.start(crate::ground::inside::python(program)).await;
    crate::ground::inside::soon(listener.next()).await.unwrap();
    assert!(std::net::TcpStream::connect("127.0.0.1:34999").is_err());
    crate::ground::inside::soon(inside.connect().await.dial(34999)).await.expect("by its agent it is reached");
}

/// EN-2
async fn the_hosts_unix_sockets_are_out_of_reach() {
    let inside = Inside::new(keeper(0)).await;
    let name = format!("tenure-test-{}", std::process::id());
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let _named = UnixListener::bind(&path).unwrap();
    let program = format!(
        r#"
for address in ("\0{name}", {path:?}, "/run/dbus/system_bus_socket", "/run/systemd/private", "/var/run/docker.sock"):
    print(attempt(lambda: socket.socket(socket.AF_UNIX).connect(address)))
"#
    );
    let answers = inside.python(&program).await.ok();
    assert_eq!(answers, "ECONNREFUSED\nENOENT\nENOENT\nENOENT\nENOENT\n");
    let listed = inside.sh("cat /proc/net/unix").await.ok();
    assert!(!listed.contains(&name), "{listed}");
}

/// EN-2
async fn there_is_no_way_to_a_network() {
    let inside = Inside::new(keeper(0)).await;
    let program = r#"
print([line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]])
print(open("/proc/net/route").read().count("\n"))
# An address for documentation; without a route no packet is made.
print(attempt(lambda: socket.socket(2, 2).connect(("192.0.2.1", 9))))
print(attempt(lambda: socket.socket(10, 2).connect(("2001:db8::1", 9))))
"#;
    assert_eq!(inside.python(program).await.ok(), "['lo']\n1\nENETUNREACH\nENETUNREACH\n");
    // User 0 inside has no rights over the network either.
    let exec = tenure_protocol::Exec {
        user: Some("0".into()),
        ..crate::ground::inside::python(
            r#"
import struct
s = socket.socket(2, 2)
import fcntl
print(attempt(lambda: fcntl.ioctl(s, 0x8914, struct.pack("16sH22x", b"lo", 0))))
"#,
        )
    };
    assert_eq!(inside.run(exec).await.ok(), "EPERM\n");
}

/// EN-2
async fn the_agents_own_socket_is_out_of_reach() {
    let inside = Inside::new(keeper(0)).await;
    // Its name is listed where its network namespace lists sockets; it leads nowhere from in here.
    let program = r#"
for line in open("/proc/net/unix").readlines()[1:]:
    words = line.split()
    if len(words) < 8: continue
    address = words[7].replace("@", "\0")
    answer = attempt(lambda: socket.socket(socket.AF_UNIX).connect(address))
    if answer == "ok": print(words)
"#;
    assert_eq!(inside.python(program).await.ok(), "");
    inside.answers().await;
}
