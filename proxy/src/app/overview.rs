//! How things stand: gathered from routes, pools, sessions and tokens when somebody asks.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use entrapool_metrics::{Label, PinReason, State};

use super::health::{AppHealth, RouteState};
use crate::admin::Health;
use crate::identity::TokenStatus;
use crate::pool::{BackendView, View};
use crate::session::recent::Fault;
use crate::session::registry::{self, Phase};
use crate::status::{
    Client, ClientState, Error, Pinned, Pool, Process, Route, RouteState as Doing, Server, Source,
    Status, Token,
};

impl Source for AppHealth {
    fn status(&self) -> Status {
        let mut pools = Vec::new();
        let mut servers = Vec::new();
        for state in &self.routes {
            let route = &state.route.config().name;
            for view in state.route.pools() {
                pools.push(pool(route, &view));
                servers.extend(view.backends.iter().map(|it| server(route, &view, it)));
            }
        }
        if pools.iter().any(|pool| pool.waiting > 0) {
            add_waits(&mut pools, &self.registry.view());
        }
        let draining = self.draining();
        Status {
            process: Process {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                started: unix(self.started),
                draining,
            },
            routes: self
                .routes
                .iter()
                .map(|state| route(state, draining))
                .collect(),
            pools,
            servers,
            tokens: tokens(&self.routes),
            errors: self.registry.recent.list().iter().map(error).collect(),
        }
    }

    fn clients(&self) -> Vec<Client> {
        self.registry.view().iter().map(client).collect()
    }
}

fn route(state: &Arc<RouteState>, draining: bool) -> Route {
    let config = state.route.config();
    let metrics = state.route.metrics();
    let count = |now: i64| usize::try_from(now).unwrap_or(0);
    let listening_on = state.listening_on.get();
    let pinned = |&reason: &PinReason| Pinned {
        reason: reason.value().to_owned(),
        sessions: count(metrics.pins.now(reason)),
    };
    Route {
        name: config.name.clone(),
        protocol: config.engine().as_str().to_owned(),
        listen: listening_on.map_or_else(|| config.listen.to_string(), String::clone),
        upstream: format!("{}:{}", config.upstream.host, config.upstream.port),
        user: config.user().map(str::to_owned),
        database: config.database().map(str::to_owned),
        pool_mode: config.pool.mode.as_str().to_owned(),
        pool_size: config.pool.size,
        min_idle: config.pool.min_idle,
        max_clients: config.pool.max_clients,
        backends: state.route.backends(),
        clients: count(metrics.clients.now()),
        waiting: count(metrics.clients_waiting.now()),
        state: match (draining, listening_on) {
            (true, _) => Doing::Draining,
            (false, None) => Doing::Starting,
            (false, Some(_)) => Doing::Running,
        },
        pins: PinReason::ALL
            .iter()
            .map(pinned)
            .filter(|pinned| pinned.sessions > 0)
            .collect(),
    }
}

fn pool(route: &str, view: &View) -> Pool {
    let backends = &view.backends;
    let count = |state| backends.iter().filter(|it| it.state == state).count();
    Pool {
        route: route.to_owned(),
        database: view.name.database.clone(),
        variant: view.name.variant.clone(),
        active: count(State::Active),
        idle: count(State::Idle),
        cleaning: count(State::Cleaning),
        creating: view.creating,
        waiting: view.waiting,
        oldest_wait: None,
    }
}

/// A pool keeps no list of those who wait; they know themselves since when.
fn add_waits(pools: &mut [Pool], sessions: &[registry::View]) {
    for pool in pools.iter_mut().filter(|pool| pool.waiting > 0) {
        let waits = sessions.iter().filter(|session| {
            session.phase == Phase::Waiting
                && *session.origin.route == *pool.route
                && *session.origin.database == *pool.database
        });
        let longest = waits.map(|session| session.phase_for).max();
        pool.oldest_wait = Some(seconds(longest.unwrap_or_default()));
    }
}

fn server(route: &str, view: &View, backend: &BackendView) -> Server {
    let particulars = backend.particulars;
    let holder = (backend.state == State::Active).then_some(backend.borrower);
    Server {
        number: backend.number,
        route: route.to_owned(),
        database: view.name.database.clone(),
        variant: view.name.variant.clone(),
        state: backend.state.value().to_owned(),
        state_for: seconds(backend.state_for),
        age: seconds(backend.age),
        expires_in: seconds(backend.expires_in),
        client: holder.filter(|&number| number != 0),
        address: particulars.peer.map(|peer| peer.to_string()),
        server_pid: particulars.server_pid,
        token_generation: particulars.token_generation,
    }
}

fn client(session: &registry::View) -> Client {
    let origin = &session.origin;
    Client {
        number: session.number,
        pid: session.pid,
        route: origin.route.to_string(),
        database: origin.database.to_string(),
        application_name: origin.application.as_deref().map(str::to_owned),
        state: match session.phase {
            Phase::Login => ClientState::Login,
            Phase::Idle => ClientState::Idle,
            Phase::Listening => ClientState::Listening,
            Phase::Waiting => ClientState::Waiting,
            Phase::Active => ClientState::Active,
        },
        state_for: seconds(session.phase_for),
        pins: session
            .pins
            .iter()
            .map(|it| it.value().to_owned())
            .collect(),
    }
}

/// Equal identities share a refresh task, which has one subject.
fn tokens(routes: &[Arc<RouteState>]) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for state in routes {
        let name = state.route.config().name.clone();
        let token = token(state.token.status());
        let known = tokens.iter_mut().find(|known| {
            known.identity == token.identity
                && known.source == token.source
                && known.audience == token.audience
        });
        let token = match known {
            Some(known) => known,
            None => tokens.push_mut(token),
        };
        token.routes.push(name);
    }
    tokens
}

fn token(status: TokenStatus) -> Token {
    Token {
        identity: status.identity,
        source: status.source.to_owned(),
        audience: status.audience.to_owned(),
        routes: Vec::new(),
        generation: status.generation,
        usable: status.usable,
        expires_in: status.expires_at.map(until),
        lifetime: status.lifetime.map(seconds),
        last_refresh: status.last_success.map(unix),
        next_refresh_in: status.next_refresh.map(until),
        last_error: status.last_error,
        failing_since: status.failing_since.map(unix),
    }
}

fn error(fault: &Fault) -> Error {
    Error {
        at: unix(fault.at),
        times: fault.times,
        route: fault.route.to_string(),
        session: fault.session,
        blame: fault.cause.blame().value().to_owned(),
        cause: fault.cause.value().to_owned(),
        detail: fault.detail.to_string(),
    }
}

/// To the millisecond: more is noise.
fn seconds(span: Duration) -> f64 {
    span.as_millis() as f64 / 1000.0
}

fn unix(time: SystemTime) -> f64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    seconds(since.unwrap_or(Duration::ZERO))
}

/// Seconds from now until `time`; negative if that is over.
fn until(time: SystemTime) -> f64 {
    match time.duration_since(SystemTime::now()) {
        Ok(left) => seconds(left),
        Err(over) => -seconds(over.duration()),
    }
}
