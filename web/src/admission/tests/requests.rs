//! Admission through the application: what callers see of it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use seawall_domain::testing::{START_AT, World};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::super::class::Class;
use super::super::core::Core;
use super::super::figures::Reason;
use super::super::hints::{SEAWALL_DEVICE, SEAWALL_GAME, X_ATTEMPT, X_DEADLINE_MS};
use super::super::rank::RANKS;
use super::super::tenants::Tenant;
use crate::admission::{AdmissionOptions, Mode};
use crate::listener::pulse::Pulse;
use crate::listener::turnstile::Line;
use crate::testing::{TestHost, app_with, code, eventually};
use crate::wire::{AdmissionView, Problem};
use crate::{App, Limits, Origin, Pressure, Surface};

struct House {
    world: World,
    host: TestHost,
    app: App,
    origin: Arc<Origin>,
}

impl House {
    fn new(change: impl FnOnce(&mut AdmissionOptions)) -> Self {
        let world = World::new().unwrap();
        let mut limits = Limits::default();
        change(&mut limits.admission);
        let host = TestHost::default();
        let app = app_with(&world, host.clone(), limits);
        let origin = Arc::new(Origin::in_process(&Surface::ALL, 0, [1; 16]));
        House {
            world,
            host,
            app,
            origin,
        }
    }

    fn core(&self) -> &Core {
        &self.app.inner.admission.core
    }

    /// As if the controller had just said that only ranks below `below` of a class may pass.
    fn cut(&self, class: Class, below: u32) {
        let core = self.core();
        for (_, place) in core.tenants.used() {
            let flow = place.flow(class).unwrap();
            flow.first_below.store(below, Ordering::Relaxed);
            flow.again_below.store(below / 2, Ordering::Relaxed);
        }
        // Fresh however slow the test runs.
        core.last_window_ms.store(u64::MAX, Ordering::Relaxed);
        core.is_shedding.store(true, Ordering::Relaxed);
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response<Bytes> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Bytes::from(body.to_owned())).unwrap();
        self.app.call_from(&self.origin, request).await
    }

    /// A login of a name nobody has: 401 when it is let in.
    async fn log_in(&self, headers: &[(&str, &str)]) -> Response<Bytes> {
        let body = json!({
            "game_id": self.world.game_id.to_string(),
            "credential": { "kind": "username", "username": "nobody", "password": "not a secret" },
            "client": { "package_id": self.world.package_id.to_string(), "os": "android", "device": { "install_id": "d-1" } },
        });
        self.send("POST", "/sdk/v1/sessions", headers, &body.to_string()).await
    }

    /// A signed check of `tokens` tokens; with a wrong signature when forged.
    async fn check(&self, tokens: usize, is_forged: bool) -> Response<Bytes> {
        let path = "/server/v1/sessions/verify-batch";
        let body = json!({ "tokens": vec!["sw1.rubbish"; tokens] }).to_string();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let (timestamp, nonce) = ((START_AT / 1000).to_string(), "nonce-00000001");
        let digest = hex(&Sha256::digest(body.as_bytes()));
        let mut mac = Hmac::<Sha256>::new_from_slice(self.world.secret.as_bytes()).unwrap();
        mac.update(format!("POST\n{path}\n{timestamp}\n{nonce}\n{digest}").as_bytes());
        let mut signature = mac.finalize().into_bytes().to_vec();
        signature[0] ^= u8::from(is_forged);
        let key_id = self.world.key_id.to_string();
        let headers = [
            ("seawall-key-id", key_id.as_str()),
            ("seawall-timestamp", timestamp.as_str()),
            ("seawall-nonce", nonce),
            ("seawall-signature", &hex(&signature)),
        ];
        self.send("POST", path, &headers, &body).await
    }

    async fn view(&self) -> AdmissionView {
        let answer = self.send("GET", "/admin/v1/admission", &[], "").await;
        serde_json::from_slice(answer.body()).unwrap()
    }

    fn shed(&self, class: Class, reason: Reason) -> u64 {
        self.core().figures.class(class).shed_count(reason, false)
    }
}

fn problem(answer: &Response<Bytes>) -> Problem {
    serde_json::from_slice(answer.body()).unwrap()
}

#[tokio::test]
async fn a_shed_login_is_told_when_to_come_back_and_checks_go_on() {
    let house = House::new(|_| {});
    house.cut(Class::Login, 0);
    let refused = house.log_in(&[]).await;
    let body = problem(&refused);
    assert_eq!((refused.status().as_u16(), body.code.as_str()), (503, "overload.busy"));
    assert_eq!(
        (&body.params["class"], &body.params["reason"]),
        (&json!("login"), &json!("level"))
    );
    let ms = body.retry_after_ms.unwrap();
    assert!((1_000..=3_000).contains(&ms), "{ms}");
    assert_eq!(refused.headers()["retry-after"], ms.div_ceil(1000).to_string());
    assert_eq!(refused.headers()["x-request-id"], body.request_id);
    assert!(!refused.headers().contains_key("connection"), "the connection goes on");
    assert_eq!(house.check(2, false).await.status(), 200);
    assert_eq!(house.shed(Class::Login, Reason::Level), 1);
    assert_eq!(house.shed(Class::Verify, Reason::Level), 0);
}

#[tokio::test]
async fn a_shed_check_is_503_and_nothing_else() {
    let house = House::new(|_| {});
    for _ in 0..2 {
        assert_eq!(house.check(1, false).await.status(), 200);
    }
    house.cut(Class::Verify, 0);
    for is_forged in [false, true] {
        let refused = house.check(1, is_forged).await;
        assert_eq!(
            (refused.status().as_u16(), code(&refused).as_str()),
            (503, "overload.busy")
        );
    }
}

#[tokio::test]
async fn a_large_body_is_not_waited_for() {
    let house = House::new(|_| {});
    house.cut(Class::Login, 0);
    let refused = house.log_in(&[("content-length", "70000")]).await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["connection"]),
        (503, &"close".parse().unwrap())
    );
}

#[tokio::test]
async fn who_is_let_in_hangs_on_the_device_and_malformed_hints_are_ignored() {
    let house = House::new(|options| options.held_refusals_max = 0);
    house.cut(Class::Login, RANKS / 2);
    let mut inside = 0;
    for number in 0..64 {
        let device = format!("device-{number}");
        let first = house.log_in(&[("seawall-device", &device)]).await.status();
        let again = house.log_in(&[("seawall-device", &device)]).await.status();
        assert_eq!(first, again, "asking again changes nothing");
        inside += usize::from(first == 401);
    }
    assert!((12..52).contains(&inside), "{inside} of 64");
    let bad = [
        ("seawall-device", "two words"),
        ("seawall-game", "999999"),
        ("x-attempt", "often"),
        ("x-deadline-ms", "0"),
    ];
    let status = house.log_in(&bad).await.status().as_u16();
    assert!(matches!(status, 401 | 503), "{status}");
    house.cut(Class::Login, RANKS);
    assert_eq!(house.log_in(&bad).await.status(), 401);
    let counted =
        [SEAWALL_DEVICE, SEAWALL_GAME, X_ATTEMPT, X_DEADLINE_MS].map(|name| house.core().figures.bad_hints(&name));
    assert!(
        counted[0] >= 1 && counted[1] == 2 && counted[2] == 2 && counted[3] >= 1,
        "{counted:?}"
    );
}

#[tokio::test]
async fn repeated_attempts_have_the_lower_mark() {
    let house = House::new(|options| options.held_refusals_max = 0);
    house.cut(Class::Login, RANKS);
    let mut refused = 0;
    for number in 0..32 {
        let device = format!("device-{number}");
        assert_eq!(house.log_in(&[("seawall-device", &device)]).await.status(), 401);
        let again = house.log_in(&[("seawall-device", &device), ("x-attempt", "2")]).await;
        refused += usize::from(again.status() == 503);
    }
    assert!(refused > 4, "{refused}");
}

#[tokio::test]
async fn tenants_are_the_key_of_servers_and_the_game_of_players() {
    let house = House::new(|_| {});
    let (key, game) = (Tenant::Key(house.world.key_id.0), Tenant::Game(house.world.game_id.0));
    let names = || -> Vec<Tenant> { house.core().tenants.used().map(|(_, place)| place.tenant()).collect() };
    house.log_in(&[("seawall-game", "77777")]).await;
    assert_eq!(names(), [Tenant::Others], "a game that is not there has no place");
    let game_id = house.world.game_id.to_string();
    house.log_in(&[("seawall-game", &game_id)]).await;
    house.check(16, false).await;
    let claimed = Tenant::ClaimedKey(house.world.key_id.0);
    assert!(names().contains(&claimed) && names().contains(&game), "{:?}", names());
    house.check(16, false).await;
    assert!(names().contains(&key), "the connection has signed: {:?}", names());
    let place = house.core().tenants.at(house.core().tenants.find(key));
    let units = place
        .flow(Class::Verify)
        .unwrap()
        .admitted_units
        .load(Ordering::Relaxed);
    assert_eq!(units, 1 + 16 / 8, "a batch is charged by its tokens");
}

#[tokio::test]
async fn a_flood_in_the_name_of_a_key_is_another_tenant_than_its_servers() {
    let mut house = House::new(|options| options.held_refusals_max = 0);
    let key = house.world.key_id.0;
    assert_eq!(house.check(1, false).await.status(), 200);
    let of_the_forger = Arc::new(Origin::in_process(&Surface::ALL, 0, [9; 16]));
    let of_the_servers = std::mem::replace(&mut house.origin, of_the_forger);
    for _ in 0..50 {
        assert_eq!(code(&house.check(1, true).await), "signature.invalid");
    }
    house.origin = of_the_servers;
    assert_eq!(house.check(1, false).await.status(), 200);
    let units = |tenant| {
        let place = house.core().tenants.at(house.core().tenants.find(tenant));
        place.flow(Class::Verify).unwrap().first_units.load(Ordering::Relaxed)
    };
    assert_eq!(units(Tenant::Key(key)), 1);
    assert_eq!(
        units(Tenant::ClaimedKey(key)),
        51,
        "the forged ones, and the first of the servers"
    );
}

#[tokio::test]
async fn a_forger_does_not_use_up_the_quota_of_a_key() {
    let house = House::new(|options| options.server_key_verifies_per_second = Some(2));
    for _ in 0..20 {
        assert_eq!(code(&house.check(2, true).await), "signature.invalid");
    }
    assert_eq!(house.check(4, false).await.status(), 200);
    let refused = house.check(1, false).await;
    assert_eq!(
        (refused.status().as_u16(), code(&refused).as_str()),
        (429, "limit.server_key")
    );
    assert!(problem(&refused).retry_after_ms.unwrap() <= 1_001);
    assert_eq!(house.shed(Class::Verify, Reason::ServerKey), 1);
}

/// A body that comes only after `wait`, without a timer's help.
fn late_body(
    wait: Duration,
    text: &'static str,
) -> impl http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static {
    let begun = Instant::now();
    StreamBody::new(futures_util::stream::once(async move {
        while begun.elapsed() < wait {
            tokio::task::yield_now().await;
        }
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    }))
}

#[tokio::test]
async fn the_wait_for_a_turn_is_part_of_the_callers_time() {
    let house = House::new(|_| {});
    let ask = |waited: Duration| {
        let request = Request::post("/sdk/v1/sessions/refresh")
            .header("content-type", "application/json")
            .header("x-deadline-ms", "60000")
            .body(Full::new(Bytes::from_static(br#"{"refresh_token":"sr1.x"}"#)));
        house.app.respond_after(waited, &house.origin, request.unwrap())
    };
    assert_eq!(code(&ask(Duration::from_secs(61)).await), "overload.deadline");
    assert_eq!(
        ask(Duration::from_secs(1)).await.status(),
        401,
        "in time it is looked at"
    );
}

#[tokio::test]
async fn a_connection_waits_with_those_who_ask_for_what_it_was_answered_for() {
    let house = House::new(|_| {});
    let pulse = Arc::new(Pulse::new(&Limits::default()));
    let mut origin = Origin::in_process(&Surface::ALL, 0, house.app.seed());
    origin.pulse = Some(Arc::clone(&pulse));
    let origin = Arc::new(origin);
    let game_id = house.world.game_id;
    let ask = |path: &str, body: String| {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .header("seawall-game", game_id.to_string())
            .body(Full::new(Bytes::from(body)));
        house.app.respond(&origin, request.unwrap())
    };
    let refused = ask("/sdk/v1/sessions/refresh", r#"{"refresh_token":"sr1.x"}"#.into()).await;
    assert_eq!(
        (refused.status().as_u16(), pulse.line()),
        (401, Line::NEW),
        "anybody can name a game"
    );
    let package_id = house.world.package_id.to_string();
    let client = json!({"package_id": package_id, "os": "android", "device": {"install_id": "d-1"}});
    let body = json!({"game_id": game_id.to_string(), "credential": {"kind": "guest"}, "client": client});
    assert_eq!(ask("/sdk/v1/accounts", body.to_string()).await.status(), 201);
    let line = |class| Line {
        tenant: Tenant::Game(game_id.0).code(),
        class,
    };
    assert_eq!(pulse.line(), line(Class::Refresh), "a player who has a token now");
    assert_eq!(ask("/sdk/v1/accounts", body.to_string()).await.status(), 201);
    assert_eq!(pulse.line(), line(Class::Register));
}

#[tokio::test]
async fn work_is_not_begun_for_a_caller_who_has_gone() {
    let house = House::new(|_| {});
    let ask = |deadline_ms: &'static str| {
        let request = Request::post("/sdk/v1/sessions/refresh")
            .header("content-type", "application/json")
            .header("x-deadline-ms", deadline_ms)
            .body(late_body(Duration::from_millis(5), r#"{"refresh_token":"sr1.x"}"#));
        house.app.respond(&house.origin, request.unwrap())
    };
    let late = ask("1").await;
    assert_eq!(
        (late.status().as_u16(), code(&late).as_str()),
        (503, "overload.deadline")
    );
    assert!(late.headers().contains_key("retry-after"));
    assert_eq!(house.shed(Class::Refresh, Reason::Deadline), 1);
    assert_eq!(ask("60000").await.status(), 401, "in time it is looked at");
    let figures = house.core().figures.class(Class::Refresh);
    assert_eq!((figures.admitted.get(), figures.in_time.get()), (2, 1));
    assert_eq!(house.core().in_flight(), 0);
    for (mode, counted) in [(Mode::DryRun, 1), (Mode::Off, 1)] {
        house.app.set_admission(AdmissionOptions {
            mode,
            ..AdmissionOptions::default()
        });
        assert_eq!(ask("1").await.status(), 401, "{mode:?}: it is looked at all the same");
        assert_eq!(figures.shed_count(Reason::Deadline, true), counted, "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_keeps_asking_after_refusals_is_answered_later_and_later() {
    let house = House::new(|options| options.held_refusals_max = 1);
    house.cut(Class::Login, 0);
    let took = || async {
        let begun = tokio::time::Instant::now();
        assert_eq!(house.log_in(&[]).await.status(), 503);
        begun.elapsed().as_millis()
    };
    for expected_ms in [0, 25, 50, 100] {
        let took_ms = took().await;
        assert!(
            (expected_ms..=expected_ms + 1).contains(&took_ms),
            "{took_ms} for {expected_ms}"
        );
    }
    let held = house.app.inner.admission.hold_one();
    assert_eq!(took().await, 0, "no more are held than there is room for");
    drop(held);
    let stranger = Arc::new(Origin::in_process(&Surface::ALL, 0, [2; 16]));
    let begun = tokio::time::Instant::now();
    let other = Request::post("/sdk/v1/sessions").body(Bytes::new()).unwrap();
    assert_eq!(house.app.call_from(&stranger, other).await.status(), 503);
    assert_eq!(begun.elapsed().as_millis(), 0, "another connection is not held");
}

#[tokio::test]
async fn options_change_while_running_and_a_dry_run_lets_through() {
    let house = House::new(|_| {});
    house.cut(Class::Login, 0);
    assert_eq!(house.log_in(&[]).await.status(), 503);
    house.app.set_admission(AdmissionOptions {
        mode: Mode::DryRun,
        ..AdmissionOptions::default()
    });
    assert_eq!(house.log_in(&[]).await.status(), 401);
    let view = house.view().await;
    let login = view.classes.iter().find(|class| class.class == "login").unwrap();
    assert_eq!(view.mode, "dry_run");
    assert_eq!((login.offered, login.admitted), (2, 1));
    assert_eq!((login.refused.level, login.would_be_refused.level), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_controller_can_be_seen_parks_wakes_and_stops() {
    let house = House::new(|_| {});
    let is = |state: &'static str| {
        let admission = &house.app.inner.admission;
        move || admission.view(0).controller == state
    };
    assert!(is("not_started")());
    house.app.start_admission(&tokio::runtime::Handle::current());
    house.app.start_admission(&tokio::runtime::Handle::current());
    eventually(is("parked"), "parked").await;
    assert_eq!(house.log_in(&[]).await.status(), 401);
    assert!(is("running")(), "the next request wakes it");
    let offered = || house.app.inner.admission.view(0).tenants.len();
    eventually(move || offered() > 0, "a window was looked at").await;
    eventually(is("parked"), "parked again").await;
    house.app.stop_admission();
    assert!(is("stopped")());
    assert_eq!(house.log_in(&[]).await.status(), 401);
    house.app.start_admission(&tokio::runtime::Handle::current());
    eventually(is("parked"), "begun again").await;
}

#[tokio::test(start_paused = true)]
async fn a_process_under_pressure_sheds_players_keeps_checks_and_opens_again() {
    let house = House::new(|options| options.held_refusals_max = 0);
    house.app.start_admission(&tokio::runtime::Handle::current());
    // Twenty windows of ten logins and a check each; how many of the last window's were let in.
    let windows = || async {
        let mut inside = 0;
        for _ in 0..20 {
            inside = 0;
            for number in 0..10 {
                let device = format!("device-{number}");
                // A wrong name, or asked for a proof of work first.
                inside += u32::from(house.log_in(&[("seawall-device", &device)]).await.status() != 503);
            }
            assert_eq!(house.check(1, false).await.status(), 200);
            for _ in 0..21 {
                tokio::time::advance(Duration::from_millis(5)).await;
            }
        }
        inside
    };
    assert_eq!(windows().await, 10);
    let signs: [fn(&mut Pressure); 4] = [
        |pressure| pressure.commit_wait_ms = 500.0,
        |pressure| pressure.hash_wait_ms = 5_000.0,
        |pressure| pressure.memory_is_tight = true,
        |pressure| pressure.loop_lag_ms_mean = 100.0,
    ];
    for press in signs {
        let mut pressure = Pressure::default();
        press(&mut pressure);
        house.host.press(pressure);
        let inside = windows().await;
        assert!(inside < 10, "{pressure:?}: {inside}");
        assert!(house.view().await.is_shedding);
        house.host.press(Pressure::default());
        windows().await;
        windows().await;
        assert_eq!(windows().await, 10, "{pressure:?} is over");
    }
}

#[tokio::test]
async fn a_refused_connection_goes_on_and_its_body_is_not_taken_for_a_request() {
    let world = crate::testing::World::start(Limits::default(), |_| {});
    let core = &world.app.inner.admission.core;
    let shut = core
        .tenants
        .at(core.tenants.find(Tenant::Others))
        .flow(Class::Refresh)
        .unwrap();
    shut.first_below.store(0, Ordering::Relaxed);
    core.is_shedding.store(true, Ordering::Relaxed);
    core.last_window_ms.store(u64::MAX, Ordering::Relaxed);
    let mut client = world.connect().await;
    let body = "x".repeat(60_000);
    let head = "POST /sdk/v1/sessions/refresh HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    client
        .send(format!("{head}content-length: {}\r\n\r\n{body}", body.len()))
        .await;
    assert_eq!(client.receive().await.code(), "overload.busy");
    client
        .send(format!(
            "{head}transfer-encoding: chunked\r\n\r\n4\r\nGET \r\n0\r\n\r\n"
        ))
        .await;
    assert_eq!(client.receive().await.code(), "overload.busy");
    assert_eq!(client.get("/livez").await.status, 200, "the same connection");
}

#[tokio::test]
async fn counts_are_exported() {
    let house = House::new(|_| {});
    house.cut(Class::Login, 0);
    house.log_in(&[("x-attempt", "7")]).await;
    house.check(1, false).await;
    let text = house.send("GET", "/metrics", &[], "").await;
    let text = String::from_utf8(text.body().to_vec()).unwrap();
    for line in [
        "seawall_admission_offered_total{class=\"login\",attempt=\"more\"} 1",
        "seawall_admission_shed_total{class=\"login\",reason=\"level\"} 1",
        "seawall_admission_admitted_total{class=\"verify\"} 1",
        "seawall_admission_in_time_total{class=\"verify\"} 1",
        "seawall_admission_fraction{class=\"verify\"} 1",
        "seawall_admission_held_refusals 0",
        "seawall_admission_queued 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
