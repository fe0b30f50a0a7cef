//! A client's login: PRELOGIN, TLS for those who insist on it, LOGIN7, greeting. User and password
//! are ignored: whoever can reach the listener, and passes its gate, may use it, which is why it
//! listens on loopback only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use entrapool_metrics::Cause;
use entrapool_protocol::tds::legacy::{self, Dialect, Translator};
use entrapool_protocol::tds::login::Welcome;
use entrapool_protocol::tds::login7::{self, ClientLogin};
use entrapool_protocol::tds::message::{self, Report};
use entrapool_protocol::tds::packet::{self, Kind};
use entrapool_protocol::tds::prelogin::{
    self, Channel, ClientPrelogin, Encryption, First, PreloginError,
};

use super::connect::{Connector, Key};
use super::door::PACKETS;
use super::report;
use super::route::Route;
use super::session::Session;
use crate::config::ClientTls;
use crate::pool::{Lease, Pool};
use crate::session::ending::Ending;
use crate::session::gate::{HEARING, NOT_HTTP, Place, Turned};
use crate::session::registry::{KeyLength, Origin, Phase, Registered};
use crate::session::rest::live;
use crate::session::wire::Socket;

/// How long a client may take from its first byte to the end of its LOGIN7.
const STARTUP_LIMIT: Duration = Duration::from_secs(60);
/// The first byte of TLS.
const TLS_HANDSHAKE: u8 = 0x16;

/// A login that did not lead to a session.
struct Refused {
    ending: Ending,
    words: Words,
    /// How an old client has to be told.
    dialect: Option<Dialect>,
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
            dialect: None,
        }
    }

    fn to(self, dialect: Option<Dialect>) -> Self {
        Self { dialect, ..self }
    }

    fn silent(cause: Cause) -> Self {
        Self {
            ending: Ending::of(cause),
            words: Words::None,
            dialect: None,
        }
    }

    fn io(error: &std::io::Error) -> Self {
        Self {
            ending: Ending::because(Cause::Gone, error),
            words: Words::None,
            dialect: None,
        }
    }
}

/// Serves one client from its first byte to its end.
pub fn serve(route: Arc<Route>, client: Socket) -> impl Future<Output = ()> + Send {
    // Boxed: beginning and end need far more room than a session that idles, perhaps for days.
    // So is the session: what a task moves from one place to another, it has room for twice.
    let entering = Box::pin(enter(route, client));
    async move {
        if let Some(session) = entering.await {
            live(session).await;
        }
    }
}

/// The session of a client that is let in.
async fn enter(route: Arc<Route>, client: Socket) -> Option<Box<Session>> {
    let inside = match route.gate.admit(&client).await {
        Ok(inside) => inside,
        Err(turned) => {
            turn_away(&route, client, &turned).await;
            return None;
        }
    };
    let counted = route.metrics.clients.client();
    open(route, client, (inside, counted)).await
}

/// The session of a client that could be greeted.
async fn open(route: Arc<Route>, client: Socket, place: Place) -> Option<Box<Session>> {
    let secured = secure(&route, client);
    let (mut client, first) = match tokio::time::timeout(STARTUP_LIMIT, secured).await {
        Ok(Ok(secured)) => secured,
        Ok(Err((client, refused))) => {
            refuse(&route, client, refused).await;
            return None;
        }
        Err(_) => {
            route.ended(&Ending::of(Cause::NoStartup), 0);
            return None;
        }
    };
    match log_in(&route, &mut client, first).await {
        Ok(opening) => Some(Box::new(Session::new(route, client, opening, place))),
        Err(refused) => {
            refuse(&route, Some(client), refused).await;
            None
        }
    }
}

async fn refuse(route: &Route, client: Option<Socket>, refused: Refused) {
    let name = &route.config.name;
    if refused.ending.cause == Cause::Http {
        let why = "it spoke HTTP on a port for SQL Server's clients";
        route.gate.log(name, Cause::Http, why);
    }
    if let Some(client) = client {
        say(client, refused.words, refused.dialect).await;
    }
    route.ended(&refused.ending, 0);
}

async fn say(client: Socket, words: Words, dialect: Option<Dialect>) {
    match words {
        Words::None => {}
        Words::Report(report) => tell(client, &report, dialect, packet::DEFAULT).await,
        Words::Http => close_with(client, NOT_HTTP).await,
    }
}

/// Hears a client that is not let in so far that it can be told why. It counts as no client, and
/// has little time.
async fn turn_away(route: &Route, client: Socket, turned: &Turned) {
    let hearing = async {
        let (mut client, first) = match secure(route, client).await {
            Ok(secured) => secured,
            Err((Some(client), refused)) => {
                return say(client, refused.words, refused.dialect).await;
            }
            Err((None, _)) => return,
        };
        if let Ok((login, _)) = read_login(&mut client, first).await {
            let dialect = Dialect::of(login.version);
            let report = report::turned_away(turned);
            tell(client, &report, dialect, packet::DEFAULT).await;
        }
    };
    if let Some(_leave) = route.gate.hearing() {
        let _ = tokio::time::timeout(HEARING, hearing).await;
    }
    let name = &route.config.name;
    route.gate.log(name, turned.cause(), turned);
    route.ended(&Ending::because(turned.cause(), turned), 0);
}

/// What a session begins with.
pub(super) struct Opening {
    pub(super) registered: Registered,
    pub(super) pool: Arc<Pool<Connector>>,
    /// What the client sent behind its LOGIN7.
    pub(super) ahead: Vec<u8>,
    /// Bytes of a packet.
    pub(super) packet_size: usize,
    /// For a client of an old version.
    pub(super) legacy: Option<(Dialect, Box<Translator>)>,
}

/// Sends a last message and closes.
pub(super) async fn tell(
    client: Socket,
    report: &Report,
    dialect: Option<Dialect>,
    packet_size: usize,
) {
    let mut bytes = Vec::new();
    if legacy::tell(dialect, report, packet_size, &mut bytes).is_ok() {
        close_with(client, &bytes).await;
    }
}

async fn close_with(mut client: Socket, bytes: &[u8]) {
    let told = tokio::time::timeout(Duration::from_secs(5), client.write_all(bytes)).await;
    if matches!(told, Ok(Ok(()))) {
        client.close().await;
    }
}

/// A client that can't go on; without its socket if that has gone with a handshake.
type Lost = (Option<Socket>, Refused);

/// Up to where LOGIN7 is due, with what has been read of it: nothing, or its beginning.
async fn secure(route: &Route, client: Socket) -> Result<(Socket, Vec<u8>), Lost> {
    let first = match client.first_byte().await {
        Ok(Some(first)) => first,
        Ok(None) => return Err((None, Refused::silent(Cause::NoStartup))),
        Err(error) => return Err((None, Refused::io(&error))),
    };
    let policy = policy(route);
    if first == TLS_HANDSHAKE {
        if policy == prelogin::ClientTls::Off {
            // It would not understand a word before TLS.
            let refused = Refused::new(Cause::StartupRefused, report::no_common_tls(true));
            tracing::info!(
                route = route.config.name,
                "a client begins with TLS (Encrypt=strict), and client_tls=off"
            );
            return Err((None, refused));
        }
        let mut client = accept_tls(route, client, Version::Strict).await?;
        let read = read_first(&mut client).await;
        return match read {
            Ok((Some(asked), rest)) => {
                // What it says of encryption means nothing in here.
                let decided = Encryption::NotSupported;
                let answered = answer(route, &mut client, &asked, decided).await;
                and_client(client, answered.map(|()| rest))
            }
            Ok((None, rest)) => Ok((client, rest)),
            Err(refused) => Err((Some(client), refused)),
        };
    }
    let mut client = client;
    let (asked, rest) = match read_first(&mut client).await {
        Ok(read) => read,
        Err(refused) => return Err((Some(client), refused)),
    };
    let Some(asked) = asked else {
        if policy == prelogin::ClientTls::Require {
            let refused = Refused::new(Cause::StartupRefused, report::no_common_tls(false));
            return Err((Some(client), refused));
        }
        return Ok((client, rest));
    };
    let decision = prelogin::decide(asked.encryption, policy);
    if let Err(refused) = answer(route, &mut client, &asked, decision.answer).await {
        return Err((Some(client), refused));
    }
    match decision.channel {
        Channel::Plain => Ok((client, rest)),
        Channel::Refused => {
            let wants = matches!(asked.encryption, Encryption::On | Encryption::Required);
            let refused = Refused::new(Cause::StartupRefused, report::no_common_tls(wants));
            Err((Some(client), refused))
        }
        Channel::Wrapped if !rest.is_empty() => {
            // Bytes in clear that would be taken for the client's own behind the handshake.
            Err((Some(client), Refused::silent(Cause::Malformed)))
        }
        Channel::Wrapped => {
            let client = accept_tls(route, client, Version::Wrapped).await?;
            Ok((client, Vec::new()))
        }
    }
}

fn and_client<T>(client: Socket, result: Result<T, Refused>) -> Result<(Socket, T), Lost> {
    match result {
        Ok(value) => Ok((client, value)),
        Err(refused) => Err((Some(client), refused)),
    }
}

/// The policy in the protocol's words.
fn policy(route: &Route) -> prelogin::ClientTls {
    match route.options.client_tls {
        ClientTls::Auto => prelogin::ClientTls::Auto,
        ClientTls::Off => prelogin::ClientTls::Off,
        ClientTls::Require => prelogin::ClientTls::Require,
    }
}

/// How TLS begins.
enum Version {
    /// Inside PRELOGIN packets.
    Wrapped,
    /// With the first byte.
    Strict,
}

async fn accept_tls(route: &Route, client: Socket, version: Version) -> Result<Socket, Lost> {
    let accepted = match version {
        Version::Wrapped => {
            let config = Arc::clone(&route.door.wrapped);
            client.accept_tls(config, Some(&PACKETS)).await
        }
        Version::Strict => {
            let config = Arc::clone(&route.door.strict);
            client.accept_tls(config, None).await
        }
    };
    accepted.map_err(|error| {
        tracing::info!(route = route.config.name, %error, "TLS with a client failed; if it does not trust entrapool's certificate, see client_cert_file, or turn encryption off in the client");
        (None, Refused::io(&error))
    })
}

/// Reads until it is clear how the client begins: its PRELOGIN, or `None` where LOGIN7 comes at
/// once; and what was read behind or of that.
async fn read_first(client: &mut Socket) -> Result<(Option<ClientPrelogin>, Vec<u8>), Refused> {
    let mut buffer = Vec::new();
    loop {
        match First::read(&buffer) {
            Ok(Some(First::Prelogin(prelogin, taken))) => {
                buffer.drain(..taken);
                return Ok((Some(prelogin), buffer));
            }
            Ok(Some(First::Login)) => return Ok((None, buffer)),
            Ok(Some(First::StrictTls)) => return Err(Refused::silent(Cause::Malformed)),
            Ok(None) => {}
            Err(PreloginError::Http) => {
                return Err(Refused {
                    ending: Ending::of(Cause::Http),
                    words: Words::Http,
                    dialect: None,
                });
            }
            Err(error) => return Err(Refused::new(Cause::Malformed, report::bad_prelogin(&error))),
        }
        read_more(client, &mut buffer).await?;
    }
}

async fn read_more(client: &mut Socket, buffer: &mut Vec<u8>) -> Result<(), Refused> {
    match client.read_more(buffer).await {
        Ok(0) => Err(Refused::silent(Cause::NoStartup)),
        Ok(_) => Ok(()),
        Err(error) => Err(Refused::io(&error)),
    }
}

async fn answer(
    route: &Route,
    client: &mut Socket,
    asked: &ClientPrelogin,
    encryption: Encryption,
) -> Result<(), Refused> {
    let mut out = Vec::new();
    asked.answer(route.version(), encryption, &mut out);
    let sent = client.write_all(&out).await;
    sent.map_err(|error| Refused::io(&error))
}

/// From LOGIN7 to the greeting.
async fn log_in(
    route: &Arc<Route>,
    client: &mut Socket,
    buffer: Vec<u8>,
) -> Result<Opening, Refused> {
    let read = tokio::time::timeout(STARTUP_LIMIT, read_login(client, buffer)).await;
    let (login, ahead) = read.map_err(|_| Refused::silent(Cause::NoStartup))??;
    let dialect = Dialect::of(login.version);
    let greeted = greet(route, client, &login).await;
    let (registered, pool, greeting) = greeted.map_err(|refused| refused.to(dialect))?;
    Ok(Opening {
        registered,
        pool,
        ahead,
        packet_size: greeting.packet_size,
        legacy: greeting.legacy,
    })
}

/// What a client has been told.
struct Greeting {
    packet_size: usize,
    legacy: Option<(Dialect, Box<Translator>)>,
}

async fn greet(
    route: &Arc<Route>,
    client: &mut Socket,
    login: &ClientLogin,
) -> Result<(Registered, Arc<Pool<Connector>>, Greeting), Refused> {
    // A client that has said who it is may be told of the limit in words.
    let limit = route.config.pool.max_clients;
    if usize::try_from(route.metrics.clients.now()).is_ok_and(|now| now > limit) {
        return Err(Refused::new(
            Cause::MaxClients,
            report::too_many_clients(limit),
        ));
    }
    let database = database(route, login)?;
    let origin = Origin::new(&route.config.name, &database, Some(&login.app_name));
    let pool = route.pools.pool(&Key {
        database,
        options: login.options.clone(),
    });
    let registered = route
        .registry
        .register(KeyLength::Short, origin)
        .map_err(|error| Refused::new(Cause::Internal, report::no_randomness(&error)))?;
    let welcome = match pool.shared().welcome() {
        Some(welcome) => welcome,
        None => {
            registered.enter(Phase::Waiting, Instant::now());
            ask_a_backend(route, &pool).await?
        }
    };
    let packet_size = welcome.packet_size;
    let mut out = Vec::new();
    message::login_response(&welcome, login, packet_size, &mut out);
    let legacy = match Dialect::of(login.version) {
        None => None,
        Some(dialect) => {
            let mut translator = Box::new(Translator::new(dialect, packet_size));
            let mut translated = Vec::new();
            let done = translator.answers.translate(&out, &mut translated);
            done.map_err(|violation| {
                Refused::new(Cause::ServerMalformed, report::server_malformed(&violation))
            })?;
            out = translated;
            Some((dialect, translator))
        }
    };
    let sent = client.write_all(&out).await;
    sent.map_err(|error| Refused::io(&error))?;
    let greeting = Greeting {
        packet_size,
        legacy,
    };
    Ok((registered, pool, greeting))
}

async fn read_login(
    client: &mut Socket,
    mut buffer: Vec<u8>,
) -> Result<(ClientLogin, Vec<u8>), Refused> {
    let malformed =
        |violation| Refused::new(Cause::Malformed, report::client_malformed(&violation));
    loop {
        if let Some(login) = packet::whole(&buffer, login7::LONGEST).map_err(malformed)? {
            if login.kind != Kind::Login {
                let violation = entrapool_protocol::tds::Violation::OutOfSync {
                    kind: login.kind.byte(),
                    expected: "LOGIN7",
                };
                return Err(malformed(violation));
            }
            let read = ClientLogin::read(&login.body).map_err(|refusal| {
                let dialect = login7::version(&login.body).and_then(Dialect::to_refuse);
                Refused::new(Cause::StartupRefused, report::bad_login(&refusal)).to(dialect)
            })?;
            buffer.drain(..login.taken);
            return Ok((read, buffer));
        }
        read_more(client, &mut buffer).await?;
    }
}

/// The database of a session: the route's own if the client names none.
fn database(route: &Route, login: &ClientLogin) -> Result<Box<str>, Refused> {
    let named = Some(&login.database).filter(|name| !name.is_empty());
    let database = named.unwrap_or(&route.options.database);
    match &route.config.databases {
        // Names of databases are compared without regard to case.
        Some(allowed)
            if !allowed
                .iter()
                .any(|name| name.eq_ignore_ascii_case(database)) =>
        {
            let report = report::database_not_allowed(database, allowed);
            Err(Refused::new(Cause::StartupRefused, report))
        }
        _ => Ok(database.as_str().into()),
    }
}

/// The first client of a pool gets its greeting from a backend.
async fn ask_a_backend(
    route: &Arc<Route>,
    pool: &Arc<Pool<Connector>>,
) -> Result<Arc<Welcome>, Refused> {
    let began = Instant::now();
    let lease = match pool.try_lease(0, began) {
        Some(lease) => Ok(lease),
        None => pool.lease(0).await,
    };
    let waited = began.elapsed().as_secs_f64();
    route.metrics.pool_wait.observe(waited);
    let lease: Lease<Connector> = lease.map_err(|error| {
        let (cause, report) = report::no_backend(&error, pool.wait_timeout());
        Refused::new(cause, report)
    })?;
    lease.give_back(Instant::now());
    pool.shared().welcome().ok_or_else(|| {
        let violation = entrapool_protocol::tds::Violation::Malformed {
            what: "a login",
            why: "nothing is known of it",
        };
        Refused::new(Cause::Internal, report::server_malformed(&violation))
    })
}
