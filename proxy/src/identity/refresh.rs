//! The refresh task: one per (identity, audience), the only one that talks to the source.
//!
//! It publishes what it knows through a watch channel and takes orders from logins that were
//! refused. Started by [`Identities`](super::Identities), ended by its cancellation token, or when
//! nobody holds a handle any more.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::clock::{Clock, Due};
use super::explain::advice;
use super::failure::{Failure, FailureClass, Lack, Span, Streak, Unavailable};
use super::handle::{Order, State, TokenHandle};
use super::journal::Journal;
use super::observe::{RefreshResult, Subject, TokenMetrics};
use super::schedule::{Jitter, floor, refresh_in, retry_in};
use super::source::{Fetched, TokenSource};
use super::token::{Term, Token};

/// The limit of one question, whatever the source does meanwhile.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(30);
/// A wait is looked at anew this often, so that a suspended machine or a set clock is noticed.
const LONGEST_NAP: Duration = Duration::from_secs(15);
/// How often a password file is looked at.
const FILE_PERIOD: Duration = Duration::from_secs(1);
/// Logins that wait for an answer beyond this number queue in their own tasks.
const MOST_ORDERS: usize = 64;

/// What a task needs besides its source.
pub(super) struct Surroundings {
    pub(super) clock: Clock,
    pub(super) metrics: Arc<dyn TokenMetrics>,
    pub(super) cancel: CancellationToken,
}

/// Starts a refresh task on the current runtime.
pub(super) fn start(
    subject: Subject,
    source: TokenSource,
    surroundings: Surroundings,
) -> TokenHandle {
    let Surroundings {
        clock,
        metrics,
        cancel,
    } = surroundings;
    let subject = Arc::new(subject);
    let (state, view) = watch::channel(State::default());
    let (orders, inbox) = mpsc::channel(MOST_ORDERS);
    let refresher = Refresher {
        subject: Arc::clone(&subject),
        source,
        state,
        inbox,
        clock,
        metrics,
        journal: Journal::new(Arc::clone(&subject)),
        forced: Forced::default(),
    };
    tokio::spawn(cancel.run_until_cancelled_owned(refresher.run()));
    TokenHandle::new(subject, view, orders, clock)
}

struct Refresher {
    subject: Arc<Subject>,
    source: TokenSource,
    state: watch::Sender<State>,
    inbox: mpsc::Receiver<Order>,
    clock: Clock,
    metrics: Arc<dyn TokenMetrics>,
    journal: Journal,
    forced: Forced,
}

/// The forced refresh that is due or under way, and what limits the next one.
#[derive(Default)]
struct Forced {
    waiting: Vec<Order>,
    at: Option<Instant>,
    failed: Option<Instant>,
}

/// What follows a wait.
#[derive(PartialEq, Eq)]
enum Next {
    /// The source is asked.
    Attempt,
    /// Nobody is left who could use what it says.
    End,
}

impl Refresher {
    async fn run(mut self) {
        loop {
            let due = self.attempt().await;
            self.state
                .send_modify(|state| state.next_refresh = Some(due.wall()));
            for order in mem::take(&mut self.forced.waiting) {
                let verdict = self.verdict(order.refused);
                // A login that gave up needs no answer.
                let _ = order.reply.send(verdict);
            }
            if self.wait(due).await == Next::End {
                return;
            }
        }
    }

    /// Asks the source once, publishes the outcome, and says when to ask again.
    async fn attempt(&mut self) -> Due {
        let begun = Instant::now();
        let outcome = timeout(LONGEST_ATTEMPT, self.source.fetch())
            .await
            .unwrap_or_else(|_| Err(no_answer()));
        let took = begun.elapsed();
        let now = self.clock.now();
        let delay = match outcome {
            Ok(Fetched::Unchanged) => FILE_PERIOD,
            Ok(Fetched::Token { secret, expires_at }) => match self.term(expires_at, now) {
                Ok(term) => self.received(secret, term, took),
                Err(failure) => self.failed(failure, took),
            },
            Err(failure) => self.failed(failure, took),
        };
        Due::after(self.clock, delay)
    }

    /// The term of a token that came `now`; an error if it is already over.
    fn term(
        &self,
        expires_at: Option<SystemTime>,
        now: SystemTime,
    ) -> Result<Option<Term>, Failure> {
        let Some(expires_at) = expires_at else {
            return Ok(None);
        };
        let lifetime = match expires_at.duration_since(now) {
            Ok(lifetime) if !lifetime.is_zero() => lifetime,
            _ => {
                return Err(stale(now.duration_since(expires_at).unwrap_or_default()));
            }
        };
        // Another token of the same expiry continues the life that began with the first one.
        let known = self.state.borrow().token.as_ref().and_then(|token| {
            let term = Term {
                expires_at: token.expires_at()?,
                lifetime: token.lifetime()?,
            };
            (term.expires_at == expires_at).then_some(term.lifetime)
        });
        let lifetime = known.map_or(lifetime, |known| known.max(lifetime));
        Ok(Some(Term {
            expires_at,
            lifetime,
        }))
    }

    fn received(
        &mut self,
        secret: Zeroizing<String>,
        term: Option<Term>,
        took: Duration,
    ) -> Duration {
        let now = self.clock.now();
        let (old, streak) = {
            let state = self.state.borrow();
            (state.token.clone(), state.streak.clone())
        };
        let same = old.as_ref().is_some_and(|old| {
            old.secret() == secret.as_str() && old.expires_at() == term.map(|term| term.expires_at)
        });
        let result = if same {
            RefreshResult::Same
        } else {
            RefreshResult::Renewed
        };
        let fresh = (!same).then(|| {
            let generation = old.map_or(0, |old| old.generation()) + 1;
            Arc::new(Token::new(secret, term, generation))
        });
        match &fresh {
            Some(token) => self.journal.renewed(token, streak.as_ref(), now),
            None => self.journal.recovered(streak.as_ref(), now),
        }
        self.forced.failed = None;
        self.metrics.refreshed(result, took, now);
        if let Some(Term {
            expires_at,
            lifetime,
        }) = term
        {
            self.metrics.token(expires_at, lifetime);
        }
        self.state.send_modify(|state| {
            if fresh.is_some() {
                state.token = fresh;
            }
            state.streak = None;
            state.last_success = Some(now);
        });
        term.map_or(
            FILE_PERIOD,
            |Term {
                 expires_at,
                 lifetime,
             }| {
                let remaining = expires_at.duration_since(now).unwrap_or_default();
                refresh_in(lifetime, remaining, Jitter::random())
            },
        )
    }

    fn failed(&mut self, failure: Failure, took: Duration) -> Duration {
        let now = self.clock.now();
        let wish = failure.retry_after;
        let streak = match &self.state.borrow().streak {
            Some(Streak { since, count, .. }) => Streak {
                since: *since,
                count: count.saturating_add(1),
                last: failure,
            },
            None => Streak {
                since: now,
                count: 1,
                last: failure,
            },
        };
        let delay = if matches!(self.source, TokenSource::PasswordFile(_)) {
            FILE_PERIOD
        } else {
            retry_in(streak.count, self.life(), wish, Jitter::random())
        };
        self.metrics.refreshed(RefreshResult::Failed, took, now);
        self.journal.failed(&streak, delay);
        self.forced.failed = Some(Instant::now());
        self.state.send_modify(|state| state.streak = Some(streak));
        delay
    }

    /// Waits until `due`, or until a refused login may force the next attempt.
    async fn wait(&mut self, due: Due) -> Next {
        loop {
            let remaining = due.remaining(self.clock);
            if remaining.is_zero() {
                return Next::Attempt;
            }
            let nap = remaining.min(LONGEST_NAP).min(self.until_expired());
            tokio::select! {
                () = sleep(nap) => {}
                order = self.inbox.recv() => {
                    let Some(order) = order else {
                        return Next::End;
                    };
                    if self.admit(order) {
                        return Next::Attempt;
                    }
                }
            }
        }
    }

    /// How long the token can still be used; says so once when it cannot.
    fn until_expired(&mut self) -> Duration {
        let end = self
            .state
            .borrow()
            .token
            .as_ref()
            .and_then(|token| token.usable_until());
        match end.map(|end| end.duration_since(self.clock.now())) {
            None => Duration::MAX,
            Some(Ok(left)) if !left.is_zero() => left,
            Some(_) => {
                self.journal.expired();
                Duration::MAX
            }
        }
    }

    /// Answers an order that needs no refresh; `true` if one must begin.
    fn admit(&mut self, order: Order) -> bool {
        if order.reply.is_closed() {
            return false;
        }
        if self.newer_than(order.refused).is_some() {
            let verdict = self.verdict(order.refused);
            let _ = order.reply.send(verdict);
            return false;
        }
        let pause = floor(self.life());
        let last = self.forced.at.max(self.forced.failed);
        let left = last.map_or(Duration::ZERO, |last| pause.saturating_sub(last.elapsed()));
        if !left.is_zero() {
            let _ = order.reply.send(Err(self.unavailable(Lack::TooSoon(left))));
            return false;
        }
        self.forced.at = Some(Instant::now());
        self.forced.waiting.push(order);
        true
    }

    /// The answer after a refresh.
    fn verdict(&self, refused: u64) -> Result<Arc<Token>, Unavailable> {
        self.newer_than(refused).ok_or_else(|| {
            let failing = self.state.borrow().streak.is_some();
            self.unavailable(if failing {
                Lack::Refused
            } else {
                Lack::SameAgain
            })
        })
    }

    fn newer_than(&self, refused: u64) -> Option<Arc<Token>> {
        let state = self.state.borrow();
        let now = self.clock.now();
        let fits = |token: &&Arc<Token>| token.generation() > refused && token.usable_at(now);
        state.token.as_ref().filter(fits).cloned()
    }

    fn unavailable(&self, lack: Lack) -> Unavailable {
        let streak = self.state.borrow().streak.clone();
        Unavailable::new(&self.subject, lack, streak, self.clock.now())
    }

    /// The life of the last good token, expired or not.
    fn life(&self) -> Option<Duration> {
        self.state
            .borrow()
            .token
            .as_ref()
            .and_then(|token| token.lifetime())
    }
}

/// The source does not come to an end.
pub(super) fn no_answer() -> Failure {
    Failure::new(
        FailureClass::Timeout,
        format!("no answer within {}", Span(LONGEST_ATTEMPT)),
        "it is asked again by itself",
    )
}

/// The source's token had expired so long ago.
pub(super) fn stale(ago: Duration) -> Failure {
    Failure::new(
        FailureClass::Stale,
        format!("the source gave a token that expired {} ago", Span(ago)),
        advice::STALE,
    )
}
