use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::queue::OLD;
use super::*;

/// Counts how often it is woken.
#[derive(Default)]
struct Counted(AtomicUsize);

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A connection at the turnstile.
struct Client {
    entry: Entry,
    line: Line,
    woken: Arc<Counted>,
}

impl Client {
    fn of(turnstile: &Arc<Turnstile>, tenant: u64) -> Self {
        Self::in_line(
            turnstile,
            Line {
                tenant,
                class: Class::Refresh,
            },
        )
    }

    fn in_line(turnstile: &Arc<Turnstile>, line: Line) -> Self {
        Client {
            entry: Entry::new(turnstile, 1),
            line,
            woken: Arc::default(),
        }
    }

    fn passes(&mut self) -> bool {
        let waker = Waker::from(Arc::clone(&self.woken));
        self.entry.poll_pass(&Context::from_waker(&waker), self.line).is_ready()
    }

    fn times_woken(&self) -> usize {
        self.woken.0.load(Ordering::Relaxed)
    }
}

/// Shares as admission has them where nobody says others.
const RULES: Rules = Rules {
    is_off: false,
    shares: PerClass([50, 20, 20, 5, 5]),
};

fn turnstile(per_round: usize) -> Arc<Turnstile> {
    Turnstile::new(per_round, Gauge::default(), || RULES)
}

/// So many of a class, all of one tenant, that have come and have to wait.
fn waiting_for(turnstile: &Arc<Turnstile>, count: usize, class: Class) -> Vec<Client> {
    let line = Line { tenant: 1, class };
    let mut clients: Vec<Client> = (0..count).map(|_| Client::in_line(turnstile, line)).collect();
    assert!(clients.iter_mut().all(|client| !client.passes()));
    clients
}

/// So many clients of a tenant that have come and have to wait.
fn waiting(turnstile: &Arc<Turnstile>, count: usize, tenant: u64) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| Client::of(turnstile, tenant)).collect();
    assert!(clients.iter_mut().all(|client| !client.passes()));
    clients
}

/// Nothing more may begin in this round.
fn used_up(turnstile: &Arc<Turnstile>) {
    while Client::of(turnstile, 0).passes() {}
}

fn who_passes(clients: &mut [Client]) -> Vec<usize> {
    let passes = clients.iter_mut().enumerate();
    passes
        .filter_map(|(at, client)| client.passes().then_some(at))
        .collect()
}

#[test]
fn so_many_begin_in_a_round_and_the_last_to_come_are_the_next() {
    let turnstile = turnstile(2);
    used_up(&turnstile);
    let mut clients = waiting(&turnstile, 5, 1);
    assert_eq!(turnstile.waiting(), 5);
    assert!(turnstile.begin_round());
    assert_eq!(
        clients.iter().map(Client::times_woken).collect::<Vec<_>>(),
        [0, 0, 0, 1, 1]
    );
    assert_eq!(who_passes(&mut clients), [3, 4]);
    assert!(turnstile.begin_round());
    assert_eq!(turnstile.waiting(), 1);
    assert!(!turnstile.begin_round(), "nobody is left");
    assert_eq!(turnstile.waiting(), 0);
    assert!(Client::of(&turnstile, 1).passes(), "there is room in the last round");
    assert!(!Client::of(&turnstile, 1).passes(), "for one");
}

#[test]
fn all_begin_at_once_where_it_is_off() {
    let turnstile = Turnstile::new(1, Gauge::default(), || Rules { is_off: true, ..RULES });
    assert!((0..10).all(|_| Client::of(&turnstile, 1).passes()));
}

#[test]
fn games_take_turns_however_many_wait_of_each() {
    let turnstile = turnstile(4);
    used_up(&turnstile);
    let mut quiet = waiting(&turnstile, 2, 7);
    let mut noisy = waiting(&turnstile, 100, 3);
    assert!(turnstile.begin_round());
    assert_eq!((who_passes(&mut quiet).len(), who_passes(&mut noisy).len()), (2, 2));
}

#[test]
fn the_classes_of_a_game_have_turns_by_their_shares() {
    let turnstile = turnstile(10);
    used_up(&turnstile);
    let classes = [Class::Refresh, Class::Login, Class::Register, Class::Bulk];
    let mut lines = classes.map(|class| waiting_for(&turnstile, 100, class));
    for _ in 0..3 {
        assert!(turnstile.begin_round());
        assert_eq!(lines.each_mut().map(|line| who_passes(line).len()), [4, 4, 1, 1]);
    }
}

#[test]
fn what_a_class_does_not_use_is_lent_and_given_back_at_once() {
    let turnstile = turnstile(10);
    used_up(&turnstile);
    let mut bulk = waiting_for(&turnstile, 100, Class::Bulk);
    for _ in 0..3 {
        assert!(turnstile.begin_round());
        assert_eq!(who_passes(&mut bulk).len(), 10, "nobody else is there");
    }
    let mut refreshes = waiting_for(&turnstile, 100, Class::Refresh);
    assert!(turnstile.begin_round());
    assert_eq!((who_passes(&mut refreshes).len(), who_passes(&mut bulk).len()), (8, 2));
}

#[test]
fn a_class_without_a_share_is_not_shut_out() {
    let shares = PerClass([100, 99, 0, 0, 0]);
    let turnstile = Turnstile::new(100, Gauge::default(), move || Rules { shares, ..RULES });
    used_up(&turnstile);
    let mut bulk = waiting_for(&turnstile, 3, Class::Bulk);
    let _refreshes = waiting_for(&turnstile, 200, Class::Refresh);
    assert!(turnstile.begin_round());
    assert_eq!(who_passes(&mut bulk), [2]);
}

#[test]
fn of_those_who_wait_for_long_the_first_has_every_fifth_turn() {
    let turnstile = turnstile(10);
    used_up(&turnstile);
    let mut clients = waiting(&turnstile, 20, 1);
    let long_after = Instant::now() + OLD + Duration::from_millis(1);
    let mut state = turnstile.state.lock();
    for _ in 0..10 {
        assert!(state.next(long_after, &RULES.shares).is_some());
    }
    drop(state);
    let passed = who_passes(&mut clients);
    assert_eq!(passed, [0, 1, 12, 13, 14, 15, 16, 17, 18, 19]);
}

#[test]
fn no_number_of_games_keeps_the_first_of_any_from_its_turn() {
    let turnstile = turnstile(10);
    used_up(&turnstile);
    let mut games: Vec<Vec<Client>> = (1..=5).map(|game| waiting(&turnstile, 10, game)).collect();
    let long_after = Instant::now() + OLD + Duration::from_millis(1);
    let mut state = turnstile.state.lock();
    for _ in 0..10 {
        assert!(state.next(long_after, &RULES.shares).is_some());
    }
    drop(state);
    for clients in &mut games {
        assert_eq!(who_passes(clients), [0, 9], "its first and its last");
    }
}

#[test]
fn who_begins_more_work_leaves_more_turns_to_the_others() {
    let turnstile = turnstile(16);
    used_up(&turnstile);
    let mut players = waiting(&turnstile, 100, 1);
    let mut heavy: Vec<Client> = (0..100)
        .map(|_| Client::in_line(&turnstile, Line::HANDSHAKES))
        .collect();
    for client in &mut heavy {
        client.entry = Entry::new(&turnstile, 4);
        assert!(!client.passes());
    }
    assert!(turnstile.begin_round());
    assert_eq!((who_passes(&mut heavy).len(), who_passes(&mut players).len()), (2, 8));
}

#[test]
fn who_gives_up_leaves_no_trace_and_takes_no_turn() {
    let turnstile = turnstile(1);
    used_up(&turnstile);
    let mut patient = waiting(&turnstile, 1, 1);
    drop(waiting(&turnstile, 3, 1));
    drop(waiting(&turnstile, 1, 2));
    assert_eq!(turnstile.waiting(), 1);
    assert!(!turnstile.begin_round());
    assert_eq!(who_passes(&mut patient), [0]);
    assert!(turnstile.state.lock().queues.is_empty());
}

#[test]
fn more_work_uses_more_of_a_round() {
    let turnstile = turnstile(10);
    used_up(&turnstile);
    let mut clients = waiting(&turnstile, 10, 1);
    for client in &mut clients {
        client.entry = Entry::new(&turnstile, 4);
        assert!(!client.passes());
    }
    assert!(turnstile.begin_round());
    assert_eq!(
        who_passes(&mut clients).len(),
        3,
        "the last may begin with what is left"
    );
}

#[tokio::test]
async fn a_round_begins_when_it_is_wanted() {
    let turnstile = turnstile(1);
    used_up(&turnstile);
    let attending = tokio::spawn(Arc::clone(&turnstile).attend(Handle::current()));
    let mut entry = Entry::new(&turnstile, 1);
    let passed = std::future::poll_fn(|cx| entry.poll_pass(cx, Line::NEW));
    tokio::time::timeout(Duration::from_secs(10), passed)
        .await
        .expect("its turn");
    attending.abort();
}
