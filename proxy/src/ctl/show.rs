//! What the running program says, for people.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::table::{Table, span};
use crate::control::Reloaded;
use crate::status::{Client, Error, Pool, Route, Server, Status, Token};

/// The program at a glance.
pub(super) fn status(status: &Status) -> String {
    let process = &status.process;
    let state = match process.draining {
        true => "draining",
        false => "running",
    };
    let mut text = format!(
        "entrapool {} (process {}), {state}, for {}\n\n",
        process.version,
        process.pid,
        span(ago(process.started))
    );
    text.push_str(&routes(&status.routes));
    text.push('\n');
    text.push_str(&tokens(&status.tokens));
    if !status.errors.is_empty() {
        text.push('\n');
        text.push_str(&errors(&status.errors));
    }
    text
}

fn routes(routes: &[Route]) -> String {
    let mut table = Table::new(&[
        "ROUTE", "PROTOCOL", "STATE", "LISTEN", "UPSTREAM", "MODE", "BACKENDS", "CLIENTS",
        "WAITING", "PINNED",
    ]);
    for route in routes {
        let pinned: Vec<String> = route
            .pins
            .iter()
            .map(|pinned| format!("{}={}", pinned.reason, pinned.sessions))
            .collect();
        table.row([
            route.name.clone(),
            route.protocol.clone(),
            word(&route.state),
            route.listen.clone(),
            route.upstream.clone(),
            route.pool_mode.clone(),
            format!("{}/{}", route.backends, route.pool_size),
            format!("{}/{}", route.clients, route.max_clients),
            route.waiting.to_string(),
            pinned.join(","),
        ]);
    }
    table.or("no routes")
}

fn errors(errors: &[Error]) -> String {
    let mut table = Table::new(&["ERROR", "BLAME", "ROUTE", "TIMES", "LAST", "DETAIL"]);
    for error in errors.iter().rev() {
        table.row([
            error.cause.clone(),
            error.blame.clone(),
            error.route.clone(),
            error.times.to_string(),
            span(ago(error.at)),
            error.detail.clone(),
        ]);
    }
    table.or("no errors")
}

pub(super) fn pools(pools: &[Pool]) -> String {
    let mut table = Table::new(&[
        "ROUTE", "DATABASE", "ACTIVE", "IDLE", "CLEANING", "CREATING", "WAITING", "LONGEST", "OF",
        "VARIANT",
    ]);
    for pool in pools {
        table.row([
            pool.route.clone(),
            pool.database.clone(),
            pool.active.to_string(),
            pool.idle.to_string(),
            pool.cleaning.to_string(),
            pool.creating.to_string(),
            pool.waiting.to_string(),
            pool.oldest_wait.map(span).unwrap_or_default(),
            whose(pool.retired),
            pool.variant.clone(),
        ]);
    }
    table.or("no pools: nobody has connected yet")
}

pub(super) fn servers(servers: &[Server]) -> String {
    let mut table = Table::new(&[
        "BACKEND", "ROUTE", "DATABASE", "STATE", "FOR", "CLIENT", "AGE", "EXPIRES", "TOKEN",
        "ADDRESS", "PID", "OF",
    ]);
    for server in servers {
        table.row([
            server.number.to_string(),
            server.route.clone(),
            server.database.clone(),
            server.state.clone(),
            span(server.state_for),
            server.client.map_or_else(String::new, |it| it.to_string()),
            span(server.age),
            span(server.expires_in),
            server.token_generation.to_string(),
            server.address.clone().unwrap_or_default(),
            server
                .server_pid
                .map_or_else(String::new, |it| it.to_string()),
            whose(server.retired),
        ]);
    }
    table.or("no backends")
}

fn whose(retired: bool) -> String {
    match retired {
        true => "earlier clients".to_owned(),
        false => String::new(),
    }
}

pub(super) fn clients(clients: &[Client]) -> String {
    let mut table = Table::new(&[
        "CLIENT",
        "PID",
        "ROUTE",
        "DATABASE",
        "STATE",
        "FOR",
        "PINNED",
        "APPLICATION",
    ]);
    for client in clients {
        table.row([
            client.number.to_string(),
            client.pid.to_string(),
            client.route.clone(),
            client.database.clone(),
            word(&client.state),
            span(client.state_for),
            client.pins.join(","),
            client.application_name.clone().unwrap_or_default(),
        ]);
    }
    table.or("no clients")
}

pub(super) fn tokens(tokens: &[Token]) -> String {
    let mut table = Table::new(&[
        "IDENTITY",
        "AUDIENCE",
        "USABLE",
        "EXPIRES",
        "REFRESHED",
        "NEXT",
        "ROUTES",
        "FAILURE",
    ]);
    for token in tokens {
        let usable = if token.usable { "yes" } else { "no" };
        table.row([
            token.identity.clone(),
            token.audience.clone(),
            usable.to_owned(),
            token.expires_in.map(span).unwrap_or_default(),
            token
                .last_refresh
                .map(|at| format!("{} ago", span(ago(at))))
                .unwrap_or_default(),
            token.next_refresh_in.map(span).unwrap_or_default(),
            token.routes.join(","),
            token.last_error.clone().unwrap_or_default(),
        ]);
    }
    table.or("no tokens")
}

pub(super) fn reloaded(reloaded: &Reloaded) -> String {
    let mut text = String::new();
    for change in &reloaded.changes {
        text.push_str(&format!("{change}\n"));
    }
    for note in &reloaded.notes {
        text.push_str(&format!("# {note}\n"));
    }
    if reloaded.changes.is_empty() {
        text.push_str("nothing has changed\n");
    }
    text
}

/// Which checks of `/readiness` fail, from its JSON.
pub(super) fn not_ready(report: &str) -> String {
    let report: Value = serde_json::from_str(report).unwrap_or_default();
    let list = |value: &Value, name: &str| -> Vec<Value> {
        let list = value.get(name).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    let mut failing = Vec::new();
    for route in list(&report, "routes") {
        let name = route.get("route").and_then(Value::as_str).unwrap_or("?");
        for check in list(&route, "checks") {
            if check.get("ok") != Some(&Value::Bool(true)) {
                let word = |name| check.get(name).and_then(Value::as_str).unwrap_or_default();
                failing.push(format!(
                    "route {name}: {}: {}",
                    word("check"),
                    word("detail")
                ));
            }
        }
    }
    match failing.is_empty() {
        true => "it has not begun yet".to_owned(),
        false => failing.join("; "),
    }
}

/// A word of the status, as JSON has it.
fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// Seconds since a time in seconds since 1970.
fn ago(at: f64) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    (now.unwrap_or_default().as_secs_f64() - at).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ready_is_named() {
        let report = r#"{"ready":false,"tested":[],"routes":[{"route":"a","ready":false,"checks":[
            {"check":"listener bound","ok":true,"detail":"x"},
            {"check":"token valid","ok":false,"detail":"none yet"}]}]}"#;
        assert_eq!(not_ready(report), "route a: token valid: none yet");
        assert_eq!(not_ready("{}"), "it has not begun yet");
        assert_eq!(not_ready("?"), "it has not begun yet");
    }
}
