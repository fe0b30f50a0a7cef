//! Sessions whose clients have been silent for a while, with neither a task nor a place in the
//! runtime's books: such a client costs what has to be remembered of it, and nothing else.
//!
//! One task watches them all, by an epoll of its own. A session that its client or somebody else
//! wants something from goes on in a new task. Going to rest and coming back costs a third of what
//! a query does, which is why only those rest that have been silent for a second; while a crowd
//! arrives, all but the liveliest. Why: [ADR 013](../../../docs/adr/013-rest.md).

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use slab::Slab;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::registry::{Registered, Registry, Signal, TICK};
use super::wire::Socket;

/// Who has been silent for so long is asked to rest.
const SILENT: Duration = Duration::from_secs(1);
/// So many sessions are awake before those are asked that have been silent for a moment only.
const CROWD: usize = 64;
/// The shortest silence after which a session rests; it may have been no longer than a moment.
const SHORT_SILENCE: Duration = TICK;
/// How often it is looked who is silent, while a crowd arrives; otherwise each [`SILENT`].
const CROWDED_ROUND: Duration = Duration::from_millis(16);
/// So many sessions are woken before other tasks get their turn.
const AT_ONCE: usize = 128;

/// A session that can rest.
pub trait Rest: Send + Sized + 'static {
    /// How it ended.
    type End: Send;

    /// Its client's connection.
    fn client(&mut self) -> &mut Socket;

    /// Its place in the registry.
    fn registered(&self) -> &Registered;

    /// Waits for the client and does what it asks for, until both have nothing to do with a backend;
    /// an error if the session does not go on for now.
    fn turn(&mut self) -> impl Future<Output = Result<(), Leave<Self::End>>> + Send;

    /// Does what is left to do at its end.
    fn finish(self: Box<Self>, end: Self::End) -> impl Future<Output = ()> + Send;

    /// Whether it is to rest, and nothing has happened since that was asked.
    fn is_sent_to_rest(&self) -> bool {
        let registered = self.registered();
        let entry = &registered.entry;
        entry.any() && entry.take(Signal::Rest) && registered.is_silent(SHORT_SILENCE)
    }
}

/// Why a session's task stops.
pub enum Leave<E> {
    /// The session ends.
    End(E),
    /// It rests.
    Rest,
}

impl<E> From<E> for Leave<E> {
    fn from(end: E) -> Self {
        Self::End(end)
    }
}

/// Runs a session to its end, with rests in between.
pub async fn live<S: Rest>(mut session: Box<S>) {
    loop {
        get_up(&mut *session);
        {
            let waker = std::future::poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            Rest::registered(&*session).entry.attach(&waker);
        }
        let leave = loop {
            if let Err(leave) = session.turn().await {
                break leave;
            }
        };
        match leave {
            Leave::End(end) => return Box::pin(session.finish(end)).await,
            Leave::Rest => match lie_down(session) {
                Some(awake) => session = awake,
                None => return,
            },
        }
    }
}

/// A session of whatever kind that rests.
trait Asleep: Send {
    fn client(&mut self) -> &mut Socket;
    fn registered(&self) -> &Registered;
    /// It goes on, in a task of `sessions`.
    fn go_on(self: Box<Self>, sessions: &TaskTracker);
}

impl<S: Rest> Asleep for S {
    fn client(&mut self) -> &mut Socket {
        Rest::client(self)
    }

    fn registered(&self) -> &Registered {
        Rest::registered(self)
    }

    fn go_on(self: Box<Self>, sessions: &TaskTracker) {
        sessions.spawn(live(self));
    }
}

/// A session lies down; it is returned if it has to stay awake.
fn lie_down<S: Rest>(mut session: Box<S>) -> Option<Box<S>> {
    Rest::client(&mut *session).rest();
    let registered = Rest::registered(&*session);
    let registry = Arc::clone(registered.registry());
    registered.entry.may_rest(false);
    registered.entry.attach(&registry.resting.waker);
    registry.resting.admit(session).err()
}

/// What a session does first, and after each rest.
fn get_up(session: &mut impl Rest) {
    let client = Rest::client(session);
    client.wake();
    let may = client.can_rest();
    Rest::registered(session).entry.may_rest(may);
}

/// All sessions that rest.
pub struct Resting {
    called: Arc<Called>,
    waker: Waker,
    /// One more has come to a crowd.
    crowded: Notify,
    /// `None` until there is somebody who watches.
    watch: OnceLock<Watch>,
    inside: Mutex<Slab<Place>>,
}

struct Watch {
    epoll: AsyncFd<OwnedFd>,
    sessions: TaskTracker,
}

impl Watch {
    fn add(&self, client: BorrowedFd<'_>, key: usize) -> rustix::io::Result<()> {
        let wanted = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
        let key = epoll::EventData::new_u64(key as u64);
        epoll::add(self.epoll.get_ref(), client, key, wanted)
    }
}

/// A session, which counts as one of the tracker's tasks.
struct Place {
    session: Box<dyn Asleep>,
    _counted: TaskTrackerToken,
}

/// Somebody wants something of a session; it is not known of which.
#[derive(Default)]
struct Called(Notify);

impl Wake for Called {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.notify_one();
    }
}

impl Default for Resting {
    fn default() -> Self {
        let called = Arc::<Called>::default();
        Self {
            waker: Waker::from(Arc::clone(&called)),
            called,
            crowded: Notify::new(),
            watch: OnceLock::new(),
            inside: Mutex::default(),
        }
    }
}

impl std::fmt::Debug for Resting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resting").field("len", &self.len()).finish()
    }
}

impl Resting {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inside().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inside().is_empty()
    }

    /// There are so many sessions now, one more than before.
    pub(super) fn count(&self, sessions: usize) {
        if sessions > CROWD && sessions - self.len().min(sessions) > CROWD {
            self.crowded.notify_one();
        }
    }

    fn admit<S: Rest>(&self, mut session: Box<S>) -> Result<(), Box<S>> {
        let Some(watch) = self.watch.get() else {
            return Err(session);
        };
        let called = {
            let mut inside = self.inside();
            let place = inside.vacant_entry();
            let added = Rest::client(&mut *session)
                .resting()
                .is_some_and(|client| watch.add(client, place.key()).is_ok());
            if !added {
                return Err(session);
            }
            let called = Rest::registered(&*session).entry.any();
            place.insert(Place {
                session,
                _counted: watch.sessions.token(),
            });
            called
        };
        if called {
            // Before it had this waker, perhaps.
            self.waker.wake_by_ref();
        }
        Ok(())
    }

    /// Sends sessions of `registry` to rest and wakes them, in tasks of `sessions`, for good.
    ///
    /// # Errors
    /// The system has no epoll to give: nobody rests.
    pub async fn watch(registry: Arc<Registry>, sessions: TaskTracker) -> io::Result<()> {
        let resting = &registry.resting;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "what replaces it is unsafe; an OwnedFd never lies about what it is"
        )]
        let epoll = AsyncFd::with_interest(epoll, Interest::READABLE)?;
        let watch = resting.watch.get_or_init(|| Watch { epoll, sessions });
        let mut round = tokio::time::interval(SILENT);
        let mut hurries = false;
        loop {
            tokio::select! {
                ready = watch.epoll.readable() => {
                    let mut ready = ready?;
                    if resting.wake_the_sent(watch)? < AT_ONCE {
                        ready.clear_ready();
                    }
                    tokio::task::yield_now().await;
                }
                () = resting.called.0.notified() => resting.wake_the_called(watch).await,
                () = resting.crowded.notified(), if !hurries => {
                    hurries = true;
                    round.reset_after(CROWDED_ROUND);
                }
                _ = round.tick() => {
                    let silence = if hurries { SHORT_SILENCE } else { SILENT };
                    if registry.len() > resting.len() {
                        registry.ask_to_rest(silence);
                    }
                    hurries = false;
                }
            }
        }
    }

    /// Wakes sessions whose clients have sent something or gone; returns how many.
    fn wake_the_sent(&self, watch: &Watch) -> io::Result<usize> {
        const NOW: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut events = Vec::with_capacity(AT_ONCE);
        epoll::wait(
            watch.epoll.get_ref(),
            spare_capacity(&mut events),
            Some(&NOW),
        )?;
        for event in &events {
            let data = event.data;
            if let Ok(key) = usize::try_from(data.u64()) {
                self.wake(watch, key);
            }
        }
        Ok(events.len())
    }

    /// Wakes those of whom something is wanted.
    async fn wake_the_called(&self, watch: &Watch) {
        let is_called = |(key, place): (usize, &Place)| {
            let registered = place.session.registered();
            registered.entry.any().then_some(key)
        };
        let called: Vec<_> = self.inside().iter().filter_map(is_called).collect();
        for some in called.chunks(AT_ONCE) {
            for &key in some {
                self.wake(watch, key);
            }
            tokio::task::yield_now().await;
        }
    }

    fn wake(&self, watch: &Watch, key: usize) {
        let Some(mut place) = self.inside().try_remove(key) else {
            return;
        };
        if let Some(client) = place.session.client().resting() {
            // What is closed leaves by itself.
            let _ = epoll::delete(watch.epoll.get_ref(), client);
        }
        place.session.go_on(&watch.sessions);
    }

    fn inside(&self) -> MutexGuard<'_, Slab<Place>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::mpsc;

    use super::*;
    use crate::session::registry::{KeyLength, Origin, Phase};

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A session that says when it goes on, and what it reads then.
    struct Told {
        client: Socket,
        registered: Registered,
        tell: mpsc::UnboundedSender<Vec<u8>>,
    }

    impl Rest for Told {
        type End = Vec<u8>;

        fn client(&mut self) -> &mut Socket {
            &mut self.client
        }

        fn registered(&self) -> &Registered {
            &self.registered
        }

        async fn turn(&mut self) -> Result<(), Leave<Vec<u8>>> {
            let mut said = Vec::new();
            if !self.registered.entry.any() {
                let _ = self.client.read_more(&mut said).await;
            }
            Err(Leave::End(said))
        }

        async fn finish(self: Box<Self>, said: Vec<u8>) {
            let _ = self.tell.send(said);
        }
    }

    struct Scene {
        registry: Arc<Registry>,
        sessions: TaskTracker,
        told: mpsc::UnboundedReceiver<Vec<u8>>,
        tell: mpsc::UnboundedSender<Vec<u8>>,
    }

    impl Scene {
        async fn new() -> Self {
            let registry = Arc::<Registry>::default();
            let sessions = TaskTracker::new();
            tokio::spawn(Resting::watch(Arc::clone(&registry), sessions.clone()));
            while registry.resting.watch.get().is_none() {
                tokio::task::yield_now().await;
            }
            let (tell, told) = mpsc::unbounded_channel();
            Self {
                registry,
                sessions,
                told,
                tell,
            }
        }

        /// A session that idles, and its client.
        async fn session(&self) -> (Box<Told>, TcpStream) {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap());
            let (client, accepted) = tokio::join!(client, listener.accept());
            let origin = Origin::new("main", "app", None);
            let registered = self.registry.register(KeyLength::Short, origin).unwrap();
            registered.enter(Phase::Idle, Instant::now());
            let told = Told {
                client: accepted.unwrap().0.into(),
                registered,
                tell: self.tell.clone(),
            };
            (Box::new(told), client.unwrap())
        }

        async fn told(&mut self) -> Vec<u8> {
            let told = tokio::time::timeout(PATIENCE, self.told.recv());
            told.await.expect("it goes on").unwrap()
        }
    }

    #[tokio::test]
    async fn what_the_client_sends_wakes_its_session_and_no_other() {
        let mut scene = Scene::new().await;
        let mut clients = Vec::new();
        for _ in 0..3 * AT_ONCE {
            let (session, client) = scene.session().await;
            assert!(lie_down(session).is_none());
            clients.push(client);
        }
        assert_eq!(scene.registry.resting.len(), clients.len());
        assert_eq!(scene.sessions.len(), clients.len(), "they count as tasks");
        clients[7].write_all(b"seven").await.unwrap();
        assert_eq!(scene.told().await, b"seven");
        assert_eq!(scene.registry.resting.len(), clients.len() - 1);
        // All at once, one of them with its end.
        drop(clients.remove(7));
        drop(clients.remove(8));
        for client in &mut clients {
            client.write_all(b"x").await.unwrap();
        }
        let mut ends = 0;
        for _ in 0..=clients.len() {
            ends += usize::from(scene.told().await.is_empty());
        }
        assert_eq!((ends, scene.registry.resting.len()), (1, 0));
        scene.sessions.close();
        scene.sessions.wait().await;
    }

    #[tokio::test]
    async fn a_client_gets_its_answer_after_a_rest() {
        let scene = Scene::new().await;
        let (mut session, mut client) = scene.session().await;
        session.client.rest();
        assert!(session.client.resting().is_some() && !session.client.can_rest());
        let error = session.client.write_all(b"x").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
        session.client.wake();
        session.client.write_all(b"answer").await.unwrap();
        let mut answer = [0; 6];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
    }

    #[tokio::test]
    async fn whoever_is_called_goes_on() {
        let mut scene = Scene::new().await;
        let (session, _client) = scene.session().await;
        let (other, _other_client) = scene.session().await;
        let entry = Arc::clone(&session.registered.entry);
        assert!(lie_down(session).is_none() && lie_down(other).is_none());
        entry.raise(Signal::Kill);
        assert_eq!(scene.told().await, b"");
        assert_eq!(scene.registry.resting.len(), 1);
        // Called just before it lies down, when nobody would be woken by that.
        let (session, _client) = scene.session().await;
        session.registered.entry.raise(Signal::Drain);
        assert!(lie_down(session).is_none());
        assert_eq!(scene.told().await, b"");
    }

    #[tokio::test]
    async fn only_the_silent_are_asked() {
        let scene = Scene::new().await;
        let (mut session, _client) = scene.session().await;
        let asked = |session: &Told| session.registered.entry.is_raised(Signal::Rest);
        scene.registry.ask_to_rest(Duration::ZERO);
        assert!(!asked(&session), "not before it says that it may");
        get_up(&mut *session);
        scene.registry.ask_to_rest(Duration::from_secs(5));
        assert!(!asked(&session), "not so soon");
        session.registered.enter(Phase::Active, Instant::now());
        scene.registry.ask_to_rest(Duration::ZERO);
        assert!(!asked(&session), "not while it works");
        session.registered.enter(Phase::Idle, Instant::now());
        scene.registry.ask_to_rest(Duration::ZERO);
        assert!(asked(&session));
    }

    #[tokio::test]
    async fn without_anybody_to_watch_nobody_rests() {
        let mut scene = Scene::new().await;
        scene.registry = Arc::default();
        let (session, _client) = scene.session().await;
        let mut session = lie_down(session).expect("it stays awake");
        get_up(&mut *session);
        assert!(session.client.can_rest());
    }
}
