//! A WebSocket to a server: terminals.

use super::{Client, not_ours, of_problem};
use crate::failure::{CliCode, Code, Failure};
use serde_json::{Map, Value};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio_tungstenite::{WebSocketStream, client_async};

/// A WebSocket.
pub type Socket = WebSocketStream<TcpStream>;

impl Client {
    /// Opens a WebSocket at this path.
    pub async fn socket(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Socket, Failure> {
        let mut url = self.url(path)?;
        url.query_pairs_mut().extend_pairs(query);
        let usage = |why: String| Failure::new(CliCode::Usage, format!("{url} cannot be asked: {why}"));
        let text = url.as_str().replacen("http", "ws", 1);
        let mut request = text.into_client_request().map_err(|error| usage(error.to_string()))?;
        self.credentials(request.headers_mut())?;
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, url.port_or_known_default().unwrap_or(80))).await;
        let stream = stream.map_err(|_| self.nobody_answers())?;
        // Keys are small, and waited for.
        stream.set_nodelay(true)?;
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(socket),
            Err(Error::Http(answer)) => Err(refused(answer.status(), answer.body().as_deref().unwrap_or_default())),
            Err(error) => Err(Failure::new(Code::Unavailable, format!("the connection to the server broke: {error}"))),
        }
    }

    fn credentials(&self, headers: &mut HeaderMap) -> Result<(), Failure> {
        let written = |text: &str, what: &str| {
            let value = HeaderValue::from_str(text);
            value.map_err(|_| Failure::new(CliCode::Usage, format!("{what} cannot be written in a header")))
        };
        headers.insert("authorization", written(&format!("Bearer {}", self.key), "the API key")?);
        if let Some(token) = &self.lease_token {
            let name = HeaderName::from_static("tenure-lease-token");
            headers.insert(name, written(token, "the lease's token")?);
        }
        Ok(())
    }
}

fn refused(status: StatusCode, body: &[u8]) -> Failure {
    match serde_json::from_slice::<Map<String, Value>>(body) {
        Ok(problem) => of_problem(problem, status.as_u16()),
        Err(_) => not_ours(&format!("it says {status}, and not why")),
    }
}
