//! Where a preview is found: by path and by host name, read and written.

use crate::ticket::is_token;
use tenure_session::SessionId;

/// A preview by path, as it was asked for: nothing of it is checked but how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PathPlace<'a> {
    /// The session.
    pub session: &'a str,
    /// The port.
    pub port: &'a str,
    /// The token, where the path carries one.
    pub token: Option<&'a str>,
    /// What is asked for inside, as it was written; nothing, where not even a slash follows.
    pub rest: Option<&'a str>,
}

/// A preview by host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostPlace {
    /// The session.
    pub session: SessionId,
    /// The port.
    pub port: u16,
}

/// The path of a preview, without a slash at its end.
pub(crate) fn path_of(session: &str, port: &str) -> String {
    format!("/v1/sessions/{session}/preview/{port}")
}

/// The host name of a preview.
pub(crate) fn host_name(session: &SessionId, port: u16, domain: &str) -> String {
    format!("{port}-{}.{domain}", session.compact())
}

impl<'a> PathPlace<'a> {
    /// Reads a path as it was written: nothing is decoded, so that nothing is hidden.
    pub fn read(path: &'a str) -> Option<PathPlace<'a>> {
        let (session, after) = path.strip_prefix("/v1/sessions/")?.split_once('/')?;
        let after = after.strip_prefix("preview/")?;
        let (port, rest) = cut(after);
        let place = PathPlace { session, port, token: None, rest };
        let Some((first, after)) = rest.and_then(|rest| rest.strip_prefix("/~")).map(cut) else { return Some(place) };
        match is_token(first) {
            true => Some(PathPlace { token: Some(first), rest: after, ..place }),
            false => Some(place),
        }
    }

    /// The path below which the visitor finds it: as it came, token and all.
    pub fn outside(&self) -> String {
        let path = path_of(self.session, self.port);
        match self.token {
            Some(token) => format!("{path}/~{token}"),
            None => path,
        }
    }
}

impl HostPlace {
    /// Reads a host name, with or without a port of its own, below this domain.
    pub fn read(host: &str, domain: &str) -> Option<HostPlace> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
        let label = name.strip_suffix(&domain.to_ascii_lowercase())?.strip_suffix('.')?;
        let (port, compact) = label.split_once('-')?;
        // Written in one way only: two names of one preview would be two origins.
        let port: u16 = port.parse().ok().filter(|number: &u16| *number >= 1024 && number.to_string() == port)?;
        Some(HostPlace { session: SessionId::from_compact(compact).ok()?, port })
    }
}

/// The text before the first slash, and from there on.
fn cut(text: &str) -> (&str, Option<&str>) {
    match text.find('/') {
        Some(at) => (&text[..at], Some(&text[at..])),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "pvt_0123456789012345678901234567890123456789012";

    fn check(path: &str, expected: Option<(&str, &str, Option<&str>, Option<&str>)>) {
        let read = PathPlace::read(path).map(|place| (place.session, place.port, place.token, place.rest));
        assert_eq!(read, expected, "{path}");
    }

    /// EN-6
    #[test]
    fn a_path_says_session_port_token_and_the_rest_as_it_was_written() {
        check("/v1/sessions/s/preview/8080", Some(("s", "8080", None, None)));
        check("/v1/sessions/s/preview/8080/", Some(("s", "8080", None, Some("/"))));
        check("/v1/sessions/s/preview/8080/a%2Fb/../c", Some(("s", "8080", None, Some("/a%2Fb/../c"))));
        check("/v1/sessions/s/preview/8080/~alice/x", Some(("s", "8080", None, Some("/~alice/x"))));
        let path = |after: &str| format!("/v1/sessions/s/preview/8080/~{TOKEN}{after}");
        check(&path("/"), Some(("s", "8080", Some(TOKEN), Some("/"))));
        check(&path("/a/b"), Some(("s", "8080", Some(TOKEN), Some("/a/b"))));
        check(&path(""), Some(("s", "8080", Some(TOKEN), None)));
        check("/v1/sessions/s/previews/8080", None);
        check("/v1/sessions/s", None);
    }

    /// EN-6
    #[test]
    fn a_host_name_is_written_in_one_way_and_reads_back() {
        let id: SessionId = "exec_20261121_020944_4ad060d9".parse().unwrap();
        let name = host_name(&id, 8080, "pre.example");
        assert_eq!(name, "8080-exec202611210209444ad060d9.pre.example");
        let place = Some(HostPlace { session: id, port: 8080 });
        assert_eq!(HostPlace::read(&name, "pre.example"), place);
        assert_eq!(HostPlace::read(&format!("{}:7070", name.to_uppercase()), "PRE.example"), place);
        for wrong in ["pre.example", ".pre.example", "8080-x.pre.example", "evil.example", "8080-é.pre.example"] {
            assert_eq!(HostPlace::read(wrong, "pre.example"), None, "{wrong}");
        }
        for port in ["80", "08080", "+8080", "65536", ""] {
            let wrong = name.replacen("8080", port, 1);
            assert_eq!(HostPlace::read(&wrong, "pre.example"), None, "{wrong}");
        }
        assert_eq!(HostPlace::read(&format!("x.{name}"), "pre.example"), None);
        assert_eq!(HostPlace::read(&name, "e.example"), None);
    }
}
