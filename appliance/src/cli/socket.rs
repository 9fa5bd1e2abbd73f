//! Asks a running server over its admin socket: HTTP/1.1, one connection, kept open between requests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use super::ask::{AdminClient, Answer, Answering, Ask, Body};
use super::failure::Failure;

/// Longest wait for an answer; a chunk of an import and a whole `db stats` stay far below it.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// Largest answer.
const ANSWER_MAX_BYTES: usize = 64 << 20;

type Sender = http1::SendRequest<Full<Bytes>>;

/// A client of the admin socket.
pub struct SocketClient {
    path: PathBuf,
    sender: Mutex<Sender>,
}

impl SocketClient {
    /// Connects; `None` when nobody listens there.
    ///
    /// # Errors
    /// When somebody listens but may not be asked (not root), or does not answer.
    pub async fn connect(path: &Path) -> Result<Option<Self>, Failure> {
        let stream = match UnixStream::connect(path).await {
            Ok(stream) => stream,
            Err(error) if nobody_listens(&error) => return Ok(None),
            Err(error) => {
                return Err(Failure::file(
                    path,
                    "connected to (the admin socket is for root and the server's own user)",
                    &error,
                ));
            }
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(path, &error))?;
        tokio::spawn(connection);
        Ok(Some(Self {
            path: path.to_owned(),
            sender: Mutex::new(sender),
        }))
    }

    async fn exchange(&self, ask: Ask) -> Result<Answer, Failure> {
        let mut sender = self.sender.lock().await;
        sender.ready().await.map_err(|error| broken(&self.path, &error))?;
        let answer = sender
            .send_request(request(ask)?)
            .await
            .map_err(|error| broken(&self.path, &error))?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), ANSWER_MAX_BYTES).collect().await;
        let bytes = body
            .map_err(|error| Failure::Failed(format!("{}: the answer was cut off: {error}", self.path.display())))?
            .to_bytes();
        read_answer(status, &bytes)
    }
}

/// The HTTP request of `ask`.
pub fn request(ask: Ask) -> Result<Request<Full<Bytes>>, Failure> {
    let (content_type, bytes) = match ask.body {
        Body::None => (None, Vec::new()),
        Body::Json(bytes) => (Some("application/json"), bytes),
        Body::Raw(bytes) => (Some("application/octet-stream"), bytes),
    };
    let mut request = Request::builder()
        .method(ask.method)
        .uri(ask.path)
        .header(header::HOST, "localhost");
    if let Some(content_type) = content_type {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    request
        .body(Full::new(Bytes::from(bytes)))
        .map_err(|error| Failure::Usage(format!("no such request can be made: {error}")))
}

/// Reads an answer's body.
pub fn read_answer(status: u16, bytes: &[u8]) -> Result<Answer, Failure> {
    let body = match bytes {
        [] => serde_json::Value::Null,
        _ => serde_json::from_slice(bytes)
            .map_err(|error| Failure::Failed(format!("the answer ({status}) is no JSON: {error}")))?,
    };
    Ok(Answer { status, body })
}

impl AdminClient for SocketClient {
    fn call(&self, ask: Ask) -> Answering<'_> {
        Box::pin(async move {
            match tokio::time::timeout(ANSWER_MAX, self.exchange(ask)).await {
                Ok(answer) => answer,
                Err(_) => Err(Failure::Failed(format!(
                    "{}: no answer within {} s",
                    self.path.display(),
                    ANSWER_MAX.as_secs()
                ))),
            }
        })
    }

    fn is_running(&self) -> bool {
        true
    }
}

fn nobody_listens(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused
    )
}

fn broken(path: &Path, error: &hyper::Error) -> Failure {
    Failure::Failed(format!(
        "{}: the connection to the server broke: {error}",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn a_missing_and_an_abandoned_socket_mean_not_running() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        assert!(SocketClient::connect(&path).await.unwrap().is_none());
        drop(UnixListener::bind(&path).unwrap());
        assert!(SocketClient::connect(&path).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn requests_are_asked_over_one_connection() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = String::new();
            for _ in 0..2 {
                let mut bytes = vec![0; 4096];
                let got = stream.read(&mut bytes).await.unwrap();
                seen += &String::from_utf8_lossy(&bytes[..got]);
                stream
                    .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 12\r\n\r\n{\"code\":\"x\"}")
                    .await
                    .unwrap();
            }
            seen
        });
        let client = SocketClient::connect(&path).await.unwrap().unwrap();
        for _ in 0..2 {
            let answer = client
                .call(Ask::post("/admin/v1/realms").json(&serde_json::json!({ "name": "a" })))
                .await
                .unwrap();
            assert_eq!((answer.status, answer.body["code"].as_str()), (404, Some("x")));
        }
        let seen = server.await.unwrap();
        assert_eq!(seen.matches("POST /admin/v1/realms HTTP/1.1").count(), 2);
        assert!(
            seen.contains("content-type: application/json") && seen.contains("{\"name\":\"a\"}"),
            "{seen}"
        );
    }
}
