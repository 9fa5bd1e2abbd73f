//! Every route answers over the real platform on the memory engine: what goes in is what its types say, what comes out
//! decodes with them, and the gates in front of it hold.

use std::collections::BTreeSet;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{Request, Response};
use parking_lot::Mutex;
use seawall_domain::testing::World;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::listener::{BoundAddress, Listener, ListenerConfig, Server};
use crate::origin::Surface;
use crate::routes::{ROUTES, find};
use crate::testing::{PATIENCE, app_over, code};
use crate::{App, Limits, wire};

/// A platform, its application, and which operations were called.
struct Api {
    world: World,
    app: App,
    called: Mutex<BTreeSet<&'static str>>,
    nonces: Mutex<u64>,
}

impl Api {
    fn new() -> Self {
        let world = World::new().unwrap();
        let app = app_over(&world, Limits::default());
        Api {
            world,
            app,
            called: Mutex::default(),
            nonces: Mutex::new(0),
        }
    }

    /// Calls an operation with its path parameters, extra headers and a JSON body.
    async fn ask(&self, op: &str, params: &[&str], headers: &[(&str, &str)], body: &Value) -> Response<Bytes> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.ask_raw(op, &find(op).unwrap().path_with(params), headers, body)
            .await
    }

    async fn ask_raw(&self, op: &str, path: &str, headers: &[(&str, &str)], body: String) -> Response<Bytes> {
        let route = find(op).unwrap();
        self.called.lock().insert(route.op);
        let mut request = Request::builder()
            .method(route.method())
            .uri(path)
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if matches!(route.auth, crate::route::Auth::Signed { .. }) {
            for (name, value) in self.signature(path, &body) {
                request = request.header(name, value);
            }
        }
        self.app.call(0, request.body(Bytes::from(body)).unwrap()).await
    }

    fn signature(&self, path: &str, body: &str) -> [(&'static str, String); 4] {
        let mut nonces = self.nonces.lock();
        *nonces += 1;
        let nonce = format!("nonce-{nonces:08}");
        let timestamp = (seawall_domain::testing::START_AT / 1000).to_string();
        let digest = hex(&Sha256::digest(body.as_bytes()));
        let signed = format!("POST\n{path}\n{timestamp}\n{nonce}\n{digest}");
        let mut mac = Hmac::<Sha256>::new_from_slice(self.world.secret.as_bytes()).unwrap();
        mac.update(signed.as_bytes());
        let signature = hex(&mac.finalize().into_bytes());
        let key_id = self.world.key_id.to_string();
        [
            ("seawall-key-id", key_id),
            ("seawall-timestamp", timestamp),
            ("seawall-nonce", nonce),
            ("seawall-signature", signature),
        ]
    }

    fn client(&self) -> Value {
        json!({ "package_id": self.world.package_id.to_string(), "os": "android", "device": { "install_id": "d-1" } })
    }

    fn login(&self, name: &str, create_if_missing: bool) -> Value {
        json!({
            "game_id": self.world.game_id.to_string(),
            "credential": { "kind": "username", "username": name, "password": format!("secret-{name}") },
            "client": self.client(),
            "create_if_missing": create_if_missing,
        })
    }

    async fn log_in(&self, name: &str) -> wire::LoggedIn {
        match decoded(&self.ask("session.create", &[], &[], &self.login(name, true)).await) {
            wire::SessionCreated::Session(login) => *login,
            wire::SessionCreated::Challenge { .. } => panic!("no challenge is set up"),
        }
    }

    async fn verify(&self, token: &str) -> wire::TokenStatus {
        decoded(&self.ask("session.verify", &[], &[], &json!({ "token": token })).await)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn decoded<T: DeserializeOwned>(answer: &Response<Bytes>) -> T {
    let text = String::from_utf8_lossy(answer.body());
    assert!(answer.status().is_success(), "{} {text}", answer.status());
    serde_json::from_slice(answer.body()).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn bearer(login: &wire::LoggedIn) -> String {
    format!("Bearer {}", login.session.access_token)
}

/// An application whose platform has not loaded its revocations, over a game that wants `settings`, with a good token.
async fn in_doubt(settings: Value) -> (Api, String) {
    let mut api = Api::new();
    let token = api.log_in("lin").await.session.access_token;
    let game = api.world.game_id.to_string();
    let _: wire::GameView = decoded(&api.ask("game.update", &[&game], &[], &settings).await);
    api.world.load_half().unwrap();
    api.app = app_over(&api.world, Limits::default());
    (api, token)
}

#[tokio::test]
async fn in_doubt_an_answer_is_503_at_once_or_held() {
    for (policy, hold_ms) in [("status_503", 4_000), ("hold", 4_000), ("hold", 0)] {
        let (api, token) = in_doubt(json!({ "unknown_policy": policy, "unknown_hold_ms": hold_ms })).await;
        // Not before: the store is no part of the paused time.
        tokio::time::pause();
        let began = tokio::time::Instant::now();
        let answer = api.ask("session.verify", &[], &[], &json!({ "token": token })).await;
        let waited_ms = began.elapsed().as_millis() as u64;
        assert_eq!(
            (answer.status().as_u16(), code(&answer).as_str()),
            (503, "platform.not_ready")
        );
        let expected_ms = if policy == "hold" { hold_ms } else { 0 };
        assert!(
            (expected_ms..expected_ms + 100).contains(&waited_ms),
            "{policy}: {waited_ms}"
        );
        tokio::time::resume();
    }
}

#[tokio::test]
async fn in_doubt_a_connection_may_end_without_an_answer() {
    let (api, token) = in_doubt(json!({ "unknown_policy": "drop" })).await;
    let config = ListenerConfig::new("test", "127.0.0.1:0".parse().unwrap(), &[Surface::Server]);
    let server = Server::start(
        vec![Listener::bind(config).unwrap()],
        api.app.clone(),
        &tokio::runtime::Handle::current(),
    )
    .unwrap();
    let BoundAddress::Tcp(address) = server.local_addresses()[0].1 else {
        panic!("no TCP address");
    };
    let (path, body) = ("/server/v1/sessions/verify", json!({ "token": token }).to_string());
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in api.signature(path, &body) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer));
    let _ = read.await.expect("the connection ends");
    assert_eq!(String::from_utf8_lossy(&answer), "");
}

#[tokio::test]
async fn a_held_answer_goes_out_as_soon_as_it_is_known() {
    let (api, token) = in_doubt(json!({ "unknown_policy": "hold", "unknown_hold_ms": 10_000 })).await;
    // Not before: the store is no part of the paused time.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let (status, ()) = tokio::join!(api.verify(&token), async {
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        api.world.load_rest().unwrap();
    });
    assert!(matches!(
        status,
        wire::TokenStatus::Valid {
            assurance: wire::Assurance::Full,
            ..
        }
    ));
    assert!(began.elapsed().as_millis() < 3_200);
}

#[tokio::test]
async fn a_game_may_take_the_mac_for_an_answer() {
    let (api, token) = in_doubt(json!({ "mac_only": true })).await;
    let status = api.verify(&token).await;
    assert!(matches!(
        status,
        wire::TokenStatus::Valid {
            assurance: wire::Assurance::MacOnly,
            ..
        }
    ));
}

#[tokio::test]
async fn a_player_registers_plays_and_leaves() {
    let api = Api::new();
    let body =
        json!({ "game_id": api.world.game_id.to_string(), "credential": { "kind": "guest" }, "client": api.client() });
    let answer = api.ask("account.create", &[], &[], &body).await;
    assert_eq!(answer.status(), 201);
    let wire::SessionCreated::Session(guest) = decoded(&answer) else {
        panic!()
    };
    assert!(guest.is_new_account && guest.guest_secret.is_some() && guest.server_time_at > 0);
    let auth = bearer(&guest);
    let auth = [("authorization", auth.as_str())];
    let bind = json!({ "credential": { "kind": "username", "username": "lin", "password": "secret-lin" } });
    let own: wire::OwnAccount = decoded(&api.ask("identity.bind", &[], &auth, &bind).await);
    assert_eq!(own.username.as_deref(), Some("lin"));
    let own: wire::OwnAccount = decoded(&api.ask("account.get", &[], &auth, &Value::Null).await);
    assert_eq!(own.account_id, guest.account_id);
    let sessions: wire::SessionList = decoded(&api.ask("session.list", &[], &auth, &Value::Null).await);
    assert!(sessions.sessions[0].is_current);
    let devices: wire::DeviceList = decoded(&api.ask("device.list", &[], &auth, &Value::Null).await);
    assert_eq!(devices.devices.len(), 1);
    let change = json!({ "old_password": "secret-lin", "new_password": "another one" });
    let _: wire::Acknowledged = decoded(&api.ask("account.change_password", &[], &auth, &change).await);
    let refresh = json!({ "refresh_token": guest.session.refresh_token });
    let next: wire::SessionRefreshed = decoded(&api.ask("session.refresh", &[], &[], &refresh).await);
    assert_eq!(next.player_id, guest.player_id);
    assert!(matches!(
        api.verify(&next.session.access_token).await,
        wire::TokenStatus::Valid { .. }
    ));
    let auth = format!("Bearer {}", next.session.access_token);
    let _: wire::Acknowledged = decoded(
        &api.ask("session.logout", &[], &[("authorization", &auth)], &Value::Null)
            .await,
    );
    let gone = api.verify(&next.session.access_token).await;
    assert_eq!(
        gone,
        wire::TokenStatus::Invalid {
            reason: wire::InvalidReason::Revoked
        }
    );
    let refused = api
        .ask("account.get", &[], &[("authorization", &auth)], &Value::Null)
        .await;
    assert_eq!(
        (refused.status().as_u16(), code(&refused).as_str()),
        (401, "session.invalid")
    );
}

#[tokio::test]
async fn a_game_server_checks_tokens_and_sends_a_player_away() {
    let api = Api::new();
    let login = api.log_in("lin").await;
    let token = login.session.access_token.as_str();
    match api.verify(token).await {
        wire::TokenStatus::Valid {
            player_id, assurance, ..
        } => {
            assert_eq!((player_id, assurance), (login.player_id, wire::Assurance::Full));
        }
        other => panic!("{other:?}"),
    }
    let batch = json!({ "tokens": [token, "junk"] });
    let answer: wire::VerifyBatchAnswer = decoded(&api.ask("session.verify_batch", &[], &[], &batch).await);
    assert!(matches!(answer.results[0], wire::TokenStatus::Valid { .. }));
    assert_eq!(
        answer.results[1],
        wire::TokenStatus::Invalid {
            reason: wire::InvalidReason::Malformed
        }
    );
    let away = json!({ "game_id": api.world.game_id.to_string(), "player_id": login.player_id.to_string() });
    let refused = api.ask("player.logout", &[], &[], &away).await;
    assert_eq!(
        (refused.status().as_u16(), code(&refused).as_str()),
        (400, "idempotency.required")
    );
    let key = [("idempotency-key", "k-1")];
    let first: wire::LoggedOut = decoded(&api.ask("player.logout", &[], &key, &away).await);
    let again: wire::LoggedOut = decoded(&api.ask("player.logout", &[], &key, &away).await);
    assert_eq!((first.session_count, again), (1, first));
    let other = api.log_in("mei").await.player_id.to_string();
    let other = json!({ "game_id": api.world.game_id.to_string(), "player_id": other });
    assert_eq!(
        code(&api.ask("player.logout", &[], &key, &other).await),
        "idempotency.mismatch"
    );
}

#[tokio::test]
async fn signatures_are_checked_over_exactly_what_was_sent() {
    let api = Api::new();
    let path = find("session.verify").unwrap().path;
    let signed = api.signature(path, r#"{"token":"a"}"#);
    let send = async |path: &str, body: &'static str, signed: &[(&'static str, String)]| {
        let mut request = Request::post(path).header("content-type", "application/json");
        for (name, value) in signed {
            request = request.header(*name, value);
        }
        api.app.call(0, request.body(Bytes::from(body)).unwrap()).await
    };
    assert_eq!(send(path, r#"{"token":"a"}"#, &signed).await.status(), 200);
    assert_eq!(
        send(path, r#"{"token":"a"}"#, &signed).await.status(),
        200,
        "a check may be repeated"
    );
    assert_eq!(
        code(&send(path, r#"{"token":"b"}"#, &signed).await),
        "signature.invalid"
    );
    assert_eq!(
        code(&send(&format!("{path}?x"), r#"{"token":"a"}"#, &signed).await),
        "signature.invalid"
    );
    assert_eq!(
        code(&send(path, r#"{"token":"a"}"#, &signed[1..]).await),
        "signature.missing"
    );
    api.world.clock.advance(400_000);
    let skewed = send(path, r#"{"token":"a"}"#, &signed).await;
    assert_eq!(code(&skewed), "signature.skewed");
}

#[tokio::test]
async fn a_repeated_registration_with_the_same_key_is_one() {
    let api = Api::new();
    let body =
        json!({ "game_id": api.world.game_id.to_string(), "credential": { "kind": "guest" }, "client": api.client() });
    let key = [("idempotency-key", "first-start")];
    let (once, twice) = (
        api.ask("account.create", &[], &key, &body).await,
        api.ask("account.create", &[], &key, &body).await,
    );
    let (once, twice): (Value, Value) = (decoded(&once), decoded(&twice));
    assert_eq!(
        (&once["account_id"], &once["guest_secret"]),
        (&twice["account_id"], &twice["guest_secret"])
    );
}

#[tokio::test]
async fn an_operator_keeps_the_catalogue_and_restricts() {
    let api = Api::new();
    let none: &[(&str, &str)] = &[];
    let realm: wire::RealmView = decoded(&api.ask("realm.create", &[], none, &json!({ "name": "europe" })).await);
    let realm_id = realm.realm_id.to_string();
    let update = json!({ "guests_allowed": false });
    let realm: wire::RealmView = decoded(&api.ask("realm.update", &[&realm_id], none, &update).await);
    assert!(!realm.guests_allowed);
    let realms: wire::RealmList = decoded(&api.ask("realm.list", &[], none, &Value::Null).await);
    assert_eq!(realms.realms.len(), 2);
    let create = json!({ "realm_id": realm_id, "name": "Stars", "settings": { "device_limit": 3 } });
    let game: wire::GameView = decoded(&api.ask("game.create", &[], none, &create).await);
    assert_eq!(game.settings.device_limit, Some(3));
    let game_id = game.game_id.to_string();
    let update = json!({ "device_limit": null, "cors_origins": ["https://play.example"] });
    let game: wire::GameView = decoded(&api.ask("game.update", &[&game_id], none, &update).await);
    assert_eq!(game.settings.device_limit, None);
    let shown: wire::GameView = decoded(&api.ask("game.show", &[&game_id], none, &Value::Null).await);
    assert_eq!(shown, game);
    let games: wire::GameList = decoded(&api.ask("game.list", &[], none, &Value::Null).await);
    assert_eq!(games.games.len(), 2);
    let create = json!({ "name": "official", "platform": "android", "channel_params": { "app_key": "s" } });
    let package: wire::PackageView = decoded(&api.ask("package.create", &[&game_id], none, &create).await);
    assert_eq!(package.channel_params, ["app_key"]);
    let packages: wire::PackageList = decoded(&api.ask("package.list", &[&game_id], none, &Value::Null).await);
    assert_eq!(packages.packages, [package]);
    let create = json!({ "name": "servers", "games": [game_id] });
    let key: wire::KeySecret = decoded(&api.ask("key.create", &[], none, &create).await);
    let key_id = key.key.key_id.to_string();
    let rotated: wire::KeySecret = decoded(&api.ask("key.rotate", &[&key_id], none, &Value::Null).await);
    assert!(rotated.secret != key.secret && rotated.key.previous_until_at.is_some());
    let revoked: wire::KeyView = decoded(&api.ask("key.revoke", &[&key_id], none, &Value::Null).await);
    assert!(revoked.revoked_at.is_some());
    let keys: wire::KeyList = decoded(&api.ask("key.list", &[], none, &Value::Null).await);
    assert_eq!(keys.keys.len(), 2);
    cors_follows_the_games(&api).await;
}

async fn cors_follows_the_games(api: &Api) {
    let full = app_over(
        &api.world,
        Limits {
            in_flight_max: 0,
            ..Limits::default()
        },
    );
    let preflight = Request::options("/sdk/v1/sessions")
        .header("origin", "https://play.example")
        .header("access-control-request-method", "POST");
    let preflight = full.call(0, preflight.body(Bytes::new()).unwrap()).await;
    assert_eq!(
        (
            preflight.status().as_u16(),
            &preflight.headers()["access-control-max-age"]
        ),
        (204, &"86400".parse().unwrap())
    );
    let ask = |origin: &'static str| {
        let request = Request::get("/sdk/v1/account")
            .header("origin", origin)
            .body(Bytes::new())
            .unwrap();
        api.app.call(0, request)
    };
    let allowed = ask("https://play.example").await;
    assert_eq!(allowed.headers()["access-control-allow-origin"], "https://play.example");
    assert!(
        allowed.headers()["access-control-expose-headers"]
            .to_str()
            .unwrap()
            .contains("retry-after")
    );
    assert!(
        !ask("https://evil.example")
            .await
            .headers()
            .contains_key("access-control-allow-origin")
    );
}

#[tokio::test]
async fn an_operator_looks_restricts_lifts_and_searches() {
    let api = Api::new();
    let none: &[(&str, &str)] = &[];
    let login = api.log_in("lin").await;
    let account_id = login.account_id.to_string();
    let path = |op: &str, query: &str| format!("{}?{query}", find(op).unwrap().path);
    for query in [
        format!("account_id={account_id}"),
        "username=lin&realm_id=1".to_owned(),
        format!("player_id={}&game_id={}", login.player_id, api.world.game_id),
    ] {
        let answer = api
            .ask_raw("account.show", &path("account.show", &query), none, String::new())
            .await;
        let account: wire::AccountView = decoded(&answer);
        assert_eq!(
            (account.account_id, account.session_count),
            (login.account_id, 1),
            "{query}"
        );
    }
    let ask =
        json!({ "subject": { "kind": "account", "account_id": account_id }, "action": "login", "reason": "cheating" });
    let restriction: wire::Restriction = decoded(&api.ask("account.restrict", &[], none, &ask).await);
    let denied = api.verify(&login.session.access_token).await;
    assert!(matches!(denied, wire::TokenStatus::Denied { code, .. } if code == "account.restricted"));
    let id = restriction.restriction_id.to_string();
    let _: wire::Restriction = decoded(&api.ask("account.lift", &[&id], none, &Value::Null).await);
    assert!(matches!(
        api.verify(&login.session.access_token).await,
        wire::TokenStatus::Valid { .. }
    ));
    let out = json!({ "account_id": account_id });
    let out: wire::LoggedOut = decoded(&api.ask("account.logout", &[], none, &out).await);
    assert_eq!(out.session_count, 1);
    let search = path("auth_log.search", &format!("account_id={account_id}"));
    let answer = api.ask_raw("auth_log.search", &search, none, String::new());
    let found: wire::AuthLogRecords = decoded(&answer.await);
    assert!(
        found
            .records
            .iter()
            .any(|record| record.op == "session.create" && record.result == "ok")
    );
}

#[tokio::test]
async fn an_import_goes_in_by_chunks_and_comes_back_out() {
    let api = Api::new();
    let none: &[(&str, &str)] = &[];
    let lines = "{\"uid\":5001,\"username\":\"old_lin\",\"password\":\"5f4dcc3b5aa765d61d8327deb882cf99\",\"password_recipe\":\"md5(password)\"}\n";
    let begin = json!({ "file_digest": "a".repeat(64), "realm_id": "1", "format": "ndjson" });
    let begun: wire::ImportProgress = decoded(&api.ask("import.begin", &[], none, &begin).await);
    let path = format!(
        "{}?offset_bytes=0",
        find("import.chunk").unwrap().path_with(&[&begun.import_id])
    );
    let chunked: wire::ImportChunked = decoded(&api.ask_raw("import.chunk", &path, none, lines.to_owned()).await);
    assert_eq!(
        (chunked.progress.created, chunked.bad_lines.len()),
        (1, 0),
        "{chunked:?}"
    );
    let again = api.ask_raw("import.chunk", &path, none, lines.to_owned()).await;
    assert_eq!(
        (again.status().as_u16(), code(&again).as_str()),
        (409, "import.conflict")
    );
    let path = format!("{}?realm_id=1", find("account.export").unwrap().path);
    let page: wire::AccountExport = decoded(&api.ask_raw("account.export", &path, none, String::new()).await);
    assert!(page.lines.iter().any(|line| line.contains("old_lin")));
    let done: wire::ImportProgress = decoded(
        &api.ask("import.finalize", &[&begun.import_id], none, &Value::Null)
            .await,
    );
    assert!(done.finalized_at.is_some());
}

#[tokio::test]
async fn health_and_documents_are_there() {
    let api = Api::new();
    let none: &[(&str, &str)] = &[];
    let health: crate::Health = decoded(&api.ask("platform.livez", &[], none, &Value::Null).await);
    assert_eq!(health.status, "alive");
    let health: crate::Health = decoded(&api.ask("platform.readyz", &[], none, &Value::Null).await);
    assert_eq!((health.status.as_str(), health.checks.len()), ("ready", 1));
    let started: crate::Startup = decoded(&api.ask("platform.startupz", &[], none, &Value::Null).await);
    assert!(started.is_done);
    let _: crate::Version = decoded(&api.ask("platform.version", &[], none, &Value::Null).await);
    let document: Value = decoded(&api.ask("platform.openapi", &[], none, &Value::Null).await);
    assert_eq!(document["openapi"], "3.1.0");
    for op in [
        "platform.status",
        "store.stats",
        "platform.stop",
        "backup.show",
        "backup.create",
        "backup.drill",
    ] {
        let _: Value = decoded(&api.ask(op, &[], none, &Value::Null).await);
    }
    let metrics = api.ask("platform.metrics", &[], none, &Value::Null).await;
    let text = String::from_utf8(metrics.body().to_vec()).unwrap();
    assert!(
        text.contains("seawall_http_requests_total{op=\"platform.livez\",outcome=\"ok\"} 1"),
        "{text}"
    );
    assert!(text.ends_with("# EOF\n"));
}

/// Where a subscriber writes to, for a test to read.
#[derive(Clone, Default)]
struct Log(std::sync::Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The log of the whole test binary from here on, our own crates only: other tests may run beside this one, and what
/// holds here holds for their lines too.
fn captured_log() -> Log {
    use tracing_subscriber::layer::SubscriberExt;
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(move || writer.clone());
    let ours = tracing_subscriber::filter::Targets::new().with_target("seawall", tracing::Level::TRACE);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines).with(ours)).unwrap();
    log
}

#[tokio::test]
async fn logs_name_the_request_and_hold_no_secret() {
    let log = captured_log();
    let api = Api::new();
    let login = api.log_in("lin").await;
    api.verify(&login.session.access_token).await;
    api.ask(
        "session.refresh",
        &[],
        &[],
        &json!({ "refresh_token": login.session.refresh_token }),
    )
    .await;
    let mut wrong = api.login("lin", false);
    wrong["credential"]["password"] = json!("not-the-password");
    let request_id = "5ec7e75ec7e75ec7e75ec7e75ec7e75e";
    let trace = format!("00-{request_id}-b7ad6b7169203331-01");
    let refused = api.ask("session.create", &[], &[("traceparent", &trace)], &wrong).await;
    assert_eq!(code(&refused), "credential.invalid");
    let text = String::from_utf8(log.0.lock().clone()).unwrap();
    let line = text
        .lines()
        .find(|line| line.contains(request_id))
        .expect("a line of the request");
    assert!(
        line.contains("session.create") && line.contains("status=401") && line.contains("game="),
        "{line}"
    );
    let session = &login.session;
    for secret in [
        "secret-lin",
        "not-the-password",
        &session.access_token,
        &session.refresh_token,
        &api.world.secret,
    ] {
        assert!(!text.contains(secret), "the log holds a secret");
    }
}

/// Fails when a route is added that no test of this file calls by name.
#[test]
fn every_route_is_called_by_a_test() {
    let tests = include_str!("tests.rs");
    let elsewhere = ["admission.show", "config.show", "store.copy", "store.verify"];
    for route in ROUTES {
        let is_called = tests.contains(&format!("\"{}\"", route.op)) || elsewhere.contains(&route.op);
        assert!(is_called, "{} has no test", route.op);
    }
}
