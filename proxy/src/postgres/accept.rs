//! A client's login: first packets, database, greeting. No password is asked for: whoever can
//! reach the listener, and passes its gate, may use it, which is why it listens on loopback or a
//! Unix socket only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use entrapool_metrics::{CancelResult, Cause};
use entrapool_protocol::postgres::Status;
use entrapool_protocol::postgres::effect::Effects;
use entrapool_protocol::postgres::message::{self, Report};
use entrapool_protocol::postgres::settings::Settings;
use entrapool_protocol::postgres::startup::{CancelKey, FirstPacket, Startup, StartupError};

use super::adapt::adapt;
use super::connect::{Connector, Key};
use super::recover::{Unfit, settle};
use super::route::Route;
use super::session::Session;
use super::{greeting, recover, report};
use crate::console::{self, Console, Visitor};
use crate::pool::{Lease, Pool};
use crate::session::ending::Ending;
use crate::session::gate::{HEARING, NOT_HTTP, Place, Turned};
use crate::session::registry::{KeyLength, Origin, Phase, Registered, Signal};
use crate::session::rest::live;
use crate::session::wire::Socket;

/// How long a client may take from its first byte to the end of its StartupMessage.
const STARTUP_LIMIT: Duration = Duration::from_secs(60);

/// A login that did not lead to a session.
struct Refused {
    ending: Ending,
    words: Words,
}

/// What a client is told before it is closed.
enum Words {
    None,
    Report(Box<Report>),
    /// [`NOT_HTTP`].
    Http,
}

impl Refused {
    fn new(cause: Cause, report: Report) -> Self {
        Self {
            ending: Ending::because(cause, &report.message),
            words: Words::Report(Box::new(report)),
        }
    }

    fn silent(cause: Cause) -> Self {
        Self {
            ending: Ending::of(cause),
            words: Words::None,
        }
    }
}

/// Serves one client from its first byte to its end.
pub fn serve(
    route: Arc<Route>,
    client: Socket,
    console: Arc<Console>,
) -> impl Future<Output = ()> + Send {
    // Boxed: beginning and end need far more room than a session that idles, perhaps for days.
    // So is the session: what a task moves from one place to another, it has room for twice.
    let entering = Box::pin(enter(route, client, console));
    async move {
        if let Some(session) = entering.await {
            live(session).await;
        }
    }
}

/// The session of a client that is let in.
async fn enter(route: Arc<Route>, client: Socket, console: Arc<Console>) -> Option<Box<Session>> {
    let inside = match route.gate.admit(&client).await {
        Ok(inside) => inside,
        Err(turned) => {
            turn_away(&route, client, &turned).await;
            return None;
        }
    };
    let counted = route.metrics.clients.client();
    open(route, client, console, (inside, counted)).await
}

/// The session of a client that could be greeted.
async fn open(
    route: Arc<Route>,
    mut client: Socket,
    console: Arc<Console>,
    place: Place,
) -> Option<Box<Session>> {
    match log_in(&route, &mut client).await {
        Ok(Entrance::Session(opening)) => {
            Some(Box::new(Session::new(route, client, *opening, place)))
        }
        Ok(Entrance::Console(startup, ahead)) => {
            // Whoever looks takes nobody's place.
            let (_inside, counted) = place;
            drop(counted);
            let visitor = Visitor {
                client,
                startup: *startup,
                ahead,
                registry: Arc::clone(&route.registry),
            };
            let (ending, session) = Box::pin(console.receive(visitor)).await;
            route.ended(&ending, session);
            None
        }
        Ok(Entrance::Cancel) => None,
        Err(refused) => {
            refuse(&route, client, refused).await;
            None
        }
    }
}

async fn refuse(route: &Route, client: Socket, refused: Refused) {
    let Refused { ending, words } = refused;
    match words {
        Words::None => {}
        Words::Report(report) => tell(client, &report).await,
        Words::Http => {
            let why = "it spoke HTTP on a PostgreSQL port";
            route.gate.log(&route.config.name, Cause::Http, why);
            close_with(client, NOT_HTTP).await;
        }
    }
    route.ended(&ending, 0);
}

/// Hears a client that is not let in so far that it can be told why. It counts as no client, and
/// has little time.
async fn turn_away(route: &Route, mut client: Socket, turned: &Turned) {
    let hearing = async {
        match first_packet(&mut client).await {
            Ok((FirstPacket::Startup(_), _)) => {
                tell(client, &report::turned_away(turned)).await;
            }
            Err(Refused {
                words: Words::Http, ..
            }) => close_with(client, NOT_HTTP).await,
            _ => {}
        }
    };
    if let Some(_leave) = route.gate.hearing() {
        let _ = tokio::time::timeout(HEARING, hearing).await;
    }
    let name = &route.config.name;
    route.gate.log(name, turned.cause(), turned);
    route.ended(&Ending::because(turned.cause(), turned), 0);
}

/// What a client has come for.
enum Entrance {
    /// A session, which has been greeted.
    Session(Box<Opening>),
    /// The console; with what was sent behind the StartupMessage.
    Console(Box<Startup>, Vec<u8>),
    /// A cancel request, which has been passed on.
    Cancel,
}

/// What a session begins with.
pub(super) struct Opening {
    pub(super) registered: Registered,
    pub(super) pool: Arc<Pool<Connector>>,
    pub(super) settings: Arc<Settings>,
    /// What the client sent behind its StartupMessage.
    pub(super) ahead: Vec<u8>,
}

/// Sends a last message and closes.
pub(super) async fn tell(client: Socket, report: &Report) {
    let mut bytes = Vec::new();
    report.encode(&mut bytes);
    close_with(client, &bytes).await;
}

async fn close_with(mut client: Socket, bytes: &[u8]) {
    let told = tokio::time::timeout(Duration::from_secs(5), client.write_all(bytes)).await;
    if matches!(told, Ok(Ok(()))) {
        client.close().await;
    }
}

/// From the first byte to the greeting.
async fn log_in(route: &Arc<Route>, client: &mut Socket) -> Result<Entrance, Refused> {
    let first = tokio::time::timeout(STARTUP_LIMIT, first_packet(client)).await;
    let (first, ahead) = first.map_err(|_| Refused::silent(Cause::NoStartup))??;
    let startup = match first {
        FirstPacket::Startup(startup) => startup,
        FirstPacket::Cancel(key) => {
            pass_cancel(route, &key);
            return Ok(Entrance::Cancel);
        }
        FirstPacket::SslRequest | FirstPacket::GssEncRequest => {
            return Err(Refused::silent(Cause::Malformed));
        }
    };
    if wants_console(route, &startup) {
        return Ok(Entrance::Console(Box::new(startup), ahead));
    }
    // A greeted client may be told of the limit in words.
    let limit = route.config.pool.max_clients;
    if usize::try_from(route.metrics.clients.now()).is_ok_and(|now| now > limit) {
        return Err(Refused::new(
            Cause::MaxClients,
            report::too_many_clients(limit),
        ));
    }
    if startup.replication.is_some() {
        return Err(Refused::new(
            Cause::StartupRefused,
            report::no_replication(),
        ));
    }
    let database = database(route, &startup)?;
    let mut settings = Settings::default();
    for (name, value) in &startup.settings {
        settings.set(name, value);
    }
    let application = settings.get("application_name");
    let origin = Origin::new(&route.config.name, &database, application);
    let pool = route.pools.pool(&Key { database });
    let settings = pool.shared().intern(settings);
    // Protocol 3.2 brought keys of more than 4 bytes (55.2.8).
    let length = match startup.minor {
        0 | 1 => KeyLength::Short,
        _ => KeyLength::Long,
    };
    let registered = route
        .registry
        .register(length, origin)
        .map_err(|error| Refused::new(Cause::Internal, report::no_randomness(&error)))?;
    let reports = match pool.shared().greeting(&settings) {
        Some(reports) => reports,
        None => {
            registered.enter(Phase::Waiting, Instant::now());
            ask_a_backend(route, &pool, &settings).await?
        }
    };
    greet(client, &startup, &reports, &registered).await?;
    Ok(Entrance::Session(Box::new(Opening {
        registered,
        pool,
        settings,
        ahead,
    })))
}

/// Reads packets until one is more than a wish for encryption; wishes are refused, each once.
async fn first_packet(client: &mut Socket) -> Result<(FirstPacket, Vec<u8>), Refused> {
    let mut buffer = Vec::new();
    let mut wishes = 2;
    loop {
        match FirstPacket::read(&buffer) {
            Ok(Some((FirstPacket::SslRequest | FirstPacket::GssEncRequest, length))) => {
                wishes -= 1;
                if wishes < 0 {
                    return Err(Refused::silent(Cause::Malformed));
                }
                buffer.drain(..length);
                gone(client.write_all(b"N").await)?;
            }
            Ok(Some((packet, length))) => {
                buffer.drain(..length);
                return Ok((packet, buffer));
            }
            Ok(None) => {
                if gone(client.read_more(&mut buffer).await)? == 0 {
                    return Err(Refused::silent(Cause::NoStartup));
                }
            }
            Err(error) => return Err(refused_startup(&error)),
        }
    }
}

fn refused_startup(error: &StartupError) -> Refused {
    if *error == StartupError::Http {
        return Refused {
            ending: Ending::of(Cause::Http),
            words: Words::Http,
        };
    }
    Refused::new(Cause::Malformed, report::bad_startup(error))
}

fn gone<T>(result: std::io::Result<T>) -> Result<T, Refused> {
    result.map_err(|error| Refused {
        ending: Ending::because(Cause::Gone, error),
        words: Words::None,
    })
}

/// Whether the client has named the console, and no database of the route.
fn wants_console(route: &Route, startup: &Startup) -> bool {
    let Some(name) = startup.database.as_deref() else {
        return false;
    };
    let served = route.database.as_deref() == Some(name)
        || route
            .config
            .databases
            .as_ref()
            .is_some_and(|all| all.iter().any(|served| served == name));
    console::DATABASES.contains(&name) && !served
}

/// The database of a session. A name equal to the user's is what drivers send when none was
/// chosen, so it stands for the route's own, as long as the route does not list it.
fn database(route: &Route, startup: &Startup) -> Result<Box<str>, Refused> {
    let config = &route.config;
    let listed = |name: &String| {
        config
            .databases
            .as_ref()
            .is_some_and(|all| all.contains(name))
    };
    let named = startup
        .database
        .as_ref()
        .filter(|name| route.database.is_none() || **name != startup.user || listed(name));
    let database = named.or(route.database.as_ref()).unwrap_or(&startup.user);
    match &config.databases {
        Some(allowed) if !allowed.contains(database) => {
            let report = report::database_not_allowed(database, allowed);
            Err(Refused::new(Cause::StartupRefused, report))
        }
        _ => Ok(database.as_str().into()),
    }
}

/// The first client with these settings gets its greeting from a backend that has them.
async fn ask_a_backend(
    route: &Arc<Route>,
    pool: &Arc<Pool<Connector>>,
    settings: &Arc<Settings>,
) -> Result<Vec<u8>, Refused> {
    let began = Instant::now();
    let lease = match pool.try_lease(0, began) {
        Some(lease) => Ok(lease),
        None => pool.lease(0).await,
    };
    route
        .metrics
        .pool_wait
        .observe(began.elapsed().as_secs_f64());
    let mut lease: Lease<Connector> = lease.map_err(|error| {
        let (cause, report) = report::no_backend(&error, pool.wait_timeout());
        Refused::new(cause, report)
    })?;
    adapt(&mut lease, 0, settings);
    match settle(&mut lease).await {
        Ok(()) => {}
        Err(Unfit::Refused(error)) => {
            // The client asked for what can't be; the backend is as good as any after a reset.
            lease.residue |= Effects::SETTING;
            recover::spawn(lease, None, Arc::clone(route));
            return Err(Refused::new(
                Cause::StartupRefused,
                report::bad_settings(&error),
            ));
        }
        Err(error) => {
            let report = report::server_closed(format_args!("{}: {error}", lease.peer));
            return Err(Refused::new(Cause::ServerClosed, report));
        }
    }
    pool.shared().keep(settings, &lease);
    let reports = greeting::reports(&lease, |_| true);
    lease.give_back(Instant::now());
    Ok(reports)
}

async fn greet(
    client: &mut Socket,
    startup: &Startup,
    reports: &[u8],
    registered: &Registered,
) -> Result<(), Refused> {
    let mut out = Vec::with_capacity(reports.len() + 64);
    if startup.minor > message::NEWEST_MINOR || !startup.protocol_options.is_empty() {
        let minor = startup.minor.min(message::NEWEST_MINOR);
        message::negotiate_protocol_version(&mut out, minor, &startup.protocol_options);
    }
    out.extend_from_slice(&message::AUTHENTICATION_OK);
    out.extend_from_slice(reports);
    message::backend_key_data(&mut out, registered.pid(), &registered.secret());
    message::ready_for_query(&mut out, Status::Idle);
    gone(client.write_all(&out).await)
}

/// A cancel request is never answered; whether it found its session is only counted.
fn pass_cancel(route: &Route, key: &CancelKey) {
    match route.registry.find(key.pid, &key.secret) {
        Some(entry) => entry.raise(Signal::Cancel),
        None => route.metrics.cancels.inc(CancelResult::Stale),
    }
}
