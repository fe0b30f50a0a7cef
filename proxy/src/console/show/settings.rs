//! CONFIG: PgBouncer's names for what it has, and each route's own keys.

use std::sync::Arc;

use entrapool_protocol::postgres::console::Value;

use crate::config::{self, Listen};
use crate::console::Lever;
use crate::console::history::PERIOD;

/// Settings of PgBouncer that hold for all of it are sums or lists over the routes here.
pub(super) fn config(levers: &[Arc<dyn Lever>]) -> Vec<Vec<Value>> {
    let routes: Vec<&config::Route> = levers.iter().map(|lever| lever.config()).collect();
    let sum = |of: fn(&config::Route) -> usize| {
        routes
            .iter()
            .map(|&route| of(route))
            .sum::<usize>()
            .to_string()
    };
    let each = |of: &dyn Fn(&config::Route) -> String| {
        let mut all: Vec<String> = routes.iter().map(|&route| of(route)).collect();
        all.dedup();
        all.retain(|one| !one.is_empty());
        all.join(",")
    };
    let mut rows = vec![
        row("listen_addr", each(&|route| address(&route.listen).0), ""),
        row("listen_port", each(&|route| address(&route.listen).1), ""),
        row(
            "unix_socket_dir",
            each(&|route| directory(&route.listen)),
            "",
        ),
        row("max_client_conn", sum(|route| route.pool.max_clients), ""),
        row(
            "default_pool_size",
            each(&|route| route.pool.size.to_string()),
            "",
        ),
        row("max_db_connections", sum(|route| route.pool.size), ""),
        row("max_user_connections", "0".to_owned(), "0"),
        row(
            "pool_mode",
            each(&|route| route.pool.mode.as_str().to_owned()),
            "auto",
        ),
        row("stats_period", PERIOD.as_secs().to_string(), "60"),
    ];
    rows.extend(routes.iter().flat_map(|route| keys(route)));
    rows
}

/// A route's keys, as `route.NAME.KEY`; what they are by default, docs/configuration.md tells.
fn keys(route: &config::Route) -> Vec<Vec<Value>> {
    let pool = &route.pool;
    let span = |span: std::time::Duration| format!("{}s", span.as_secs_f64());
    let keys = [
        ("engine", route.engine().as_str().to_owned()),
        ("listen", route.listen.to_string()),
        ("host", route.upstream.host.clone()),
        ("port", route.upstream.port.to_string()),
        ("user", route.user().unwrap_or_default().to_owned()),
        ("database", route.database().unwrap_or_default().to_owned()),
        ("identity", route.identity.source.as_str().to_owned()),
        ("connect_timeout", span(route.upstream.connect_timeout)),
        ("pool_mode", pool.mode.as_str().to_owned()),
        ("pool_size", pool.size.to_string()),
        ("min_idle", pool.min_idle.to_string()),
        ("max_clients", pool.max_clients.to_string()),
        ("wait_timeout", span(pool.wait_timeout)),
        ("idle_timeout", span(pool.idle_timeout)),
        ("max_lifetime", span(pool.max_lifetime)),
    ];
    let rows = keys.map(|(key, value)| row(&format!("route.{}.{key}", route.name), value, ""));
    rows.into()
}

fn row(key: &str, value: String, default: &'static str) -> Vec<Value> {
    // Nothing is changed on the console.
    vec![
        key.to_owned().into(),
        value.into(),
        default.into(),
        "no".into(),
    ]
}

fn address(listen: &Listen) -> (String, String) {
    match listen {
        Listen::Tcp(address) => (address.ip().to_string(), address.port().to_string()),
        Listen::Unix(_) => (String::new(), String::new()),
    }
}

fn directory(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(_) => String::new(),
        Listen::Unix(path) => path.parent().unwrap_or(path).display().to_string(),
    }
}
