//! Logins, registrations and refreshes at the door: the waiting room for logins, and what a refusal tells besides its time.
//! See decisions/0813-waiting-at-the-door.md.

use std::sync::atomic::Ordering;

use http::{HeaderMap, HeaderValue};
use seawall_domain::waiting_room::{Knocked, Turn};
use seawall_domain::{Error, GameId, Kind, codes as domain_codes};

use super::class::Class;
use super::controller::WINDOW_MS;
use super::core::{Core, Knock, Permit};
use super::figures::Reason;
use super::rank::{RANKS, Subject};
use super::refusal::{Shed, jittered_ms};
use super::tenants::Tenant;
use super::{Admission, Mode, WaitingRoomMode, hints};
use crate::app::Inner;
use crate::origin::Surface;
use crate::problem::{self, Advice};
use crate::route::{Auth, Route};
use crate::trace::RequestId;
use crate::wire;

/// The waiting room as it stands open for one tenant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Door {
    /// What the room lets in.
    logins_per_s: f64,
    /// The room alone decides; otherwise ranks decide about what those whose turn it is leave.
    is_always: bool,
}

impl Core {
    /// The logins a second a tenant is given while some of them are shed; none while all may pass.
    fn given_logins_per_s(&self, tenant: Tenant, now_ms: u64, cost_units: u32) -> Option<f64> {
        if !self.is_shedding.load(Ordering::Relaxed) || !self.is_fresh(now_ms) {
            return None;
        }
        let flow = self.tenants.at(self.tenants.find(tenant)).flow(Class::Login)?;
        if flow.first_below.load(Ordering::Relaxed) >= RANKS {
            return None;
        }
        let units = flow.given_milliunits.load(Ordering::Relaxed) as f64 / 1_000.0;
        Some(units * 1_000.0 / WINDOW_MS as f64 / f64::from(cost_units.max(1)))
    }
}

impl Admission {
    /// Whether logins may meet the waiting room at all.
    fn has_waiting_room(&self) -> bool {
        let options = self.core.options.load();
        match options.waiting_room {
            WaitingRoomMode::Off => false,
            WaitingRoomMode::Auto => options.mode == Mode::Enforce,
            WaitingRoomMode::Always => true,
        }
    }

    /// The door of the waiting room, while logins of the tenant have to pass it.
    fn door(&self, tenant: Tenant, now_us: u64) -> Option<Door> {
        let options = self.core.options.load();
        let given = (options.mode == Mode::Enforce)
            .then(|| {
                self.core
                    .given_logins_per_s(tenant, now_us / 1_000, options.login.cost_units)
            })
            .flatten();
        match options.waiting_room {
            WaitingRoomMode::Off => None,
            WaitingRoomMode::Auto => given.map(|logins_per_s| Door {
                logins_per_s,
                is_always: false,
            }),
            WaitingRoomMode::Always => {
                let set = f64::from(options.waiting_room_logins_per_second);
                Some(Door {
                    logins_per_s: given.map_or(set, |given| given.min(set)),
                    is_always: true,
                })
            }
        }
    }

    /// Refuses a login because of the waiting room alone. It is not counted as work asked for: the room stands in front of
    /// what the controller looks at.
    fn closed(&self, knock: &Knock) -> Shed {
        let figures = self.core.figures.class(knock.class);
        figures.offered(knock.attempt);
        figures.shed(Reason::WaitingRoom, false);
        Shed {
            reason: Reason::WaitingRoom,
            retry_after_ms: self.core.retry_base_ms(knock.class),
        }
    }

    /// How the waiting rooms are set, for the live view; how they stand is the platform's to say.
    pub(crate) fn waiting_room_view(&self, platform: &seawall_domain::Platform) -> wire::WaitingRooms {
        let options = self.core.options.load();
        let rooms = platform.waiting_rooms().into_iter().map(|room| wire::WaitingRoom {
            game: room
                .game_id
                .map_or_else(|| "others".to_owned(), |game_id| format!("game:{game_id}")),
            waiting: room.waiting,
            logins_per_second: room.logins_per_s.round() as u64,
            estimate_ms: room.estimate_ms,
        });
        wire::WaitingRooms {
            mode: options.waiting_room.name().to_owned(),
            is_open: self.has_waiting_room(),
            rooms: rooms.collect(),
        }
    }
}

/// Somebody who logs in.
#[derive(Debug)]
struct Waiter {
    /// Whose the ticket is; who names no device gets none.
    device: Option<String>,
    ticket: Option<HeaderValue>,
    /// What the room said.
    knocked: Option<Knocked>,
}

/// Who logs in, registers or refreshes, by the head of the request alone.
#[derive(Debug)]
pub(crate) struct Entrant {
    game: Option<GameId>,
    waiter: Option<Waiter>,
}

impl Entrant {
    /// The entrant of a request; none for all that are neither login nor registration nor refresh.
    pub(crate) fn of(app: &Inner, route: &Route, headers: &HeaderMap, tenant: Tenant) -> Option<Box<Self>> {
        if route.surface != Surface::Sdk || route.auth != Auth::None {
            return None;
        }
        let is_login = route.class == Class::Login && app.admission.has_waiting_room();
        let waiter = is_login.then(|| {
            let device = hints::device(headers, &app.metrics.admission);
            Waiter {
                device: device.map(str::to_owned),
                ticket: headers.get(hints::SEAWALL_TICKET).filter(|_| device.is_some()).cloned(),
                knocked: None,
            }
        });
        let game = match tenant {
            Tenant::Game(game_id) => Some(GameId(game_id)),
            _ => None,
        };
        Some(Box::new(Entrant { game, waiter }))
    }

    /// Lets the entrant in or not, by the waiting room where it stands open, and by admission.
    pub(crate) fn admit<'a, 's>(
        &mut self,
        app: &'a Inner,
        knock: &Knock,
        subject: impl FnOnce() -> Subject<'s>,
    ) -> Result<Permit<'a>, Shed> {
        let door = app.admission.door(knock.tenant, knock.now_us);
        let (Some(waiter), Some(door)) = (&mut self.waiter, door) else {
            return app.admission.admit(knock, subject);
        };
        let knocked = waiter.ask(app, self.game, Some(door.logins_per_s));
        waiter.knocked = Some(knocked);
        let permit = match knocked.turn {
            // Whoever has waited is no repeated attempt.
            Turn::Come => app
                .admission
                .admit(&Knock { attempt: 1, ..*knock }, || Subject::FirstInLine),
            Turn::Spare => app.admission.admit(knock, subject),
            Turn::NotYet if door.is_always => Err(app.admission.closed(knock)),
            Turn::NotYet => app.admission.admit(knock, || Subject::LastInLine),
        }?;
        app.platform.login_enter(&knocked, self.game);
        Ok(permit)
    }

    /// What a refusal of admission tells.
    pub(crate) fn after_shed(&self, app: &Inner, shed: Shed, request_id: RequestId) -> Advice {
        let is_ours = matches!(
            shed.reason,
            Reason::Level | Reason::Hash | Reason::InFlight | Reason::WaitingRoom
        );
        // Where the room stands open it knows best when to come back.
        let least_ms = match self.waiter.as_ref().and_then(|waiter| waiter.knocked) {
            Some(_) => 0,
            None => jittered_ms(shed.retry_after_ms, request_id),
        };
        self.advice(app, is_ours.then_some(least_ms))
    }

    /// What a refusal of the handler tells.
    pub(crate) fn after_error(&self, app: &Inner, error: &Error, request_id: RequestId) -> Advice {
        if error.code.kind != Kind::Unavailable {
            return Advice::default();
        }
        let least_ms = problem::retry_after_ms(error, request_id);
        self.advice(app, least_ms.filter(|_| error.code == domain_codes::OVERLOADED))
    }

    /// A ticket for who has to come back for lack of room, not before `least_ms`; and the spread of the game.
    fn advice(&self, app: &Inner, least_ms: Option<u64>) -> Advice {
        let waiting = least_ms.and_then(|least_ms| {
            let waiter = self.waiter.as_ref()?;
            waiter.wait(app, self.game, least_ms)
        });
        let spread_ms = self.game.and_then(|game_id| app.platform.reconnect_spread_ms(game_id));
        Advice {
            waiting,
            reconnect_spread_ms: spread_ms.filter(|ms| *ms > 0),
        }
    }
}

impl Waiter {
    fn ask(&self, app: &Inner, game: Option<GameId>, logins_per_s: Option<f64>) -> Knocked {
        // What is no text is no ticket, and counts as a forged one.
        let ticket = self.ticket.as_ref().map(|value| value.to_str().unwrap_or_default());
        let device = self.device.as_deref().unwrap_or_default();
        app.platform.login_knock(ticket, game, device, logins_per_s)
    }

    fn wait(&self, app: &Inner, game: Option<GameId>, least_ms: u64) -> Option<wire::Waiting> {
        let device = self.device.as_deref()?;
        let knocked = self.knocked.unwrap_or_else(|| self.ask(app, game, None));
        let ticket = app.platform.login_wait(&knocked, game, device);
        Some(wire::Waiting {
            ticket: ticket.ticket,
            place: ticket.place,
            estimate_ms: ticket.estimate_ms,
            poll_after_ms: ticket.poll_after_ms.max(least_ms),
        })
    }
}
