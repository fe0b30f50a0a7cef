//! POOLS, DATABASES, USERS and LISTS: by database and role.

use std::collections::BTreeMap;

use entrapool_protocol::postgres::console::Value;

use super::{Hall, Seat, seconds, split};
use crate::status::ClientState;

const NONE: Value = Value::Number(0);

pub(super) fn pools(hall: &Hall) -> Vec<Vec<Value>> {
    hall.seats().iter().map(pool).collect()
}

fn pool(seat: &Seat<'_>) -> Vec<Value> {
    use ClientState::{Active, Idle, Listening};
    let oldest = seat.pools.iter().filter_map(|pool| pool.oldest_wait);
    let [maxwait, maxwait_us] = split(oldest.fold(0.0, f64::max));
    vec![
        seat.name().into(),
        seat.user().into(),
        seat.clients_that(&[Active, Idle, Listening]).into(),
        seat.sum(|pool| pool.waiting),
        NONE, // cl_active_cancel_req
        NONE, // cl_waiting_cancel_req
        seat.sum(|pool| pool.active),
        NONE, // sv_active_cancel
        NONE, // sv_being_canceled
        seat.sum(|pool| pool.idle),
        NONE, // sv_used
        seat.sum(|pool| pool.cleaning),
        seat.sum(|pool| pool.creating),
        maxwait,
        maxwait_us,
        seat.route.pool_mode.clone().into(),
        Value::Null, // load_balance_hosts
    ]
}

pub(super) fn databases(hall: &Hall) -> Vec<Vec<Value>> {
    hall.seats().iter().map(database).collect()
}

fn database(seat: &Seat<'_>) -> Vec<Value> {
    let config = seat.lever.map(|lever| lever.config());
    let lifetime = config.map(|config| config.pool.max_lifetime.as_secs_f64());
    let paused = seat.lever.is_some_and(|lever| lever.standing().paused);
    vec![
        seat.name().into(),
        config.map(|config| config.upstream.host.clone()).into(),
        config.map(|config| i64::from(config.upstream.port)).into(),
        seat.database.to_owned().into(),
        seat.route.user.clone().into(),
        seat.route.pool_size.into(),
        seat.route.min_idle.into(),
        NONE, // reserve_pool_size
        lifetime.map_or(NONE, seconds),
        seat.route.pool_mode.clone().into(),
        Value::Null, // load_balance_hosts
        seat.route.pool_size.into(),
        seat.servers.len().into(),
        seat.route.max_clients.into(),
        seat.clients.len().into(),
        i64::from(paused).into(),
        NONE, // disabled
    ]
}

/// Who logs in upstream: clients' own names have no part in anything.
pub(super) fn users(hall: &Hall) -> Vec<Vec<Value>> {
    let mut users: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for route in &hall.status.routes {
        let sums = users.entry(route.user.as_deref().unwrap_or_default());
        let [size, backends, clients] = sums.or_default();
        *size += route.pool_size;
        *backends += route.backends;
        *clients += route.clients;
    }
    let row = |(user, [size, backends, clients]): (&str, [usize; 3])| {
        vec![
            user.to_owned().into(),
            Value::Null, // pool_size: a route's, not a user's
            Value::Null, // reserve_pool_size
            Value::Null, // pool_mode
            size.into(),
            backends.into(),
            NONE, // max_user_client_connections: no limit of its own
            clients.into(),
        ]
    };
    users.into_iter().map(row).collect()
}

pub(super) fn lists(hall: &Hall) -> Vec<Vec<Value>> {
    let login = hall.clients.iter();
    let login = login.filter(|client| client.state == ClientState::Login);
    let login = login.count();
    let lists: [(&'static str, usize); 14] = [
        ("databases", hall.seats().len()),
        ("users", users(hall).len()),
        ("peers", 0),
        ("pools", hall.status.pools.len()),
        ("peer_pools", 0),
        ("free_clients", 0),
        ("used_clients", hall.clients.len() - login),
        ("login_clients", login),
        ("free_servers", 0),
        ("used_servers", hall.status.servers.len()),
        ("dns_names", 0),
        ("dns_zones", 0),
        ("dns_queries", 0),
        ("dns_pending", 0),
    ];
    let row = |(name, count): (&'static str, usize)| vec![name.into(), count.into()];
    lists.into_iter().map(row).collect()
}
