//! Waiting rooms, the spread of reconnects and asking for proofs, through the application: what clients see of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use seawall_domain::game::GameChange;
use seawall_domain::testing::World;
use seawall_domain::waiting_room::REJOIN_MS;
use seawall_domain::{Mirrors, Platform};
use serde_json::json;

use super::super::class::Class;
use super::super::core::Core;
use super::super::figures::Reason;
use super::super::rank::RANKS;
use super::super::tenants::Tenant;
use crate::admission::{AdmissionOptions, Mode, WaitingRoomMode};
use crate::testing::{StandingClock, TestHost, app_with};
use crate::wire::{AdmissionView, Problem, Waiting};
use crate::{App, Limits, Origin, Pressure, Surface};

/// No rank of a caller is below it, but for one of 65536.
const NOBODY: u32 = 1;

struct House {
    world: World,
    host: TestHost,
    app: App,
    limits: Limits,
}

impl House {
    fn new(change: impl FnOnce(&mut AdmissionOptions)) -> Self {
        let world = World::new().unwrap();
        world.register("ada").unwrap();
        // The rooms hold still at first.
        world.clock.advance(REJOIN_MS);
        let mut limits = Limits::default();
        limits.admission.held_refusals_max = 0;
        change(&mut limits.admission);
        let host = TestHost::default();
        let app = app_with(&world, host.clone(), limits.clone());
        House {
            world,
            host,
            app,
            limits,
        }
    }

    /// Another process on the same data, with nothing in memory.
    fn restarted(mut self) -> Self {
        self.world.platform = Platform::open(self.world.options(Mirrors::default())).unwrap();
        self.app = app_with(&self.world, self.host.clone(), self.limits.clone());
        self
    }

    fn core(&self) -> &Core {
        &self.app.inner.admission.core
    }

    /// As if the controller had just given the game's logins so many a second, and nobody by rank.
    fn cut(&self, logins_per_s: u64, below: u32) {
        let core = self.core();
        let place = core.tenants.at(core.tenants.find(Tenant::Game(self.world.game_id.0)));
        let flow = place.flow(Class::Login).unwrap();
        let cost_units = u64::from(core.options.load().login.cost_units);
        flow.given_milliunits
            .store(logins_per_s * cost_units * 100, Ordering::Relaxed);
        flow.first_below.store(below, Ordering::Relaxed);
        flow.again_below.store(0, Ordering::Relaxed);
        core.last_window_ms.store(u64::MAX, Ordering::Relaxed);
        core.is_shedding.store(true, Ordering::Relaxed);
    }

    async fn send(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Response<Bytes> {
        let origin = Arc::new(Origin::in_process(&Surface::ALL, 0, [1; 16]));
        self.send_from(&origin, path, headers, body).await
    }

    async fn send_from(
        &self,
        origin: &Arc<Origin>,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response<Bytes> {
        let mut request = Request::builder()
            .method("POST")
            .uri(path)
            .header("content-type", "application/json")
            .header("seawall-game", self.world.game_id.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Bytes::from(body.to_owned())).unwrap();
        self.app.call_from(origin, request).await
    }

    async fn log_in_with(&self, headers: &[(&str, &str)]) -> Response<Bytes> {
        let origin = Arc::new(Origin::in_process(&Surface::ALL, 0, [1; 16]));
        self.log_in_from(&origin, headers).await
    }

    async fn log_in_from(&self, origin: &Arc<Origin>, headers: &[(&str, &str)]) -> Response<Bytes> {
        let body = json!({
            "game_id": self.world.game_id.to_string(),
            "credential": { "kind": "username", "username": "ada", "password": "secret-ada" },
            "client": { "package_id": self.world.package_id.to_string(), "os": "android", "device": { "install_id": "device-ada" } },
        });
        self.send_from(origin, "/sdk/v1/sessions", headers, &body.to_string())
            .await
    }

    /// A login of a device, with its ticket; again and again, as a client does that has to wait.
    async fn log_in(&self, device: &str, ticket: Option<&Waiting>) -> Response<Bytes> {
        let mut headers = vec![("seawall-device", device)];
        if let Some(waiting) = ticket {
            headers.extend([("seawall-ticket", waiting.ticket.as_str()), ("x-attempt", "2")]);
        }
        self.log_in_with(&headers).await
    }

    async fn view(&self) -> AdmissionView {
        let request = Request::get("/admin/v1/admission").body(Bytes::new()).unwrap();
        serde_json::from_slice(self.app.call(0, request).await.body()).unwrap()
    }
}

fn problem(answer: &Response<Bytes>) -> Problem {
    let text = String::from_utf8_lossy(answer.body());
    serde_json::from_slice(answer.body()).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// The place a refusal gives; it says the same time three times.
#[track_caller]
fn place(answer: &Response<Bytes>) -> Waiting {
    let problem = problem(answer);
    assert_eq!((problem.status, problem.code.as_str()), (503, "overload.busy"));
    let waiting = problem.waiting.expect("a place");
    assert_eq!(problem.retry_after_ms, Some(waiting.poll_after_ms));
    let seconds = waiting.poll_after_ms.div_ceil(1_000).to_string();
    assert_eq!(answer.headers()["retry-after"], seconds);
    assert!(waiting.ticket.len() <= 128 && waiting.ticket.is_ascii());
    waiting
}

#[tokio::test]
async fn who_waited_comes_in_before_newcomers_in_the_order_of_arrival() {
    let house = House::new(|_| {});
    house.cut(1, NOBODY);
    let mut waiters = Vec::new();
    for device in ["d-1", "d-2", "d-3"] {
        waiters.push((device, place(&house.log_in(device, None).await)));
    }
    let places: Vec<u64> = waiters.iter().map(|(_, waiting)| waiting.place).collect();
    assert_eq!(places, [0, 1, 2]);
    assert_eq!(waiters[2].1.estimate_ms, 3_000);
    for second in 1..=3 {
        house.world.clock.advance(1_000);
        let newcomer = house.log_in(&format!("newcomer-{second}"), None).await;
        assert!(place(&newcomer).place > 0, "at the end");
        let mut inside = Vec::new();
        for (device, waiting) in &mut waiters {
            let answer = house.log_in(device, Some(waiting)).await;
            if answer.status() == 200 {
                inside.push(*device);
            } else {
                let again = place(&answer);
                assert_eq!(again.ticket, waiting.ticket, "asking again keeps the place");
                *waiting = again;
            }
        }
        assert_eq!(inside, [format!("d-{second}")]);
        waiters.retain(|(device, _)| !inside.contains(device));
    }
    assert_eq!(house.world.platform.counters().waiting.turns_come, 3);
    let view = house.view().await.waiting_room;
    assert_eq!((view.mode.as_str(), view.is_open), ("auto", true));
    let own = &view.rooms[0];
    let game = format!("game:{}", house.world.game_id);
    assert_eq!((&own.game, own.waiting, own.logins_per_second), (&game, 3, 1));
}

/// Beside clients that keep their tickets there are some that keep none, and ask ten times a second.
#[tokio::test]
async fn together_no_more_come_in_than_given_and_those_who_wait_are_not_crowded_out() {
    const LOGINS_PER_S: u64 = 10;
    let house = House::new(|_| {});
    house.cut(LOGINS_PER_S, RANKS / 2);
    let naive: Vec<Arc<Origin>> = (0..30)
        .map(|n| Arc::new(Origin::in_process(&Surface::ALL, 0, [n; 16])))
        .collect();
    let mut good: Vec<(String, u64, Option<Waiting>)> = (0..40).map(|n| (format!("d-{n}"), 0, None)).collect();
    let (mut entered, mut last_good_ms) = (0, 0);
    for at_ms in (0..12_000).step_by(100) {
        for origin in &naive {
            entered += u64::from(house.log_in_from(origin, &[]).await.status() == 200);
        }
        let mut waiting_still = Vec::new();
        for (device, next_ms, ticket) in good {
            if next_ms > at_ms {
                waiting_still.push((device, next_ms, ticket));
                continue;
            }
            let answer = house.log_in(&device, ticket.as_ref()).await;
            if answer.status() == 200 {
                (entered, last_good_ms) = (entered + 1, at_ms);
            } else {
                let waiting = place(&answer);
                waiting_still.push((device, at_ms + waiting.poll_after_ms, Some(waiting)));
            }
        }
        good = waiting_still;
        house.world.clock.advance(100);
    }
    assert!(good.is_empty(), "{} still wait", good.len());
    assert!(last_good_ms <= 6_000, "{last_good_ms}");
    let given = 12 * LOGINS_PER_S;
    assert!(
        (given * 9 / 10..=given + 2 * LOGINS_PER_S).contains(&entered),
        "{entered} of {given}"
    );
}

#[tokio::test]
async fn a_restart_keeps_the_order_of_those_who_wait() {
    let house = House::new(|_| {});
    house.cut(1, NOBODY);
    let mut waiters = Vec::new();
    for number in 0..4 {
        let device = format!("d-{number}");
        let waiting = place(&house.log_in(&device, None).await);
        waiters.push((device, waiting));
        house.world.clock.advance(1_000);
    }
    let house = house.restarted();
    house.cut(1, NOBODY);
    // A stranger is there first, and the waiters come back in the wrong order.
    let stranger = place(&house.log_in("stranger", None).await);
    for (device, waiting) in waiters.iter_mut().rev() {
        *waiting = place(&house.log_in(device, Some(waiting)).await);
    }
    waiters.push(("stranger".to_owned(), stranger));
    house.world.clock.advance(REJOIN_MS);
    for number in 0..waiters.len() {
        house.world.clock.advance(1_000);
        let mut inside = Vec::new();
        for (at, (device, waiting)) in waiters.iter().enumerate().skip(number) {
            if house.log_in(device, Some(waiting)).await.status() == 200 {
                inside.push(at);
            }
        }
        assert_eq!(inside, [number]);
    }
    assert_eq!(house.world.platform.counters().waiting.tickets_forged, 0);
}

#[tokio::test]
async fn forged_foreign_and_expired_tickets_are_ignored_and_counted() {
    let house = House::new(|_| {});
    house.cut(1, NOBODY);
    let first = place(&house.log_in("d-1", None).await);
    house.log_in("d-2", None).await;
    house.world.clock.advance(60_000);
    let forged = Waiting {
        ticket: first.ticket.replace(|c: char| c.is_ascii_lowercase(), "x"),
        ..first.clone()
    };
    for (device, ticket) in [("d-1", &forged), ("d-9", &first)] {
        let waiting = place(&house.log_in(device, Some(ticket)).await);
        assert_ne!(waiting.ticket, ticket.ticket);
    }
    let empty = house.log_in_with(&[("seawall-device", "d-1"), ("seawall-ticket", "")]);
    place(&empty.await);
    house.world.clock.advance(1_800_000);
    place(&house.log_in("d-1", Some(&first)).await);
    let counted = house.world.platform.counters().waiting;
    assert_eq!(
        (counted.tickets_forged, counted.tickets_foreign, counted.tickets_expired),
        (2, 1, 1)
    );
}

#[tokio::test]
async fn without_a_device_there_is_no_ticket_and_registrations_and_changes_get_none() {
    let house = House::new(|_| {});
    house.cut(1, NOBODY);
    let refused = problem(&house.log_in_with(&[]).await);
    assert_eq!((refused.status, refused.waiting), (503, None));
    let core = house.core();
    let place = core.tenants.at(core.tenants.find(Tenant::Game(house.world.game_id.0)));
    place
        .flow(Class::Register)
        .unwrap()
        .first_below
        .store(0, Ordering::Relaxed);
    let device = [("seawall-device", "d-1")];
    for path in ["/sdk/v1/accounts", "/sdk/v1/account/password"] {
        let refused = problem(&house.send(path, &device, "{}").await);
        assert_eq!((refused.status, refused.waiting), (503, None), "{path}");
    }
}

#[tokio::test]
async fn a_ticket_passes_no_cap_and_is_given_back() {
    let house = House::new(|options| options.login.share_percent = 0);
    house.cut(1, NOBODY);
    let waiting = place(&house.log_in("d-1", None).await);
    house.world.clock.advance(5_000);
    let full = Limits {
        in_flight_max: 0,
        ..house.limits.clone()
    };
    let house = House {
        app: app_with(&house.world, house.host.clone(), full),
        ..house
    };
    house.cut(1, NOBODY);
    let refused = house.log_in("d-1", Some(&waiting)).await;
    assert_eq!(problem(&refused).params["reason"], "in_flight");
    assert_eq!(place(&refused).ticket, waiting.ticket);
}

#[tokio::test]
async fn a_full_hash_queue_gives_a_ticket_too_with_the_later_of_both_times() {
    let house = House::new(|_| {});
    house.world.pool.full.store(true, Ordering::SeqCst);
    let waiting = place(&house.log_in("d-1", None).await);
    assert_eq!((waiting.place, waiting.poll_after_ms), (0, 2_500));
    // Meanwhile logins are cut; whoever waited comes first.
    house.world.pool.full.store(false, Ordering::SeqCst);
    house.world.clock.advance(2_500);
    house.cut(1, NOBODY);
    assert_eq!(house.log_in("d-1", Some(&waiting)).await.status(), 200);
    place(&house.log_in("d-2", None).await);
}

#[tokio::test]
async fn where_refusals_are_only_counted_or_the_room_is_off_nobody_gets_a_ticket() {
    for (mode, waiting_room) in [
        (Mode::DryRun, WaitingRoomMode::Auto),
        (Mode::Off, WaitingRoomMode::Auto),
        (Mode::Enforce, WaitingRoomMode::Off),
    ] {
        let house = House::new(|options| (options.mode, options.waiting_room) = (mode, waiting_room));
        house.world.pool.full.store(true, Ordering::SeqCst);
        let refused = problem(&house.log_in("d-1", None).await);
        assert_eq!((refused.status, refused.waiting), (503, None), "{mode:?}");
        assert!(!house.view().await.waiting_room.is_open);
    }
}

#[tokio::test]
async fn a_room_that_is_always_open_lets_in_at_its_rate_whatever_the_load() {
    let house = House::new(|options| {
        options.mode = Mode::DryRun;
        options.waiting_room = WaitingRoomMode::Always;
        options.waiting_room_logins_per_second = 2;
    });
    let mut waiters = Vec::new();
    for number in 0..20 {
        let device = format!("d-{number}");
        let answer = house.log_in(&device, None).await;
        if answer.status() != 200 {
            assert_eq!(problem(&answer).params["reason"], "waiting_room");
            waiters.push((device, place(&answer)));
        }
    }
    assert_eq!(
        waiters.len(),
        18,
        "what is spare at the beginning is half of two seconds' worth"
    );
    let refused = house.core().figures.class(Class::Login);
    assert_eq!(refused.shed_count(Reason::WaitingRoom, false), 18);
    let mut order = Vec::new();
    for _ in 0..9 {
        house.world.clock.advance(1_000);
        for (device, waiting) in &waiters {
            if !order.contains(device) && house.log_in(device, Some(waiting)).await.status() == 200 {
                order.push(device.clone());
            }
        }
    }
    let arrived: Vec<String> = waiters.iter().map(|(device, _)| device.clone()).collect();
    assert_eq!(order, arrived, "two a second, in order");
    assert_eq!(
        house.view().await.classes[3].refused.waiting_room,
        18 + 16 + 14 + 12 + 10 + 8 + 6 + 4 + 2
    );
}

#[tokio::test]
async fn clients_learn_the_spread_of_their_game_from_answers_and_refusals() {
    let house = House::new(|_| {});
    let change = GameChange {
        reconnect_spread_ms: Some(60_000),
        ..GameChange::default()
    };
    house.world.set_game(change).unwrap();
    let spread = |answer: &Response<Bytes>| -> Option<u64> {
        let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        body["reconnect_spread_ms"].as_u64()
    };
    let login = house.log_in_with(&[]).await;
    assert_eq!((login.status().as_u16(), spread(&login)), (200, Some(60_000)));
    let body: serde_json::Value = serde_json::from_slice(login.body()).unwrap();
    let refresh = json!({ "refresh_token": body["session"]["refresh_token"] }).to_string();
    let refreshed = house.send("/sdk/v1/sessions/refresh", &[], &refresh).await;
    assert_eq!((refreshed.status().as_u16(), spread(&refreshed)), (200, Some(60_000)));
    house.world.pool.full.store(true, Ordering::SeqCst);
    house.world.platform.forget_verified_passwords();
    assert_eq!(spread(&house.log_in_with(&[]).await), Some(60_000));
    house.cut(1, NOBODY);
    let refused = house.log_in("d-1", None).await;
    assert_eq!((refused.status().as_u16(), spread(&refused)), (503, Some(60_000)));
    let wrong = house
        .send("/sdk/v1/sessions/refresh", &[], r#"{"refresh_token":"sr1.x"}"#)
        .await;
    assert_eq!((wrong.status().as_u16(), spread(&wrong)), (401, None));
}

#[tokio::test]
async fn pressure_asks_for_proofs_and_calm_ends_it() {
    // A clock that moved by itself while a login waits for its thread would be far ahead on a busy machine.
    let _clock = StandingClock::stand();
    let house = House::new(|_| {});
    house.app.start_admission(&tokio::runtime::Handle::current());
    let platform = house.world.platform.clone();
    let seconds = |seconds: u32| {
        let house = &house;
        async move {
            for _ in 0..seconds * 200 {
                tokio::time::advance(Duration::from_millis(5)).await;
                tokio::task::yield_now().await;
            }
            // A request, so that the controller looks.
            house.log_in_with(&[]).await;
        }
    };
    seconds(1).await;
    house.host.press(Pressure {
        hash_wait_ms: 5_000.0,
        ..Pressure::default()
    });
    for _ in 0..4 {
        seconds(1).await;
    }
    assert!(platform.asks_for_challenges());
    let view = house.view().await.challenges;
    assert!(view.is_pressed && view.is_asking);
    house.host.press(Pressure::default());
    for _ in 0..10 {
        seconds(1).await;
    }
    assert!(platform.asks_for_challenges(), "not at the first calm moment");
    for _ in 0..30 {
        seconds(1).await;
    }
    assert!(!platform.asks_for_challenges());
    assert!(!house.view().await.challenges.is_pressed);
    // Where refusals are only counted nobody is asked.
    house.app.set_admission(AdmissionOptions {
        mode: Mode::DryRun,
        ..AdmissionOptions::default()
    });
    house.host.press(Pressure {
        hash_wait_ms: 5_000.0,
        ..Pressure::default()
    });
    for _ in 0..10 {
        seconds(1).await;
    }
    let view = house.view().await.challenges;
    assert!(view.is_pressed && !view.is_asking);
    house.app.set_admission(AdmissionOptions::default());
    for _ in 0..5 {
        seconds(1).await;
    }
    assert!(platform.asks_for_challenges());
    house.app.stop_admission();
    assert!(!platform.asks_for_challenges());
}

/// A login over HTTP/2; status, `retry-after` and body.
async fn log_in_h2(port: u16, ticket: &str) -> (u16, String, Problem) {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    let driver = tokio::spawn(connection);
    let request = Request::post("http://a.example/sdk/v1/sessions")
        .header("seawall-device", "d-1")
        .header("seawall-ticket", ticket)
        .body(Full::new(Bytes::from_static(b"{}")))
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let retry_after = answer.headers()["retry-after"].to_str().unwrap().to_owned();
    let status = answer.status().as_u16();
    let body = answer.collect().await.unwrap().to_bytes();
    driver.abort();
    (status, retry_after, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn places_are_given_over_http1_and_kept_over_http2() {
    let mut limits = Limits::default();
    limits.admission.waiting_room = WaitingRoomMode::Always;
    limits.admission.waiting_room_logins_per_second = 1;
    let world = crate::testing::World::start(limits, |_| {});
    let mut client = world.connect().await;
    let headers = "content-type: application/json\r\nseawall-device: d-1\r\n";
    let spare = client.post("/sdk/v1/sessions", headers, b"{}").await;
    assert_eq!(spare.status, 400, "let in, and the body is looked at");
    let refused = client.post("/sdk/v1/sessions", headers, b"{}").await;
    assert_eq!(refused.code(), "overload.busy");
    let first = serde_json::from_slice::<Problem>(&refused.body)
        .unwrap()
        .waiting
        .unwrap();
    let seconds = first.poll_after_ms.div_ceil(1_000);
    assert!(refused.head.contains(&format!("retry-after: {seconds}\r\n")) && !refused.closes());
    let (status, retry_after, again) = log_in_h2(world.port(), &first.ticket).await;
    let again = again.waiting.unwrap();
    assert_eq!((status, &again.ticket), (503, &first.ticket));
    assert_eq!(retry_after, again.poll_after_ms.div_ceil(1_000).to_string());
}
