//! The rows of every SHOW. What has no meaning here is 0, or empty; `docs/console.md` says which.

mod pools;
mod settings;
mod sockets;
mod stats;

use std::collections::BTreeMap;
use std::sync::Arc;

use entrapool_metrics::{Label as _, PinReason};
use entrapool_protocol::postgres::console::{PGBOUNCER, Show, Table, Value};

use super::{Console, Lever};
use crate::status::{Client, ClientState, Pool, Route, Server, Status, Token};

impl Console {
    /// What `show` shows now.
    pub(super) fn show(&self, show: Show) -> Table {
        let rows = match show {
            Show::Version => vec![vec![Value::from(self.version())]],
            Show::Stats => self.stats(stats::Part::Both),
            Show::StatsTotals => self.stats(stats::Part::Totals),
            Show::StatsAverages => self.stats(stats::Part::Averages),
            Show::Totals => self.totals(),
            Show::Pools => pools::pools(&self.hall()),
            Show::Databases => pools::databases(&self.hall()),
            Show::Lists => pools::lists(&self.hall()),
            Show::Users => pools::users(&self.hall()),
            Show::Clients => sockets::clients(&self.hall()),
            Show::Servers => sockets::servers(&self.hall()),
            Show::Config => settings::config(&self.house.levers()),
            Show::State => self.state(),
            Show::Tokens => self.source.status().tokens.iter().map(token).collect(),
            Show::Pins => self.pins(),
            // There are none; the conversation has the help.
            Show::Peers | Show::PeerPools | Show::DnsHosts | Show::DnsZones | Show::Help => {
                Vec::new()
            }
        };
        Table { rows }
    }

    fn version(&self) -> String {
        let version = self.source.status().process.version;
        format!("entrapool {version}, console of PgBouncer {PGBOUNCER}")
    }

    fn hall(&self) -> Hall {
        Hall {
            status: self.source.status(),
            clients: self.source.clients(),
            levers: self.house.levers(),
        }
    }

    fn state(&self) -> Vec<Vec<Value>> {
        let levers = self.house.levers();
        let paused = levers.iter().all(|lever| lever.standing().paused);
        let row = |key: &'static str, yes| vec![Value::from(key), yes_or_no(yes)];
        vec![
            row("active", !paused),
            row("paused", paused),
            row("suspended", false),
        ]
    }

    fn pins(&self) -> Vec<Vec<Value>> {
        let levers = self.house.levers();
        let rows = levers.iter().flat_map(|lever| {
            PinReason::ALL.iter().map(|&reason| {
                let pins = &lever.metrics().pins;
                vec![
                    lever.config().name.clone().into(),
                    reason.value().into(),
                    pins.now(reason).max(0).into(),
                    pins.total(reason).into(),
                ]
            })
        });
        rows.collect()
    }
}

/// Everything at one moment.
struct Hall {
    status: Status,
    clients: Vec<Client>,
    levers: Vec<Arc<dyn Lever>>,
}

/// A database of a route, with what is there of it.
struct Seat<'a> {
    route: &'a Route,
    lever: Option<&'a Arc<dyn Lever>>,
    database: &'a str,
    pools: Vec<&'a Pool>,
    servers: Vec<&'a Server>,
    clients: Vec<&'a Client>,
}

/// By the route's place, and database.
type Seats<'a> = BTreeMap<(usize, &'a str), Seat<'a>>;

impl Hall {
    /// Every database that a route is configured with, or that clients have named: each once, in
    /// the order of the routes.
    fn seats(&self) -> Vec<Seat<'_>> {
        let mut seats = Seats::new();
        for place in self.status.routes.iter().enumerate() {
            let name = &place.1.name;
            if let Some(database) = &place.1.database {
                self.seat_at(&mut seats, place, database);
            }
            for pool in self.status.pools.iter().filter(|pool| pool.route == *name) {
                let seat = self.seat_at(&mut seats, place, &pool.database);
                seat.pools.push(pool);
            }
            for server in self.status.servers.iter().filter(|it| it.route == *name) {
                let seat = self.seat_at(&mut seats, place, &server.database);
                seat.servers.push(server);
            }
            for client in self.clients.iter().filter(|client| client.route == *name) {
                let seat = self.seat_at(&mut seats, place, &client.database);
                seat.clients.push(client);
            }
        }
        seats.into_values().collect()
    }

    fn seat_at<'a, 's>(
        &'a self,
        seats: &'s mut Seats<'a>,
        (number, route): (usize, &'a Route),
        database: &'a str,
    ) -> &'s mut Seat<'a> {
        seats
            .entry((number, database))
            .or_insert_with(|| self.seat(route, database))
    }

    fn seat<'a>(&'a self, route: &'a Route, database: &'a str) -> Seat<'a> {
        let mut levers = self.levers.iter();
        Seat {
            route,
            lever: levers.find(|lever| lever.config().name == route.name),
            database,
            pools: Vec::new(),
            servers: Vec::new(),
            clients: Vec::new(),
        }
    }

    /// What the console calls a database of the route of this name.
    fn name(&self, route: &str, database: &str) -> String {
        match self.status.routes.iter().find(|known| known.name == route) {
            Some(route) => name(route, database),
            // The console's own clients.
            None => database.to_owned(),
        }
    }

    fn route(&self, name: &str) -> Option<&Route> {
        self.status.routes.iter().find(|route| route.name == name)
    }
}

impl Seat<'_> {
    fn name(&self) -> String {
        name(self.route, self.database)
    }

    fn user(&self) -> String {
        self.route.user.clone().unwrap_or_default()
    }

    fn clients_that(&self, are: &[ClientState]) -> usize {
        let those = self.clients.iter();
        those.filter(|client| are.contains(&client.state)).count()
    }

    /// The sum over the pools of the database.
    fn sum(&self, of: impl Fn(&Pool) -> usize) -> Value {
        self.pools.iter().map(|pool| of(pool)).sum::<usize>().into()
    }
}

/// The route's name stands for its own database, `route/database` for another: PgBouncer's names
/// are aliases of its configuration, and no two rows may have the same.
fn name(route: &Route, database: &str) -> String {
    if route.database.as_deref() == Some(database) {
        route.name.clone()
    } else {
        format!("{}/{database}", route.name)
    }
}

fn token(token: &Token) -> Vec<Value> {
    let failing_for = token.failing_since.map(|since| {
        let now = std::time::SystemTime::now();
        let now = now
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        seconds(now.as_secs_f64() - since)
    });
    vec![
        token.identity.clone().into(),
        token.source.clone().into(),
        token.audience.clone().into(),
        token.routes.join(",").into(),
        token.generation.into(),
        token.expires_in.map(seconds).into(),
        token.lifetime.map(seconds).into(),
        token.next_refresh_in.map(seconds).into(),
        yes_or_no(token.usable),
        token.last_error.clone().into(),
        failing_for.into(),
    ]
}

fn yes_or_no(yes: bool) -> Value {
    Value::from(if yes { "yes" } else { "no" })
}

/// Whole seconds.
fn seconds(seconds: f64) -> Value {
    // A cast of what is out of range gives the nearest that is not.
    Value::Number(seconds as i64)
}

/// Seconds, and the microseconds behind them.
fn split(seconds: f64) -> [Value; 2] {
    let micros = (seconds * 1e6) as i64;
    [
        Value::Number(micros / 1_000_000),
        Value::Number(micros % 1_000_000),
    ]
}

#[cfg(test)]
mod tests;
