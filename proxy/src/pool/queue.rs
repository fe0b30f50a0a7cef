//! Hot path: one short lock of ours. Waiting for a backend: first come, first served.
//!
//! deadpool has the backends that nobody waits for. One that comes back while somebody waits goes
//! to that client from hand to hand. Nobody who waits has a timer of its own: a clock of the
//! pool's wakes all of them now and then, as long as there are any, and each looks whether its time
//! is over. Why: [ADR 011](../../../docs/adr/011-queue.md).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use deadpool::unmanaged::Object;

use super::{Connect, Entry, Lease, LeaseError, Pool};

/// How often those who wait are woken.
const TICK: Duration = Duration::from_millis(100);
/// How much longer for each of them: a crowd must not cost more than its waiting is worth.
const TICK_EACH: Duration = Duration::from_micros(50);
/// Between two ticks at most this part of a time-out passes.
const TICKS_PER_TIMEOUT: u32 = 16;
const SHORTEST_TICK: Duration = Duration::from_millis(1);

/// Those who wait for a backend of one pool.
pub(super) struct Queue<C: Connect> {
    line: Mutex<Line<C>>,
    /// How many there are; written only with the lock.
    count: AtomicUsize,
    /// Whether the clock runs.
    ticking: AtomicBool,
}

struct Line<C: Connect> {
    /// In the order of their numbers.
    waiting: VecDeque<Waiting>,
    /// Backends for those who have been woken and have not come for them yet.
    served: Vec<(u64, Object<Box<Entry<C>>>)>,
    last: u64,
    /// How often something was told to all who wait.
    told: u64,
    /// The last of it: no backend can be made for now; or all may go on waiting, with their whole
    /// time before them.
    news: Option<C::Error>,
}

struct Waiting {
    number: u64,
    waker: Waker,
}

/// The place in the queue of somebody who waits; it is left when this is dropped.
struct Place<'a, C: Connect> {
    pool: &'a Arc<Pool<C>>,
    /// 0 before it is taken, and when it is no longer needed.
    number: u64,
    told: u64,
    deadline: Instant,
    _gauge: entrapool_metrics::WaitingGuard,
}

impl<C: Connect> Default for Queue<C> {
    fn default() -> Self {
        let line = Line {
            waiting: VecDeque::new(),
            served: Vec::new(),
            last: 0,
            told: 0,
            news: None,
        };
        Self {
            line: Mutex::new(line),
            count: AtomicUsize::new(0),
            ticking: AtomicBool::new(false),
        }
    }
}

impl<C: Connect> Line<C> {
    /// Where `number` stands, or would.
    fn find(&self, number: u64) -> usize {
        self.waiting.partition_point(|one| one.number < number)
    }
}

impl<C: Connect> Queue<C> {
    /// How many wait.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    fn line(&self) -> MutexGuard<'_, Line<C>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the first in line have what `take` gets, if there is somebody and something.
    fn serve(&self, take: impl FnOnce() -> Option<Object<Box<Entry<C>>>>) -> bool {
        let mut line = self.line();
        let Some(first) = line.waiting.pop_front() else {
            return false;
        };
        let Some(object) = take() else {
            line.waiting.push_front(first);
            return false;
        };
        self.count.store(line.waiting.len(), Ordering::SeqCst);
        line.served.push((first.number, object));
        drop(line);
        first.waker.wake();
        true
    }

    /// Wakes all who wait.
    fn wake_all(&self) {
        let wakers: Vec<Waker> = {
            let line = self.line();
            line.waiting.iter().map(|one| one.waker.clone()).collect()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Tells all who wait that no backend can be made, or that they may wait anew.
    pub(super) fn tell(&self, news: Option<C::Error>) {
        {
            let mut line = self.line();
            line.told += 1;
            line.news = news;
        }
        self.wake_all();
    }
}

impl<C: Connect> Pool<C> {
    /// A backend, as soon as there is one. First come, first served.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn lease(self: &Arc<Self>, borrower: u64) -> Result<Lease<C>, LeaseError<C::Error>> {
        if self.route.is_closed() {
            return Err(LeaseError::Closed);
        }
        // Held back, one waits whatever the last attempt came to.
        if !self.route.valve.is_paused()
            && let Some(error) = self.hopeless()
        {
            return Err(LeaseError::Connect(error));
        }
        let mut place = Place {
            pool: self,
            number: 0,
            told: 0,
            deadline: self.latest(),
            _gauge: self.route.metrics.clients_waiting.client(),
        };
        std::future::poll_fn(|cx| place.poll(borrower, cx)).await
    }

    /// Until when one who begins to wait now may wait.
    fn latest(&self) -> Instant {
        Instant::now() + self.wait_timeout()
    }

    /// A backend comes back, fit for anybody.
    #[inline]
    pub(super) fn hand_over(self: &Arc<Self>, object: Object<Box<Entry<C>>>) {
        let mut object = Some(object);
        if self.queue.len() > 0 && self.queue.serve(|| object.take()) {
            return;
        }
        drop(object);
        self.serve_idle();
    }

    /// Lets those who wait have idle backends. To be called after one became idle: whoever comes
    /// to wait looks for one after taking a place, so that one of the two sees the other.
    pub(super) fn serve_idle(&self) {
        while self.queue.len() > 0 && self.queue.serve(|| self.idle.try_get().ok()) {}
    }

    /// Wakes those who wait, until nobody does.
    async fn tick(self: Arc<Self>) {
        let queue = &self.queue;
        loop {
            let count = u32::try_from(queue.len()).unwrap_or(u32::MAX);
            let longest = self.wait_timeout() / TICKS_PER_TIMEOUT;
            let pause = (TICK + TICK_EACH.saturating_mul(count)).min(longest);
            tokio::time::sleep(pause.max(SHORTEST_TICK)).await;
            queue.wake_all();
            if queue.len() == 0 {
                queue.ticking.store(false, Ordering::SeqCst);
                // Somebody may have come just now, and found it running.
                if queue.len() == 0 || queue.ticking.swap(true, Ordering::SeqCst) {
                    return;
                }
            }
        }
    }
}

impl<C: Connect> Place<'_, C> {
    fn poll(
        &mut self,
        borrower: u64,
        cx: &Context<'_>,
    ) -> Poll<Result<Lease<C>, LeaseError<C::Error>>> {
        let is_first = self.number == 0;
        if is_first {
            self.take(cx.waker());
        }
        while let Some(object) = self.served() {
            if let Some(lease) = self.pool.lend(object, borrower, Instant::now()) {
                self.number = 0;
                return Poll::Ready(Ok(lease));
            }
            self.take(cx.waker());
        }
        if is_first {
            return Poll::Pending;
        }
        self.look_up(cx.waker()).map(Err)
    }

    /// Takes a place; the first one again for whoever had it already.
    fn take(&mut self, waker: &Waker) {
        let queue = &self.pool.queue;
        let mut line = queue.line();
        if self.number == 0 {
            line.last += 1;
            self.number = line.last;
            self.told = line.told;
        }
        let (number, waker) = (self.number, waker.clone());
        let at = line.find(number);
        line.waiting.insert(at, Waiting { number, waker });
        queue.count.store(line.waiting.len(), Ordering::SeqCst);
        drop(line);
        self.pool.serve_idle();
        self.pool.grow();
        if !queue.ticking.load(Ordering::SeqCst) && !queue.ticking.swap(true, Ordering::SeqCst) {
            tokio::spawn(Arc::clone(self.pool).tick());
        }
    }

    /// The backend that was brought here.
    fn served(&self) -> Option<Object<Box<Entry<C>>>> {
        let mut line = self.pool.queue.line();
        let mut served = line.served.iter();
        let at = served.position(|(number, _)| *number == self.number)?;
        Some(line.served.swap_remove(at).1)
    }

    /// Whether the wait has come to an end without a backend.
    fn look_up(&mut self, waker: &Waker) -> Poll<LeaseError<C::Error>> {
        let mut line = self.pool.queue.line();
        if line.told != self.told {
            self.told = line.told;
            if let Some(error) = &line.news {
                return Poll::Ready(LeaseError::Connect(error.clone()));
            }
            self.deadline = self.pool.latest();
        }
        let at = line.find(self.number);
        if let Some(one) = line.waiting.get_mut(at)
            && !one.waker.will_wake(waker)
        {
            one.waker = waker.clone();
        }
        drop(line);
        self.pool.grow();
        if Instant::now() < self.deadline {
            return Poll::Pending;
        }
        if !self.pool.route.valve.is_paused() {
            return Poll::Ready(LeaseError::Timeout);
        }
        self.deadline = self.pool.latest();
        Poll::Pending
    }
}

impl<C: Connect> Drop for Place<'_, C> {
    fn drop(&mut self) {
        if self.number == 0 {
            return;
        }
        let queue = &self.pool.queue;
        // Served and gone: the next in line has it.
        if let Some(object) = self.served() {
            self.pool.hand_over(object);
            return;
        }
        let mut line = queue.line();
        let at = line.find(self.number);
        if line
            .waiting
            .get(at)
            .is_some_and(|one| one.number == self.number)
        {
            line.waiting.remove(at);
            queue.count.store(line.waiting.len(), Ordering::SeqCst);
        }
    }
}
