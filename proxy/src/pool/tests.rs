use std::collections::VecDeque;
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
