use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use entrapool_metrics::{Closed, Metrics, Protocol, RouteMetrics, State};
use tokio::sync::Semaphore;

use super::*;
use crate::config::{PoolLimits, PoolMode};

/// Makes connections as scripted; without a script every attempt succeeds.
#[derive(Default)]
struct Script {
    outcomes: Mutex<VecDeque<Result<(), &'static str>>>,
    attempts: AtomicUsize,
    parted: AtomicUsize,
    /// When set, attempts wait for a permit.
    gate: Option<Semaphore>,
}

struct Scripted(Arc<Script>);

struct Fake {
    fit: Arc<AtomicBool>,
    script: Arc<Script>,
}

impl Connection for Fake {
    fn unfit(&mut self) -> Option<Closed> {
        (!self.fit.load(Ordering::Relaxed)).then_some(Closed::Server)
    }

    fn part(&mut self) {
        self.script.parted.fetch_add(1, Ordering::Relaxed);
    }

    fn particulars(&self) -> Particulars {
        Particulars {
            token_generation: 7,
            ..Particulars::default()
        }
    }
}

impl Connect for Scripted {
    type Key = &'static str;
    type Connection = Fake;
    type Error = String;
    type Shared = ();

    fn share(&self) {}

    async fn connect(&self, _: &&'static str, _: &Arc<()>) -> Result<Fake, String> {
        self.0.attempts.fetch_add(1, Ordering::Relaxed);
        if let Some(gate) = &self.0.gate {
            gate.acquire().await.unwrap().forget();
        }
        let outcome = self
            .0
            .outcomes
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or(Ok(()));
        outcome.map_err(str::to_owned)?;
        Ok(Fake {
            fit: Arc::new(AtomicBool::new(true)),
            script: Arc::clone(&self.0),
        })
    }
}

struct Bench {
    pools: Pools<Scripted>,
    script: Arc<Script>,
    metrics: Arc<RouteMetrics>,
}

fn limits(size: usize) -> PoolLimits {
    PoolLimits {
        mode: PoolMode::Transaction,
        size,
        min_idle: 0,
        max_clients: 100,
        wait_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(600),
        max_lifetime: Duration::from_secs(3600),
    }
}

fn bench_with(limits: &PoolLimits, script: Script) -> Bench {
    let script = Arc::new(script);
    let metrics = Metrics::new().route(Protocol::Postgres, "test");
    let pools = Pools::new(Scripted(Arc::clone(&script)), limits, Arc::clone(&metrics));
    Bench {
        pools,
        script,
        metrics,
    }
}

fn bench(size: usize) -> Bench {
    bench_with(&limits(size), Script::default())
}

impl Bench {
    async fn lease(&self, key: &'static str) -> Lease<Scripted> {
        self.pools.pool(&key).lease(1).await.unwrap()
    }

    fn attempts(&self) -> usize {
        self.script.attempts.load(Ordering::Relaxed)
    }

    /// Waits until `what` holds; fails after five seconds.
    async fn until(&self, what: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !what(self) {
            assert!(Instant::now() < deadline, "it did not come to pass");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_backend_is_lent_again() {
    let bench = bench(2);
    bench.lease("a").await.give_back(Instant::now());
    let pool = bench.pools.pool(&"a");
    let lease = pool.try_lease(2, Instant::now()).unwrap();
    assert_eq!(bench.attempts(), 1);
    assert_eq!(bench.metrics.handovers.get(), 1);
    assert_eq!(bench.metrics.connections.now(State::Active), 1);
    assert!(pool.try_lease(2, Instant::now()).is_none());
    lease.give_back(Instant::now());
    assert_eq!(bench.metrics.connections.now(State::Idle), 1);
}

#[tokio::test]
async fn no_more_than_the_limit_and_first_come_first_served() {
    let bench = Arc::new(bench(1));
    let held = bench.lease("a").await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiters = Vec::new();
    for number in 0..5_u64 {
        let (bench, order) = (Arc::clone(&bench), Arc::clone(&order));
        waiters.push(tokio::spawn(async move {
            let lease = bench.lease("a").await;
            order.lock().unwrap().push(number);
            lease.give_back(Instant::now());
        }));
        tokio::task::yield_now().await;
    }
    bench
        .until(|bench| bench.metrics.clients_waiting.now() == 5)
        .await;
    held.give_back(Instant::now());
    for waiter in waiters {
        waiter.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4]);
    assert_eq!(bench.attempts(), 1);
    assert_eq!(bench.metrics.clients_waiting.now(), 0);
}

/// Two who wait, in this order.
async fn two_in_line(
    pool: &Arc<Pool<Scripted>>,
) -> [Pin<Box<impl Future<Output = Result<Lease<Scripted>, LeaseError<String>>>>>; 2] {
    let mut both = [1, 2].map(|borrower| Box::pin(pool.lease(borrower)));
    for waiting in &mut both {
        let early = tokio::time::timeout(Duration::ZERO, waiting).await;
        assert!(early.is_err(), "there is no backend yet");
    }
    both
}

#[tokio::test]
async fn whoever_leaves_when_it_has_been_served_passes_it_on() {
    let bench = bench(1);
    let held = bench.lease("a").await;
    let pool = bench.pools.pool(&"a");
    let [first, second] = two_in_line(&pool).await;
    held.give_back(Instant::now());
    assert!(pool.try_lease(3, Instant::now()).is_none(), "overtaken");
    drop(first);
    second.await.unwrap().give_back(Instant::now());
    assert_eq!(bench.attempts(), 1);
    assert!(pool.try_lease(3, Instant::now()).is_some());
}

#[tokio::test]
async fn a_backend_that_dies_on_its_way_costs_nobody_their_place() {
    let bench = bench(1);
    let held = bench.lease("a").await;
    let fit = Arc::clone(&held.fit);
    let pool = bench.pools.pool(&"a");
    let [first, mut second] = two_in_line(&pool).await;
    held.give_back(Instant::now());
    fit.store(false, Ordering::Relaxed);
    let lease = first.await.unwrap();
    assert_eq!(bench.attempts(), 2);
    let early = tokio::time::timeout(Duration::ZERO, &mut second).await;
    assert!(early.is_err(), "it was behind");
    lease.give_back(Instant::now());
    second.await.unwrap();
}

#[tokio::test]
async fn a_dropped_lease_closes_its_backend() {
    let bench = bench(1);
    drop(bench.lease("a").await);
    assert_eq!(bench.script.parted.load(Ordering::Relaxed), 1);
    assert_eq!(bench.metrics.connections_closed.get(Closed::Error), 1);
    assert_eq!(bench.pools.backends(), 0);
    bench.lease("a").await.give_back(Instant::now());
    assert_eq!(bench.attempts(), 2);
}

#[tokio::test]
async fn a_login_is_not_lost_with_its_client() {
    let script = Script {
        gate: Some(Semaphore::new(0)),
        ..Script::default()
    };
    let bench = bench_with(&limits(1), script);
    let pool = bench.pools.pool(&"a");
    let gone = tokio::time::timeout(Duration::from_millis(20), pool.lease(1)).await;
    assert!(
        gone.is_err(),
        "the client gave up while the login was under way"
    );
    bench.script.gate.as_ref().unwrap().add_permits(1);
    bench.until(|bench| bench.pools.backends() == 1).await;
    assert!(pool.try_lease(2, Instant::now()).is_some());
    assert_eq!(bench.attempts(), 1);
}

#[tokio::test]
async fn a_failure_reaches_everybody_at_once_and_then_pauses() {
    let script = Script {
        outcomes: Mutex::new([Err("refused"), Err("refused")].into()),
        ..Script::default()
    };
    let bench = bench_with(&limits(4), script);
    let pool = bench.pools.pool(&"a");
    let began = Instant::now();
    let (one, two) = tokio::join!(pool.lease(1), pool.lease(2));
    for result in [one.map(drop), two.map(drop)] {
        assert_eq!(result, Err(LeaseError::Connect("refused".into())));
    }
    let attempts = bench.attempts();
    // Within the pause nobody tries again, and the answer is the same.
    assert_eq!(
        pool.lease(3).await.map(drop),
        Err(LeaseError::Connect("refused".into()))
    );
    assert_eq!(bench.attempts(), attempts);
    assert!(began.elapsed() < Duration::from_secs(1));
    // Recovery is by itself.
    let deadline = Instant::now() + Duration::from_secs(5);
    while pool.lease(4).await.map(drop).is_err() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn with_backends_at_work_a_failure_is_not_the_clients() {
    let script = Script {
        outcomes: Mutex::new([Ok(()), Err("full")].into()),
        ..Script::default()
    };
    let bench = Arc::new(bench_with(&limits(4), script));
    let held = bench.lease("a").await;
    let waiting = Arc::clone(&bench);
    let waiter = tokio::spawn(async move { waiting.lease("a").await.give_back(Instant::now()) });
    bench.until(|bench| bench.attempts() == 2).await;
    held.give_back(Instant::now());
    waiter.await.unwrap();
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let mut limits = limits(1);
    limits.wait_timeout = Duration::from_millis(50);
    let bench = bench_with(&limits, Script::default());
    let _held = bench.lease("a").await;
    assert_eq!(
        bench.pools.pool(&"a").lease(2).await.map(drop),
        Err(LeaseError::Timeout)
    );
}

#[tokio::test]
async fn a_dead_backend_is_never_lent() {
    let bench = bench(2);
    let lease = bench.lease("a").await;
    let fit = Arc::clone(&lease.fit);
    lease.give_back(Instant::now());
    fit.store(false, Ordering::Relaxed);
    let lease = bench.lease("a").await;
    assert!(lease.fit.load(Ordering::Relaxed));
    assert_eq!(bench.attempts(), 2);
    assert_eq!(bench.metrics.connections_closed.get(Closed::Server), 1);
}

#[tokio::test]
async fn old_and_unused_backends_are_reaped() {
    let mut limits = limits(4);
    limits.idle_timeout = Duration::from_millis(300);
    let bench = bench_with(&limits, Script::default());
    let (one, two) = (bench.lease("a").await, bench.lease("a").await);
    one.give_back(Instant::now());
    two.give_back(Instant::now());
    bench.until(|bench| bench.pools.backends() == 0).await;
    assert_eq!(bench.metrics.connections_closed.get(Closed::Idle), 2);

    limits.idle_timeout = Duration::from_secs(600);
    limits.max_lifetime = Duration::from_millis(300);
    let bench = bench_with(&limits, Script::default());
    let lease = bench.lease("a").await;
    tokio::time::sleep(Duration::from_millis(310)).await;
    lease.give_back(Instant::now());
    assert_eq!(bench.metrics.connections_closed.get(Closed::Lifetime), 1);
}

#[tokio::test]
async fn some_are_kept_warm() {
    let mut limits = limits(4);
    limits.min_idle = 2;
    limits.idle_timeout = Duration::from_millis(200);
    let bench = bench_with(&limits, Script::default());
    bench.pools.warm(&"a");
    bench.until(|bench| bench.pools.backends() == 2).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(bench.pools.backends(), 2);
}

#[tokio::test]
async fn databases_share_the_limit() {
    let bench = bench(1);
    bench.lease("a").await.give_back(Instant::now());
    // An idle backend of another database makes room.
    let b = bench.lease("b").await;
    assert_eq!(bench.pools.backends(), 1);
    // One that is lent makes room when it comes back, though its own clients wait too.
    let (pools_a, pools_b) = (bench.pools.pool(&"a"), bench.pools.pool(&"b"));
    let mut first = std::pin::pin!(pools_b.lease(2));
    let mut second = std::pin::pin!(pools_a.lease(3));
    let waits = |result: Result<_, _>| assert!(result.is_err(), "there is no room yet");
    waits(
        tokio::time::timeout(Duration::from_millis(20), &mut first)
            .await
            .map(drop),
    );
    waits(
        tokio::time::timeout(Duration::from_millis(20), &mut second)
            .await
            .map(drop),
    );
    b.give_back(Instant::now());
    second.await.unwrap().give_back(Instant::now());
    first.await.unwrap().give_back(Instant::now());
}

#[tokio::test]
async fn a_closed_pool_keeps_nothing() {
    let bench = bench(2);
    let (idle, lent) = (bench.lease("a").await, bench.lease("a").await);
    let pool = bench.pools.pool(&"a");
    idle.give_back(Instant::now());
    bench.pools.close();
    lent.give_back(Instant::now());
    assert_eq!(bench.metrics.connections_closed.get(Closed::Drain), 2);
    assert_eq!(pool.lease(3).await.map(drop), Err(LeaseError::Closed));
}

#[tokio::test]
async fn whoever_asks_sees_what_each_backend_does() {
    let bench = bench(3);
    let view = |bench: &Bench| {
        bench.pools.view(|&key| Named {
            database: key.to_owned(),
            variant: String::new(),
        })
    };
    let mut cleaned = bench.lease("b").await;
    cleaned.begin_cleaning();
    let lent = bench.pools.pool(&"a").lease(42).await.unwrap();
    bench.lease("a").await.give_back(Instant::now());
    let [a, b] = &view(&bench)[..] else {
        panic!("two pools");
    };
    assert_eq!((&*a.name.database, &*b.name.database), ("a", "b"));
    assert_eq!((a.creating, a.waiting), (0, 0));
    let states = |view: &View| -> Vec<(u64, State, u64)> {
        let backends = view.backends.iter();
        backends
            .map(|it| (it.number, it.state, it.borrower))
            .collect()
    };
    assert_eq!(states(a), [(2, State::Active, 42), (3, State::Idle, 1)]);
    assert_eq!(states(b), [(1, State::Cleaning, 1)]);
    assert_eq!(a.backends[0].particulars.token_generation, 7);
    assert!(a.backends[0].expires_in > Duration::from_secs(3000));
    drop(cleaned);
    lent.give_back(Instant::now());
    let after = view(&bench);
    assert_eq!(states(&after[0])[0], (2, State::Idle, 42));
    assert_eq!(states(&after[1]), []);
}

#[tokio::test]
async fn successors_share_the_slots_of_those_before() {
    let old = bench(4);
    let held = [old.lease("a").await, old.lease("a").await];
    old.lease("a").await.give_back(Instant::now());
    let new = bench(2);
    new.pools.succeed(&old.pools);
    old.pools.retire();
    // What idled is closed; what is lent goes on, and takes the room of the new ones.
    assert_eq!((old.pools.backends(), new.pools.backends()), (2, 0));
    let waiting = tokio::spawn({
        let pool = new.pools.pool(&"a");
        async move {
            pool.lease(9)
                .await
                .map(|lease| lease.give_back(Instant::now()))
        }
    });
    new.until(|new| new.metrics.clients_waiting.now() == 1)
        .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(new.attempts(), 0);
    let [first, second] = held;
    // Of four slots two were taken back; this one is the first that is left over.
    first.give_back(Instant::now());
    waiting.await.unwrap().unwrap();
    assert_eq!((old.pools.backends(), new.pools.backends()), (1, 1));
    // The session that stayed finds its backend again, and could get another.
    second.give_back(Instant::now());
    assert!(old.pools.pool(&"a").try_lease(1, Instant::now()).is_some());

    let third = bench(3);
    third.pools.succeed(&new.pools);
    new.pools.retire();
    let leases = [
        third.lease("a").await,
        third.lease("b").await,
        third.lease("b").await,
    ];
    assert_eq!(third.pools.backends(), 3);
    assert!(!third.pools.pool(&"b").could_grow());
    drop(leases);
}

#[tokio::test]
async fn pools_that_nobody_has_any_more_say_goodbye() {
    let Bench {
        pools,
        script,
        metrics,
    } = bench(2);
    let pool = pools.pool(&"a");
    pool.lease(1).await.unwrap().give_back(Instant::now());
    drop((pools, pool));
    assert_eq!(script.parted.load(Ordering::Relaxed), 1);
    assert_eq!(metrics.connections_closed.get(Closed::Drain), 1);
}

#[tokio::test]
async fn a_paused_route_lets_nobody_through_and_then_everybody() {
    let bench = bench(2);
    let pool = bench.pools.pool(&"a");
    let (idle, lent) = (bench.lease("a").await, bench.lease("a").await);
    idle.give_back(Instant::now());
    assert!(bench.pools.turn(Turn::Pause));
    assert!(!bench.pools.turn(Turn::Pause), "it was paused already");
    // The idle one has gone, the other one goes when it comes back.
    let standing = bench.pools.standing();
    assert_eq!((standing.paused, standing.unsettled), (true, 1));
    assert!(pool.try_lease(9, Instant::now()).is_none());
    let waiting = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.lease(9).await.map(drop) }
    });
    bench
        .until(|bench| bench.metrics.clients_waiting.now() == 1)
        .await;
    lent.give_back(Instant::now());
    assert_eq!(bench.pools.standing().unsettled, 0);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    assert_eq!((bench.attempts(), bench.pools.backends()), (2, 0));
    assert_eq!(bench.metrics.connections_closed.get(Closed::Operator), 2);
    assert!(bench.pools.turn(Turn::Resume));
    assert!(!bench.pools.turn(Turn::Resume), "it was not paused");
    assert_eq!(waiting.await.unwrap(), Ok(()));
    assert_eq!(bench.attempts(), 3);
}

#[tokio::test]
async fn whoever_is_held_back_is_not_told_to_give_up() {
    let limits = PoolLimits {
        wait_timeout: Duration::from_millis(40),
        ..limits(1)
    };
    let script = Script {
        outcomes: Mutex::new([Err("down")].into()),
        ..Script::default()
    };
    let bench = bench_with(&limits, script);
    let pool = bench.pools.pool(&"a");
    let failed = pool.lease(1).await.map(drop);
    assert_eq!(failed, Err(LeaseError::Connect("down".to_owned())));
    bench.pools.turn(Turn::Pause);
    // Neither the pause after the failure nor the timeout counts.
    let mut waiting = std::pin::pin!(pool.lease(2));
    let long = tokio::time::timeout(Duration::from_millis(200), waiting.as_mut()).await;
    assert!(long.is_err(), "it waits on");
    bench.pools.turn(Turn::Resume);
    waiting.await.unwrap().give_back(Instant::now());
}

#[tokio::test]
async fn replaced_backends_are_closed_as_they_come_back() {
    let bench = bench(3);
    let (idle, lent) = (bench.lease("a").await, bench.lease("a").await);
    idle.give_back(Instant::now());
    assert!(!bench.pools.turn(Turn::Replace));
    let standing = bench.pools.standing();
    assert_eq!(
        (standing.paused, standing.outdated, standing.unsettled),
        (false, 2, 1)
    );
    let fresh = bench.lease("a").await;
    assert_eq!(bench.attempts(), 3);
    assert!(fresh.unless_outdated().is_some_and(|fresh| {
        fresh.give_back(Instant::now());
        true
    }));
    // What its client has left need not be cleaned.
    assert!(lent.unless_outdated().is_none());
    assert_eq!(bench.pools.standing().unsettled, 0);
    assert_eq!(bench.pools.backends(), 1);
    assert_eq!(bench.metrics.connections_closed.get(Closed::Operator), 2);
}

#[tokio::test]
async fn a_login_that_was_under_way_when_it_was_replaced_is_not_lent() {
    let script = Script {
        gate: Some(Semaphore::new(0)),
        ..Script::default()
    };
    let bench = bench_with(&limits(2), script);
    let pool = bench.pools.pool(&"a");
    let waiting = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move {
            pool.lease(1)
                .await
                .map(|lease| lease.give_back(Instant::now()))
        }
    });
    bench.until(|bench| bench.attempts() == 1).await;
    bench.pools.turn(Turn::Replace);
    bench.script.gate.as_ref().unwrap().add_permits(2);
    waiting.await.unwrap().unwrap();
    assert_eq!(bench.attempts(), 2, "the first was thrown away");
    assert_eq!(bench.metrics.connections_closed.get(Closed::Operator), 1);
}
