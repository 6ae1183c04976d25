//! Which host names the door answers to, and from which pages it takes what changes something.
//!
//! A page of somebody else's can have its name resolve to this service's address, and then talk to it as its own origin. It cannot choose what the browser
//! writes into `Host`: so only names that are known to be the service's own are answered.

use http::{HeaderMap, header};
use std::net::IpAddr;

/// The names that the door answers to.
pub(crate) struct Hosts {
    names: Vec<String>,
    addresses: Vec<IpAddr>,
    every_address: bool,
    preview_suffix: Option<String>,
}

impl Hosts {
    /// The configured names, the loopback's, the addresses that it listens on, and previews.
    pub fn new(names: Vec<String>, listen: Vec<IpAddr>, preview_domain: Option<&str>) -> Hosts {
        let names = names.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        let every_address = listen.iter().any(IpAddr::is_unspecified);
        let preview_suffix = preview_domain.map(|domain| format!(".{}", domain.to_ascii_lowercase()));
        Hosts { names, addresses: listen, every_address, preview_suffix }
    }

    /// Whether a host name, with or without a port, is one of the service's.
    pub fn holds(&self, host: &str) -> bool {
        let Some(name) = name_of(host) else { return false };
        if name.eq_ignore_ascii_case("localhost") {
            return true;
        }
        if let Ok(address) = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return address.is_loopback() || self.every_address || self.addresses.contains(&address);
        }
        self.names.iter().any(|known| known.eq_ignore_ascii_case(name)) || self.is_preview(host)
    }

    /// Whether it is the host name of a preview.
    pub fn is_preview(&self, host: &str) -> bool {
        match (&self.preview_suffix, name_of(host)) {
            (Some(suffix), Some(name)) => name.to_ascii_lowercase().ends_with(suffix.as_str()),
            _ => false,
        }
    }
}

/// The host name that a request was sent to.
pub(crate) fn host(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::HOST).iter();
    let host = all.next()?.to_str().ok()?;
    all.next().is_none().then_some(host)
}

/// Whether a request comes from no page, or from a page of this service's own.
pub(crate) fn same_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Some(origin) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else { return false };
    host(headers).is_some_and(|host| host.eq_ignore_ascii_case(origin.1))
}

/// The name without the port; `None` where it is no host at all.
fn name_of(host: &str) -> Option<&str> {
    let (name, rest) = match host.strip_prefix('[') {
        Some(inside) => {
            let end = inside.find(']')? + 2;
            host.split_at(end)
        }
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port_holds = rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    (!name.is_empty() && port_holds).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hosts: &Hosts, host: &str, holds: bool) {
        assert_eq!(hosts.holds(host), holds, "{host}");
    }

    /// AU-2
    #[test]
    fn only_the_services_own_names_are_answered() {
        let hosts =
            Hosts::new(vec!["Tenure.example".to_owned()], vec!["10.0.0.7".parse().unwrap()], Some("pre.example"));
        check(&hosts, "localhost:7070", true);
        check(&hosts, "127.0.0.1", true);
        check(&hosts, "[::1]:7070", true);
        check(&hosts, "10.0.0.7:80", true);
        check(&hosts, "10.0.0.8:80", false);
        check(&hosts, "tenure.EXAMPLE", true);
        check(&hosts, "tenure.example.evil.example", false);
        check(&hosts, "8080-exec20261121020944aabbccdd.pre.example", true);
        check(&hosts, "evil.example", false);
        check(&hosts, "", false);
        check(&hosts, "localhost:x", false);
        check(&hosts, "[::1", false);
    }
}
