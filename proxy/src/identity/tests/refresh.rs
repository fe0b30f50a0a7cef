//! The refresh task on a scripted source, under a clock that stands still unless all wait.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::identity::clock::Clock;
use crate::identity::failure::{Failure, FailureClass};
use crate::identity::refresh::{Surroundings, start};
use crate::identity::source::{Fetched, TokenSource};
use crate::identity::{CredentialKind, RefreshResult, Subject, TokenHandle};

use super::ledger::SharedLedger;
use super::script::Script;

/// What the source does with a question.
#[derive(Clone, Copy)]
enum Play {
    /// Tokens of this life, a new one each time.
    Fresh(Duration),
    /// The same token each time; it expired or expires so long after the start.
    Cached(Duration),
    /// A new secret each time, with the expiry of [`Play::Cached`].
    Reissued(Duration),
    /// Already over.
    Stale,
    Failing(FailureClass),
    Hanging,
    Password(&'static str),
}

impl Play {
    async fn act(self, call: u32, clock: Clock, begin: SystemTime) -> Result<Fetched, Failure> {
        // A source takes its time; others get to ask meanwhile.
        sleep(Duration::from_millis(5)).await;
        let (secret, expires_at) = match self {
            Self::Fresh(life) => (secret(call), Some(clock.now() + life)),
            Self::Cached(end) => ("cached".to_owned(), Some(begin + end)),
            Self::Reissued(end) => (secret(call), Some(begin + end)),
            Self::Stale => ("old".to_owned(), Some(begin - seconds(9))),
            Self::Failing(class) => return Err(Failure::new(class, "the script fails", "wait")),
            Self::Hanging => std::future::pending().await,
            Self::Password(password) => (password.to_owned(), None),
        };
        Ok(Fetched::Token {
            secret: Zeroizing::new(secret),
            expires_at,
        })
    }
}

struct Stage {
    handle: TokenHandle,
    ledger: SharedLedger,
    cancel: CancellationToken,
    play: Arc<Mutex<Play>>,
    calls: Arc<AtomicU32>,
}

impl Stage {
    fn set(play: Play) -> Self {
        let (ledger, cancel, clock) = (
            SharedLedger::default(),
            CancellationToken::new(),
            Clock::paused(),
        );
        let (play, calls) = (Arc::new(Mutex::new(play)), Arc::new(AtomicU32::new(0)));
        let begin = clock.now();
        let script = Script::new({
            let (play, calls) = (Arc::clone(&play), Arc::clone(&calls));
            move || {
                let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
                play.lock().unwrap().act(call, clock, begin)
            }
        });
        let subject = Subject {
            identity: "test".to_owned(),
            source: "script",
            audience: "a",
        };
        let surroundings = Surroundings {
            clock,
            metrics: Arc::new(ledger.clone()),
            cancel: cancel.clone(),
        };
        let handle = start(subject, TokenSource::Scripted(script), surroundings);
        Self {
            handle,
            ledger,
            cancel,
            play,
            calls,
        }
    }

    fn play(&self, play: Play) {
        *self.play.lock().unwrap() = play;
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }

    fn generation(&self) -> u64 {
        self.handle.status().generation
    }
}

const fn seconds(value: u64) -> Duration {
    Duration::from_secs(value)
}

/// What the source gives at its `call`-th question.
fn secret(call: u32) -> String {
    format!("secret-{call}-of-source")
}

const HOUR: Duration = seconds(3600);

#[tokio::test(start_paused = true)]
async fn the_first_token_makes_it_ready() {
    let stage = Stage::set(Play::Fresh(HOUR));
    let before = stage.handle.current().unwrap_err();
    assert_eq!(before.class(), "starting");
    assert!(
        before.to_string().contains("identity `test` (audience a)"),
        "{before}"
    );
    stage.handle.ready().await;
    let token = stage.handle.current().unwrap();
    assert_eq!(
        (token.secret(), token.generation()),
        ("secret-1-of-source", 1)
    );
    assert_eq!(token.kind(), CredentialKind::AccessToken);
    sleep(Duration::from_millis(1)).await;
    let status = stage.handle.status();
    assert_eq!(status.lifetime, Some(HOUR));
    assert_eq!(status.expires_at, token.expires_at());
    assert!(status.usable && !status.degraded);
    let before_expiry = token
        .expires_at()
        .unwrap()
        .duration_since(status.next_refresh.unwrap());
    let lead = before_expiry.unwrap().as_secs();
    assert!(
        (13 * 60..17 * 60).contains(&lead),
        "refreshes {lead} s before the expiry"
    );
    assert_eq!(
        stage.ledger.0.terms.lock().unwrap()[0],
        (token.expires_at().unwrap(), HOUR)
    );
}

#[tokio::test(start_paused = true)]
async fn short_tokens_are_replaced_before_they_run_out() {
    let stage = Stage::set(Play::Fresh(seconds(10)));
    stage.handle.ready().await;
    for _ in 0..600 {
        sleep(Duration::from_millis(500)).await;
        stage.handle.current().unwrap();
    }
    // 300 s at half of 10 s, give or take the jitter.
    assert!((50..70).contains(&stage.calls()), "{} calls", stage.calls());
    assert_eq!(stage.generation(), u64::from(stage.calls()));
}

#[tokio::test(start_paused = true)]
async fn a_dead_source_is_not_noticed_before_the_expiry_and_recovers_by_itself() {
    let stage = Stage::set(Play::Fresh(HOUR));
    stage.handle.ready().await;
    stage.play(Play::Failing(FailureClass::Unreachable));
    sleep(seconds(3600 - 120)).await;
    assert_eq!(
        stage.handle.current().unwrap().secret(),
        "secret-1-of-source",
        "the last good token is kept"
    );
    let status = stage.handle.status();
    assert!(status.degraded && status.usable, "{status:?}");
    assert_eq!(status.last_error.as_deref(), Some("the script fails; wait"));

    sleep(seconds(310)).await;
    let error = stage.handle.current().unwrap_err();
    assert_eq!(error.class(), "unreachable");
    let text = error.to_string();
    assert!(text.contains("expired 3 min ago"), "{text}");
    assert!(text.contains("the script fails; wait"), "{text}");
    assert!(!stage.handle.status().usable);

    stage.play(Play::Fresh(HOUR));
    sleep(seconds(67)).await;
    assert_eq!(
        stage.handle.current().unwrap().generation(),
        2,
        "within a minute and jitter"
    );
    assert!(!stage.handle.status().degraded);
}

#[tokio::test(start_paused = true)]
async fn a_dead_source_is_asked_at_a_measured_pace() {
    let stage = Stage::set(Play::Failing(FailureClass::Updating));
    sleep(seconds(70)).await;
    assert!(
        (6..=8).contains(&stage.calls()),
        "{} calls in 70 s",
        stage.calls()
    );
    sleep(HOUR).await;
    assert!(
        (60..80).contains(&stage.calls()),
        "{} calls in an hour",
        stage.calls()
    );
    assert_eq!(stage.handle.current().unwrap_err().class(), "updating");
    stage.play(Play::Fresh(HOUR));
    tokio::time::timeout(seconds(67), stage.handle.ready())
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_same_token_again_is_no_new_generation_and_no_storm() {
    for play in [Play::Cached(24 * HOUR), Play::Reissued(24 * HOUR)] {
        let stage = Stage::set(play);
        stage.handle.ready().await;
        sleep(23 * HOUR + seconds(3500)).await;
        stage.handle.current().unwrap();
        assert!(stage.calls() < 20, "{} calls in a day", stage.calls());
        assert!(!stage.handle.status().degraded);
        assert_eq!(
            stage.handle.status().lifetime.unwrap().as_secs(),
            24 * 3600 - 1
        );
        match play {
            Play::Cached(_) => {
                assert_eq!(stage.generation(), 1);
                let results = stage.ledger.0.results();
                assert_eq!(results[0], RefreshResult::Renewed);
                assert!(
                    results[1..]
                        .iter()
                        .all(|result| *result == RefreshResult::Same)
                );
            }
            _ => assert_eq!(stage.generation(), u64::from(stage.calls())),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_refused_logins_share_one_refresh() {
    let stage = Stage::set(Play::Fresh(HOUR));
    stage.handle.ready().await;
    let logins: Vec<_> = (0..100)
        .map(|_| {
            let handle = stage.handle.clone();
            tokio::spawn(async move { handle.refused(1).await.map(|token| token.generation()) })
        })
        .collect();
    for login in logins {
        assert_eq!(login.await.unwrap().unwrap(), 2);
    }
    assert_eq!(stage.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_newer_token_is_given_without_asking() {
    let stage = Stage::set(Play::Fresh(HOUR));
    stage.handle.ready().await;
    stage.handle.refused(1).await.unwrap();
    let token = stage.handle.refused(1).await.unwrap();
    assert_eq!((token.generation(), stage.calls()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn forced_refreshes_are_limited_in_rate() {
    let stage = Stage::set(Play::Fresh(HOUR));
    stage.handle.ready().await;
    assert_eq!(stage.handle.refused(1).await.unwrap().generation(), 2);
    let error = stage.handle.refused(2).await.unwrap_err();
    assert_eq!(error.class(), "rate_limited");
    assert!(error.to_string().contains("allowed in"), "{error}");
    assert_eq!(stage.calls(), 2);
    sleep(seconds(31)).await;
    assert_eq!(stage.handle.refused(2).await.unwrap().generation(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_forced_refresh_that_fails_says_why_and_keeps_the_token() {
    let stage = Stage::set(Play::Fresh(HOUR));
    stage.handle.ready().await;
    stage.play(Play::Failing(FailureClass::Throttled));
    let error = stage.handle.refused(1).await.unwrap_err();
    assert_eq!(error.class(), "throttled");
    assert!(
        error.to_string().contains("the server refused the token"),
        "{error}"
    );
    assert_eq!(stage.handle.current().unwrap().generation(), 1);
    // A dead source is not asked for each of many refused logins.
    stage.handle.refused(1).await.unwrap_err();
    assert_eq!(stage.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_same_token_again_is_no_answer_to_a_refusal() {
    let stage = Stage::set(Play::Cached(24 * HOUR));
    stage.handle.ready().await;
    let error = stage.handle.refused(1).await.unwrap_err();
    assert_eq!(error.class(), "refused");
    assert!(
        error.to_string().contains("gave the same one again"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_during_a_refresh_waits_for_it() {
    let stage = Stage::set(Play::Fresh(HOUR));
    // Before the first token: there is nothing to refuse yet, but the question is answered.
    let token = stage.handle.refused(0).await.unwrap();
    assert_eq!((token.generation(), stage.calls()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_login_that_gave_up_forces_nothing() {
    let stage = Stage::set(Play::Fresh(HOUR));
    stage.handle.ready().await;
    {
        let refused = stage.handle.refused(1);
        tokio::pin!(refused);
        // Sent, and dropped before the task could look.
        assert!(poll_once(refused.as_mut()).await.is_none());
    }
    sleep(seconds(1)).await;
    assert_eq!(stage.calls(), 1);
}

/// Polls once; the task does not get to run in between.
async fn poll_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut future).poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_is_given_up_and_asked_again() {
    let stage = Stage::set(Play::Hanging);
    sleep(seconds(31)).await;
    assert_eq!(stage.handle.current().unwrap_err().class(), "timeout");
    stage.play(Play::Fresh(HOUR));
    tokio::time::timeout(seconds(5), stage.handle.ready())
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_already_over_is_not_taken() {
    let stage = Stage::set(Play::Stale);
    sleep(seconds(1)).await;
    let error = stage.handle.current().unwrap_err();
    assert_eq!(error.class(), "stale");
    assert!(error.to_string().contains("expired 9.0 s ago"), "{error}");
    assert_eq!(stage.ledger.0.results(), [RefreshResult::Failed]);
}

#[tokio::test(start_paused = true)]
async fn after_the_end_the_token_stays_and_refusals_are_told() {
    let stage = Stage::set(Play::Fresh(HOUR));
    stage.handle.ready().await;
    stage.cancel.cancel();
    sleep(seconds(1)).await;
    stage.handle.current().unwrap();
    assert_eq!(
        stage.handle.refused(1).await.unwrap_err().class(),
        "stopping"
    );
    sleep(HOUR).await;
    assert_eq!(stage.calls(), 1);
    assert_eq!(stage.handle.current().unwrap_err().class(), "expired");
}

#[tokio::test(start_paused = true)]
async fn a_password_never_expires_and_outlives_its_file() {
    let stage = Stage::set(Play::Password("first"));
    stage.handle.ready().await;
    let first = stage.handle.current().unwrap();
    assert_eq!(
        (first.kind(), first.expires_at()),
        (CredentialKind::Password, None)
    );
    stage.play(Play::Password("second"));
    sleep(seconds(2)).await;
    assert_eq!(stage.handle.current().unwrap().secret(), "second");
    assert_eq!(stage.generation(), 2);
    stage.play(Play::Failing(FailureClass::File));
    sleep(24 * HOUR).await;
    assert_eq!(stage.handle.current().unwrap().secret(), "second");
    assert!(stage.handle.status().degraded);
    assert!(
        stage.ledger.0.terms.lock().unwrap().is_empty(),
        "no expiry to alert on"
    );
}

#[tokio::test(start_paused = true)]
async fn a_dead_hour_is_told_in_few_lines_without_secrets() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(lines.clone())
        .finish();
    // Tasks of this runtime run on this thread.
    let _guard = tracing::subscriber::set_default(subscriber);
    let stage = Stage::set(Play::Fresh(seconds(60)));
    sleep(seconds(100)).await;
    stage.play(Play::Failing(FailureClass::Unreachable));
    sleep(HOUR).await;
    stage.play(Play::Fresh(seconds(60)));
    sleep(seconds(100)).await;
    let count = |what: &str| {
        lines
            .text()
            .lines()
            .filter(|line| line.contains(what))
            .count()
    };
    assert_eq!(count("INFO entrapool::identity::journal: first token"), 1);
    assert!(count("DEBUG entrapool::identity::journal: token refreshed") >= 4);
    let warnings = count(" WARN ");
    assert!(
        (40..=61).contains(&warnings),
        "{warnings} warnings in an hour"
    );
    assert_eq!(count("ERROR"), 1, "{}", lines.text());
    assert_eq!(count("the token source works again"), 1);
    assert!(count("suppressed=3") > 0, "what was left out is counted");
    for call in 1..=stage.calls() {
        assert_eq!(count(&secret(call)), 0, "{}", lines.text());
    }
}

/// A log in memory.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
