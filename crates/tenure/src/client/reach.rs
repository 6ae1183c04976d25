//! Which server is meant, and with which key: from flags and variables, or, on the server's own host, from its data directory.

use super::Client;
use crate::command::template_remote::is_served;
use crate::config::{Config, Sources};
use crate::failure::{CliCode, Code, Failure};
use reqwest::Url;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The file in the data directory that holds the first administrator's key.
const ADMIN_KEY: &str = "admin.key";

/// What is known of the server before it is asked.
#[derive(Debug, Clone)]
pub struct Reach {
    /// Its address, where one was given.
    pub url: Option<String>,
    /// The key, where one was given.
    pub api_key: Option<String>,
    /// The token of the lease that the caller holds.
    pub lease_token: Option<String>,
    /// Where the configuration of this host is found, which is only looked at where something is missing.
    pub sources: Sources,
    /// Whether to say what is being done.
    pub verbose: bool,
}

impl Reach {
    /// Makes the client. Nothing is sent yet.
    pub fn client(&self) -> Result<Client, Failure> {
        let base = match &self.url {
            Some(url) => parse(url)?,
            None => parse(&format!("http://{}", callable(self.config()?.listen)))?,
        };
        let key = match &self.api_key {
            Some(key) => key.clone(),
            None => self.found_key(&base)?,
        };
        let mut http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        if is_loopback(&base) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
        Ok(Client { http, base, key, lease_token: self.lease_token.clone() })
    }

    fn config(&self) -> Result<Config, Failure> {
        self.sources.resolve()
    }

    /// The key of this host's own server. It is sent to nobody who is not on this host, and only while that server runs.
    fn found_key(&self, base: &Url) -> Result<String, Failure> {
        let missing = |message: String| {
            Failure::new(Code::Unauthenticated, message).hint("set TENURE_API_KEY; `tenure key create` makes keys")
        };
        if !is_loopback(base) {
            return Err(missing("there is no API key for this server".into()));
        }
        let data_dir = self.config()?.data_dir;
        let path = data_dir.join(ADMIN_KEY);
        match std::fs::read_to_string(&path) {
            Ok(_) if !is_served(&data_dir) => {
                // Somebody else may listen there now, and must not get to see the key.
                let message = format!("no server has the data directory {}", data_dir.display());
                Err(Failure::new(Code::Unavailable, message)
                    .hint("start one with `tenure serve`, or set TENURE_URL and TENURE_API_KEY for another"))
            }
            Ok(key) => {
                if self.verbose {
                    eprintln!("tenure: no TENURE_API_KEY is set; using the administrator's key in {}", path.display());
                }
                Ok(key.trim().to_owned())
            }
            Err(error) => Err(missing(format!("there is no API key: {}: {error}", path.display()))),
        }
    }
}

fn parse(text: &str) -> Result<Url, Failure> {
    let url: Url = text
        .parse()
        .map_err(|error| Failure::new(CliCode::Usage, format!("{text:?} is no address of a server: {error}")))?;
    match url.scheme() {
        "http" => Ok(url),
        "https" => Err(Failure::new(CliCode::Usage, format!("{text} asks for TLS, which this command does not speak"))
            .hint(
                "name a proxy on this host that speaks TLS to the server, or the server itself by http:// on loopback",
            )),
        other => Err(Failure::new(CliCode::Usage, format!("a server is reached by http, not by {other}"))),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    }
}

/// Where a server that listens here is called on its own host.
fn callable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
