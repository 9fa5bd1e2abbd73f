//! The harness: one world, one application, calls by operation name, and a memory of what was seen.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use seawall_domain::AbuseOptions;
use seawall_domain::testing::World;
use seawall_tests::server::sign;
use seawall_web::testing::{TestHost, app_with};
use seawall_web::{App, Limits, Origin, Surface, routes};
use serde_json::{Value, json};

/// (operation, `ok` or error code) pairs of all answers.
#[derive(Clone, Default)]
pub struct Seen(Rc<RefCell<BTreeSet<(String, String)>>>);

impl Seen {
    pub fn take(&self) -> BTreeSet<(String, String)> {
        self.0.take()
    }
}

/// Who calls.
#[derive(Clone, Copy)]
pub enum As<'a> {
    Nobody,
    Bearer(&'a str),
    Server,
}

/// One call, built up.
pub struct Ask<'a> {
    pub op: &'a str,
    pub path: Vec<String>,
    pub query: String,
    pub who: As<'a>,
    pub body: Vec<u8>,
    pub headers: Vec<(&'static str, String)>,
}

/// Status, code or `ok`, body.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub code: String,
    pub body: Value,
    pub headers: http::HeaderMap,
}

impl Answer {
    pub fn text(&self, pointer: &str) -> String {
        self.body
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status < 300, "{} {}", self.status, self.body);
        self
    }

    /// Refused with exactly this code, and in the shape every refusal has.
    #[track_caller]
    pub fn refused(self, code: &str) -> Self {
        assert_eq!(self.code, code, "{} {}", self.status, self.body);
        let header = |name: &str| {
            self.headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        assert!(header("content-type").starts_with("application/problem+json"));
        assert_eq!(self.body["status"], self.status);
        assert_eq!(
            self.text("/request_id"),
            header("x-request-id"),
            "the same id in body and header"
        );
        assert!(!self.text("/detail").is_empty());
        if self.status == 429 || self.status == 503 {
            let ms = self.body["retry_after_ms"]
                .as_u64()
                .expect("retry_after_ms on 429 and 503");
            let seconds: u64 = header("retry-after").parse().expect("Retry-After on 429 and 503");
            assert!(seconds >= 1 && seconds * 1000 >= ms);
        }
        if self.status == 401 {
            assert!(!header("www-authenticate").is_empty());
        }
        self
    }
}

/// The application and its world.
pub struct Api {
    pub world: World,
    /// The process around the application; may be troubled.
    pub host: TestHost,
    app: App,
    runtime: tokio::runtime::Runtime,
    seen: Seen,
}

static NONCES: AtomicU64 = AtomicU64::new(1);

/// A nonce nobody used in this process.
pub fn nonce() -> String {
    format!("nonce-{:08}", NONCES.fetch_add(1, Ordering::Relaxed))
}

impl Api {
    pub fn new(seen: &Seen) -> Self {
        Self::with(World::new().expect("a world"), Limits::default(), seen)
    }

    pub fn with_limits(&self, limits: Limits) -> Self {
        Self::with(World::new().expect("a world"), limits, &self.seen)
    }

    /// The same application with limits against abuse.
    pub fn with_abuse(&self, abuse: AbuseOptions) -> Self {
        let world = World::with_abuse(abuse).expect("a world");
        Self::with(world, Limits::default(), &self.seen)
    }

    fn with(world: World, limits: Limits, seen: &Seen) -> Self {
        let host = TestHost::default();
        let app = app_with(&world, host.clone(), limits);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        Self {
            world,
            host,
            app,
            runtime,
            seen: seen.clone(),
        }
    }

    /// Sends a request as it is and notes the answer under `op`.
    pub fn send(&self, op: &str, request: Request<Bytes>) -> Answer {
        let response = self.runtime.block_on(async {
            let response = self.app.call(0, request).await;
            tokio::task::yield_now().await; // what runs in the background has its turn
            response
        });
        self.noted(op, response)
    }

    fn noted(&self, op: &str, response: http::Response<Bytes>) -> Answer {
        let (parts, bytes) = response.into_parts();
        let body: Value = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        let status = parts.status.as_u16();
        let code = if status < 400 {
            "ok".to_owned()
        } else {
            body["code"].as_str().unwrap_or("no code").to_owned()
        };
        self.seen.0.borrow_mut().insert((op.to_owned(), code.clone()));
        Answer {
            status,
            code,
            body,
            headers: parts.headers,
        }
    }

    /// Calls as a client at an address.
    pub fn call_from(&self, ip: [u8; 4], op: &str, body: &Value) -> Answer {
        let request = self.request(&Ask {
            op,
            path: Vec::new(),
            query: String::new(),
            who: As::Nobody,
            body: body.to_string().into_bytes(),
            headers: Vec::new(),
        });
        let mut origin = Origin::in_process(&Surface::ALL, 0, [7; 16]);
        origin.client.ip = Some(ip.into());
        let response = self.runtime.block_on(self.app.call_from(&Arc::new(origin), request));
        self.noted(op, response)
    }

    /// Sends a request through a listener that serves only the host `play.example`.
    pub fn send_to_named_host(&self, op: &str, request: Request<Bytes>) -> Answer {
        let mut origin = Origin::in_process(&Surface::ALL, 0, [7; 16]);
        Arc::make_mut(&mut origin.listener).hosts = vec!["play.example".into()];
        let response = self.runtime.block_on(self.app.call_from(&Arc::new(origin), request));
        self.noted(op, response)
    }

    pub fn request(&self, ask: &Ask<'_>) -> Request<Bytes> {
        let route = routes::find(ask.op).unwrap_or_else(|| panic!("no route {}", ask.op));
        let params: Vec<&str> = ask.path.iter().map(String::as_str).collect();
        let mut target = route.path_with(&params);
        if !ask.query.is_empty() {
            target = format!("{target}?{}", ask.query);
        }
        let mut builder = Request::builder()
            .method(route.method())
            .uri(&target)
            .header("host", "sdk.test");
        if !ask.body.is_empty() {
            builder = builder
                .header("content-type", "application/json")
                .header("content-length", ask.body.len());
        }
        if let As::Bearer(token) = ask.who {
            builder = builder.header("authorization", format!("Bearer {token}"));
        }
        if let As::Server = ask.who {
            for (name, value) in self.signature(route.method().as_str(), &target, &nonce(), &ask.body) {
                builder = builder.header(name, value);
            }
        }
        let mut request = builder.body(Bytes::from(ask.body.clone())).expect("a request");
        for (name, value) in &ask.headers {
            request.headers_mut().insert(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).expect("a header"),
            );
        }
        request
    }

    /// The four headers of a signed call.
    pub fn signature(&self, method: &str, target: &str, nonce: &str, body: &[u8]) -> [(&'static str, String); 4] {
        let timestamp = (seawall_domain::ports::Clock::now_at(&*self.world.clock) / 1000).to_string();
        let signature = sign(&self.world.secret, method, target, &timestamp, nonce, body).expect("a signature");
        [
            ("seawall-key-id", self.world.key_id.to_string()),
            ("seawall-timestamp", timestamp),
            ("seawall-nonce", nonce.to_owned()),
            ("seawall-signature", signature),
        ]
    }

    pub fn ask(&self, ask: &Ask<'_>) -> Answer {
        self.send(ask.op, self.request(ask))
    }

    /// A call with a JSON body (none when null).
    pub fn call(&self, op: &str, who: As<'_>, body: &Value) -> Answer {
        self.call_at(op, &[], "", who, body)
    }

    pub fn call_at(&self, op: &str, path: &[&str], query: &str, who: As<'_>, body: &Value) -> Answer {
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        let mut headers = Vec::new();
        if op == "player.logout" {
            headers.push(("idempotency-key", nonce()));
        }
        self.ask(&Ask {
            op,
            path,
            query: query.to_owned(),
            who,
            body: bytes,
            headers,
        })
    }

    // What scenarios say over and over.

    pub fn client(&self, install_id: &str) -> Value {
        json!({"package_id": self.world.package_id.to_string(), "os": "android", "device": {"install_id": install_id}})
    }

    pub fn entry(&self, credential: &Value, install_id: &str) -> Value {
        json!({"game_id": self.world.game_id.to_string(), "credential": credential, "client": self.client(install_id)})
    }

    pub fn register(&self, name: &str) -> Answer {
        self.call(
            "account.create",
            As::Nobody,
            &self.entry(&named(name), &format!("device-{name}")),
        )
        .ok()
    }

    pub fn guest(&self, install_id: &str) -> Answer {
        self.call(
            "account.create",
            As::Nobody,
            &self.entry(&json!({"kind": "guest"}), install_id),
        )
        .ok()
    }

    pub fn log_in(&self, name: &str, install_id: &str) -> Answer {
        self.call("session.create", As::Nobody, &self.entry(&named(name), install_id))
    }

    pub fn verify(&self, token: &str) -> Answer {
        self.call("session.verify", As::Server, &json!({"token": token})).ok()
    }

    /// Changes settings of the world's game.
    pub fn set_game(&self, change: &Value) {
        self.call_at(
            "game.update",
            &[&self.world.game_id.to_string()],
            "",
            As::Nobody,
            change,
        )
        .ok();
    }
}

/// The username credential of a name.
pub fn named(name: &str) -> Value {
    json!({"kind": "username", "username": name, "password": format!("{name} secret")})
}
