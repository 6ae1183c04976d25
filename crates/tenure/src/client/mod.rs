//! Talking to a server: where it is, with which key, and what its answers mean for whoever called.

mod events;
mod reach;
mod socket;

pub use events::Events;
pub use reach::Reach;
pub use socket::Socket;

use crate::failure::{CliCode, Code, Failure, Kind};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde_json::{Map, Value};

/// Most bytes of a problem that are looked at.
const PROBLEM_MAX: usize = 1 << 20;

/// A server, and who we are to it.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    key: String,
    lease_token: Option<String>,
}

impl Client {
    /// The address of this path, each part of it one segment.
    pub fn url(&self, path: &[&str]) -> Result<Url, Failure> {
        // Such a segment would be dropped, and the request would go elsewhere.
        if let Some(wrong) = path.iter().find(|part| part.is_empty() || **part == "." || **part == "..") {
            return Err(Failure::new(Code::InvalidFormat, format!("{wrong:?} is no name of anything")));
        }
        let mut url = self.base.clone();
        let segments = url.path_segments_mut().map(|mut segments| {
            segments.pop_if_empty().push("v1").extend(path);
        });
        segments
            .map_err(|()| Failure::new(CliCode::Usage, format!("{} cannot be the address of a server", self.base)))?;
        Ok(url)
    }

    /// Where the server is.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// A request to this path.
    pub fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> Result<RequestBuilder, Failure> {
        let request = self.http.request(method, self.url(path)?).bearer_auth(&self.key);
        let request = if query.is_empty() { request } else { request.query(query) };
        Ok(match &self.lease_token {
            Some(token) => request.header("tenure-lease-token", token),
            None => request,
        })
    }

    /// The same server, for the holder of this lease.
    pub fn holding(&self, token: u64) -> Client {
        Client { lease_token: Some(token.to_string()), ..self.clone() }
    }

    /// Sends a request; what is no success becomes a failure.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() { Ok(response) } else { Err(problem(response).await) }
    }

    async fn json(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let response = self.send(request).await?;
        let bytes = response.bytes().await.map_err(|error| broken(&error))?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|error| not_ours(&format!("its answer is no JSON: {error}")))
    }

    /// Reads.
    pub async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, Failure> {
        self.json(self.request(Method::GET, path, query)?).await
    }

    /// Does something.
    pub async fn post(&self, path: &[&str], body: &Value) -> Result<Value, Failure> {
        let request = self.request(Method::POST, path, &[])?;
        self.json(if body.is_null() { request } else { request.json(body) }).await
    }

    /// Does what the path and the query say.
    pub async fn post_to(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, Failure> {
        self.json(self.request(Method::POST, path, query)?).await
    }

    /// Removes something.
    pub async fn delete(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, Failure> {
        self.json(self.request(Method::DELETE, path, query)?).await
    }

    /// Follows what happens.
    pub async fn events(&self, request: RequestBuilder) -> Result<Events, Failure> {
        Ok(Events::new(self.send(request.header("accept", "text/event-stream")).await?))
    }

    /// One page of a list, or with `all` every page of it as one.
    pub async fn list(&self, path: &[&str], query: &[(&str, &str)], all: bool) -> Result<Value, Failure> {
        let mut first = self.get(path, query).await?;
        let mut next = first["next_cursor"].as_str().map(str::to_owned);
        while let (true, Some(cursor)) = (all, next) {
            let mut query: Vec<_> = query.iter().copied().filter(|(name, _)| *name != "cursor").collect();
            query.push(("cursor", &cursor));
            let mut page = self.get(path, &query).await?;
            if let (Some(items), Some(more)) = (first["items"].as_array_mut(), page["items"].as_array_mut()) {
                items.append(more);
            }
            next = page["next_cursor"].as_str().map(str::to_owned);
            first["next_cursor"] = page["next_cursor"].take();
        }
        Ok(first)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        if error.is_connect() { self.nobody_answers() } else { broken(error) }
    }

    fn nobody_answers(&self) -> Failure {
        let message = format!("no server answers at {}", self.base);
        Failure::new(Code::Unavailable, message)
            .hint("start one with `tenure serve`, or say where it is with --url or TENURE_URL")
    }
}

/// The connection ended before the answer did.
pub fn broken(error: &reqwest::Error) -> Failure {
    let mut chain = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        chain += &format!(": {cause}");
        source = cause.source();
    }
    Failure::new(Code::Unavailable, format!("the connection to the server broke: {chain}"))
}

fn not_ours(why: &str) -> Failure {
    Failure::new(CliCode::NotOurs, format!("what answered is no Tenure server: {why}"))
}

async fn problem(mut response: Response) -> Failure {
    let status = response.status();
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > PROBLEM_MAX {
            break;
        }
    }
    match serde_json::from_slice::<Map<String, Value>>(&bytes) {
        Ok(problem) => of_problem(problem, status.as_u16()),
        Err(_) => not_ours(&format!("it says {status}, and not why")),
    }
}

/// A problem document as a failure: its code, its words, and in the details whatever else it says.
pub fn of_problem(mut problem: Map<String, Value>, status: u16) -> Failure {
    let Some(code) = problem.remove("code").and_then(|code| code.as_str().map(str::to_owned)) else {
        return not_ours(&format!("it says {status}, and gives no code"));
    };
    let mut text = |name: &str| problem.remove(name).and_then(|value| value.as_str().map(str::to_owned));
    let (detail, title, hint) = (text("detail"), text("title"), text("hint"));
    let _ = (text("type"), problem.remove("status"));
    let failure = Failure::new(Kind::of_server(&code, status), detail.or(title).unwrap_or_else(|| code.clone()));
    // Whoever is denied learns that, and nothing else.
    if code == Code::AccessDenied.row().name {
        return failure;
    }
    let allowed = problem.get("allowed_transitions").and_then(Value::as_array).map(|states| {
        let states: Vec<&str> = states.iter().filter_map(Value::as_str).collect();
        if states.is_empty() { "it has ended".to_owned() } else { format!("it can become {}", states.join(", ")) }
    });
    let hint = allowed.or(hint);
    let failure = failure.details(Value::Object(problem));
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
