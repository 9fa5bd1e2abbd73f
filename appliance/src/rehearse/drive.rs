//! Drives the storm: finds out what is carried, then offers one step after the other.

use std::time::{Duration, Instant};

use seawall_load::client_rules::Call;
use seawall_load::service::Service as _;
use seawall_load::storm::client::{Client, Conduct};
use seawall_load::storm::crowd::{Crowd, Habits, Visits};
use seawall_load::storm::visitors::{Roles, shuffle, visitors};
use seawall_load::{Arrival, Life, NoMeter, Plan as Run, run};

use super::knee::IN_TIME_MIN;
use super::machine::cpu_seconds;
use super::plan::{Plan, TARGET_CALLS_PER_S_MAX};
use super::service::Known;
use super::step::{Offer, Step};
use super::stop::Stop;
use super::watch::Watch;
use crate::cli::failure::Failure;

/// Visits a second that finding out begins with.
const RAMP_FROM: f64 = 50.0;
/// Doublings at most: beyond, no host of today carries it.
const RAMP_STEPS_MAX: usize = 14;
/// How long each is offered: a queue for passwords takes a while to be late.
const RAMP_SPAN: Duration = Duration::from_secs(2);
/// How long answers are waited for after the last call of a step.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the server may take to come to rest between two steps.
const REST_MAX: Duration = Duration::from_secs(3);
const REST_LOOK: Duration = Duration::from_millis(50);
/// How long the cost of a call is measured.
const COST_SPAN: Duration = Duration::from_millis(700);
/// Clients that measure it.
const COST_CLIENTS: usize = 32;

/// The server's side, as far as it can be seen.
#[derive(Clone, Copy)]
pub struct OnThisHost<'a> {
    /// Its process.
    pub pid: u32,
    /// Processors it has.
    pub cpus: usize,
    /// What its admission shows.
    pub watch: &'a Watch,
}

/// Processor time of the server for one call, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Which call.
    pub call: Call,
    /// Microseconds.
    pub cpu_us: f64,
}

/// Clients and where they go.
pub struct Driver<'a> {
    service: &'a Known,
    plan: &'a Plan,
    roles: Roles,
    host: Option<OnThisHost<'a>>,
    stop: &'a Stop,
    clients: Vec<Client>,
    series: u64,
    /// Good tokens and right passwords that were called bad, in all that was sent.
    pub false_invalids: u64,
}

impl<'a> Driver<'a> {
    /// Registers the players.
    ///
    /// # Errors
    /// When an account is not registered.
    pub fn prepare(
        service: &'a Known,
        plan: &'a Plan,
        host: Option<OnThisHost<'a>>,
        stop: &'a Stop,
    ) -> Result<Self, Failure> {
        let roles = plan.mix.roles(plan.players);
        let made = visitors(service, roles, plan.naive_share, 1);
        let clients = made.map_err(|error| Failure::Failed(format!("the players cannot be made: {error}")))?;
        Ok(Self {
            service,
            plan,
            roles,
            host,
            stop,
            clients,
            series: 0,
            false_invalids: 0,
        })
    }

    /// What the calls cost beside each other, each measured alone. Nothing with few players: what is durable costs more for one than for many.
    ///
    /// # Errors
    /// When nothing can be sent.
    pub fn costs(&mut self) -> Result<Vec<Cost>, Failure> {
        let (mut with_tokens, others): (Vec<Client>, Vec<Client>) = self.clients.drain(..).partition(Client::has_token);
        self.clients = others;
        let rest = with_tokens.split_off(with_tokens.len().min(COST_CLIENTS));
        self.clients.extend(rest);
        let entries: Vec<Call> = with_tokens.iter().map(|client| client.entry).collect();
        let mut costs = Vec::new();
        for call in [Call::Verify, Call::Refresh] {
            with_tokens.iter_mut().for_each(|client| client.entry = call);
            let (clients, cost) = self.cost(call, with_tokens)?;
            with_tokens = clients;
            costs.extend(cost);
        }
        for (client, entry) in with_tokens.iter_mut().zip(entries) {
            client.entry = entry;
        }
        self.clients.append(&mut with_tokens);
        let mark = self.service.mark();
        let newcomer = |number| Client::newcomer(&format!("{mark}-cost-{number}"), Conduct::good());
        let (_, cost) = self.cost(Call::Register, (0..COST_CLIENTS).map(newcomer).collect())?;
        costs.extend(cost);
        Ok(costs)
    }

    fn cost(&mut self, call: Call, clients: Vec<Client>) -> Result<(Vec<Client>, Option<Cost>), Failure> {
        let Some(host) = self.host.filter(|_| clients.len() == COST_CLIENTS) else {
            return Ok((clients, None));
        };
        let run = Run {
            warm_up: Duration::ZERO,
            ..Run::closed(self.service.target(), clients.len(), COST_SPAN)
        };
        let begun_s = cpu_seconds(host.pid);
        let (clients, _, tally, _) = self.go(clients, &run, (0, 0))?;
        let used_us = (cpu_seconds(host.pid) - begun_s) * 1e6;
        self.rest();
        let sent = tally.of(call).sent;
        let cost = (sent > 0).then(|| Cost {
            call,
            cpu_us: used_us / sent as f64,
        });
        Ok((clients, cost))
    }

    /// The highest rate of visits, to within a doubling, that is answered in time.
    ///
    /// # Errors
    /// As [`offer`](Self::offer).
    pub fn find_rate(&mut self) -> Result<f64, Failure> {
        let span = RAMP_SPAN.min(Duration::from_secs(u64::from(self.plan.duration_s)));
        let (mut found, mut rate) = (RAMP_FROM / 4.0, RAMP_FROM);
        for _ in 0..RAMP_STEPS_MAX {
            let mut step = self.offer(0.0, rate, span)?;
            if step.is_void {
                // Somebody else had the loader's processor for a moment.
                step = self.offer(0.0, rate, span)?;
            }
            if step.is_void || step.in_time_share < IN_TIME_MIN {
                break;
            }
            found = rate;
            rate *= 2.0;
        }
        Ok(found)
    }

    /// Offers visits at a rate and counts what comes of it.
    ///
    /// # Errors
    /// When nothing can be sent, or somebody asked to stop.
    pub fn offer(&mut self, factor: f64, rate: f64, span: Duration) -> Result<Step, Failure> {
        self.rest();
        let mix = &self.plan.mix;
        self.series += 1;
        let arrival = Arrival::Poisson {
            rate,
            seed: self.series,
        };
        let (_, visit_units) = mix.visit(&self.roles);
        let offer = Offer {
            factor,
            rate,
            visits: arrival.count_within(span),
            visit_units,
            span,
        };
        let life = if mix.opens_connections {
            Life::PerCall
        } else {
            Life::Kept
        };
        let run = Run {
            warm_up: Duration::ZERO,
            patience: PATIENCE,
            ..Run::open(self.service.target(), self.clients.len(), arrival, span)
        };
        // A step may need fewer visits than there are players: whoever comes then is left to chance.
        shuffle(&mut self.clients, self.series);
        let clients = std::mem::take(&mut self.clients);
        let begun = (Instant::now(), self.host.map(|host| cpu_seconds(host.pid)));
        let _ = self.host.map(|host| host.watch.take());
        let (clients, counts, tally, outcome) = self.go(clients, &run.with_life(life), mix.checks)?;
        self.clients = clients;
        let mut step = Step::of(&offer, &outcome, &counts, &tally);
        if let Some(host) = self.host {
            let used_s = cpu_seconds(host.pid) - begun.1.unwrap_or(0.0);
            step.server_cpu_share = Some(used_s / begun.0.elapsed().as_secs_f64() / host.cpus.max(1) as f64);
            step.admission = Some(host.watch.take());
        }
        Ok(step)
    }

    fn go(&mut self, mut clients: Vec<Client>, run_plan: &Run, checks: (u32, u32)) -> Result<Gone, Failure> {
        self.stop.check()?;
        let unsigned = |error: std::io::Error| Failure::Failed(format!("a check cannot be signed: {error}"));
        for client in &mut clients {
            // Signatures are good for 300 seconds.
            client.prepare_check(self.service).map_err(unsigned)?;
        }
        let habits = Habits::of_visitors(self.series);
        let visits_per_s = match run_plan.arrival {
            Arrival::Poisson { rate, .. } | Arrival::Constant(rate) => rate,
            Arrival::Closed => 0.0,
        };
        let visits = Visits {
            checks,
            reconnect_share: self.plan.mix.reconnect_share,
            further_per_s_max: self.host.is_none().then_some(TARGET_CALLS_PER_S_MAX - visits_per_s),
            stop: std::sync::Arc::clone(&self.stop.flag),
        };
        let mut crowd = Crowd::new(self.service, clients, habits).visiting(visits);
        let outcome = run(run_plan, &mut crowd, &mut NoMeter);
        let outcome = outcome.map_err(|error| Failure::Failed(format!("the storm cannot be driven: {error}")))?;
        self.stop.check()?;
        let (clients, counts, tally) = crowd.end();
        self.false_invalids += counts.false_invalids;
        Ok((clients, counts, tally, outcome))
    }

    /// Waits until the server has nothing left to do.
    fn rest(&self) {
        let Some(host) = self.host else { return };
        let end = Instant::now() + REST_MAX;
        while Instant::now() < end {
            let _ = host.watch.take();
            let look_end = Instant::now() + REST_LOOK * 10;
            while !host.watch.has_looked() && Instant::now() < look_end {
                std::thread::park_timeout(REST_LOOK);
            }
            if host.watch.is_quiet() {
                return;
            }
        }
    }
}

type Gone = (
    Vec<Client>,
    seawall_load::storm::counts::Counts,
    seawall_load::storm::tally::Tally,
    seawall_load::Outcome,
);
