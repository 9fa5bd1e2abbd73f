//! A bare hyper handler with the cryptography of a token check and nothing else: what hyper itself costs.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use seawall_tests::server::{Failure, hex};
use sha2::{Digest, Sha256};

use crate::load::Target;
use crate::process::Process;

/// The handler as a process of its own.
pub struct Bare {
    process: Process,
    address: SocketAddr,
}

impl Bare {
    /// Starts it with a server key's secret; it answers so many bytes.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(secret: &str, answer_bytes: usize) -> Result<Self, Failure> {
        let arguments = ["hyper", secret, &answer_bytes.to_string()].map(str::to_owned);
        let (process, line) = Process::part(&arguments)?;
        Ok(Self {
            process,
            address: line.parse()?,
        })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Plain HTTP to it.
    #[must_use]
    pub fn target(&self) -> Target {
        Target::plain(self.address)
    }
}

struct Handler {
    secret: String,
    mac_key: [u8; 32],
    answer: Bytes,
}

/// The body of the process: prints its address and serves until it is killed.
///
/// # Errors
/// When it cannot listen.
pub fn serve(secret: &str, answer_bytes: usize) -> Result<(), Failure> {
    let handler = Arc::new(Handler {
        secret: secret.to_owned(),
        mac_key: [7; 32],
        answer: Bytes::from("x".repeat(answer_bytes)),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpSocket::new_v4()?;
        listener.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let listener = listener.listen(4096)?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let handler = Arc::clone(&handler);
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let handler = Arc::clone(&handler);
                    async move { Ok::<_, Infallible>(handler.respond(request).await) }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    })
}

impl Handler {
    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let good = match body.collect().await {
            Ok(body) => self.check(&parts, &body.to_bytes()).is_some(),
            Err(_) => false,
        };
        let mut response = Response::new(Full::new(self.answer.clone()));
        if !good {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        let json = http::HeaderValue::from_static("application/json");
        response.headers_mut().insert(http::header::CONTENT_TYPE, json);
        response
    }

    /// The signature over the body, and the MAC over the token. The MAC's key is not the server's, so its value is used but not compared.
    fn check(&self, parts: &http::request::Parts, body: &[u8]) -> Option<()> {
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let digest = hex(&Sha256::digest(body));
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).ok()?;
        let lines = [
            parts.method.as_str(),
            parts.uri.path(),
            header("seawall-timestamp")?,
            header("seawall-nonce")?,
            &digest,
        ];
        mac.update(lines.join("\n").as_bytes());
        if hex(&mac.finalize().into_bytes()) != header("seawall-signature")? {
            return None;
        }
        let ask: Ask<'_> = serde_json::from_slice(body).ok()?;
        let token = URL_SAFE_NO_PAD.decode(ask.token.strip_prefix("sw1.")?).ok()?;
        std::hint::black_box(blake3::keyed_hash(&self.mac_key, &token));
        Some(())
    }
}

#[derive(serde::Deserialize)]
struct Ask<'a> {
    token: &'a str,
}
