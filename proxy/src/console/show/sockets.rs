//! CLIENTS and SERVERS, which have the same columns.

use entrapool_protocol::postgres::console::Value;

use super::{Hall, split};
use crate::status::{Client, ClientState, Server};

/// The columns in their order.
struct Row {
    kind: &'static str,
    user: String,
    database: String,
    state: String,
    address: Option<(String, i64)>,
    wait: f64,
    close_needed: bool,
    ptr: String,
    link: String,
    remote_pid: i64,
    application: String,
    id: u64,
}

impl Row {
    fn values(self) -> Vec<Value> {
        let [wait, wait_us] = split(self.wait);
        let (address, port) = self.address.unwrap_or_default();
        vec![
            self.kind.into(),
            self.user.into(),
            self.database.into(),
            "none".into(), // replication
            self.state.into(),
            address.into(),
            port.into(),
            "".into(),        // local_addr
            Value::Number(0), // local_port
            "".into(),        // connect_time
            "".into(),        // request_time
            wait,
            wait_us,
            i64::from(self.close_needed).into(),
            self.ptr.into(),
            self.link.into(),
            self.remote_pid.into(),
            "".into(), // tls
            self.application.into(),
            Value::Number(0), // prepared_statements
            self.id.into(),
        ]
    }
}

pub(super) fn clients(hall: &Hall) -> Vec<Vec<Value>> {
    let row = |client: &Client| {
        let route = hall.route(&client.route);
        // A session's number is its own: what has it is its backend.
        let mut servers = hall.status.servers.iter();
        let server = servers.find(|server| server.client == Some(client.number));
        let waiting = client.state == ClientState::Waiting;
        let row = Row {
            kind: "C",
            user: route
                .and_then(|route| route.user.clone())
                .unwrap_or_default(),
            database: hall.name(&client.route, &client.database),
            state: state(client.state).to_owned(),
            address: None,
            wait: if waiting { client.state_for } else { 0.0 },
            close_needed: false,
            ptr: format!("c{}", client.number),
            link: server.map(server_ptr).unwrap_or_default(),
            remote_pid: 0,
            application: client.application_name.clone().unwrap_or_default(),
            id: client.number,
        };
        row.values()
    };
    hall.clients.iter().map(row).collect()
}

/// PgBouncer's words.
fn state(state: ClientState) -> &'static str {
    match state {
        ClientState::Login => "login",
        ClientState::Idle | ClientState::Listening => "idle",
        ClientState::Waiting => "waiting",
        ClientState::Active => "active",
    }
}

pub(super) fn servers(hall: &Hall) -> Vec<Vec<Value>> {
    let row = |server: &Server| {
        let mut levers = hall.levers.iter();
        let lever = levers.find(|lever| lever.config().name == server.route);
        let outdated = lever.map_or(0, |lever| lever.standing().outdated);
        let mut clients = hall.clients.iter();
        let client = clients.find(|client| Some(client.number) == server.client);
        let route = hall.route(&server.route);
        let row = Row {
            kind: "S",
            user: route
                .and_then(|route| route.user.clone())
                .unwrap_or_default(),
            database: hall.name(&server.route, &server.database),
            state: match server.state.as_str() {
                "cleaning" => "tested".to_owned(),
                other => other.to_owned(),
            },
            address: server.address.as_deref().and_then(address),
            wait: 0.0,
            // What a reload has replaced serves the sessions that it has.
            close_needed: server.retired || server.number <= outdated,
            ptr: server_ptr(server),
            link: client.map_or_else(String::new, |client| format!("c{}", client.number)),
            remote_pid: server.server_pid.map_or(0, i64::from),
            application: client
                .and_then(|client| client.application_name.clone())
                .unwrap_or_default(),
            id: server.number,
        };
        row.values()
    };
    hall.status.servers.iter().map(row).collect()
}

/// Backends have numbers within their route, which begin anew with a reload.
fn server_ptr(server: &Server) -> String {
    let kind = if server.retired { "r" } else { "s" };
    format!("{kind}{}@{}", server.number, server.route)
}

fn address(text: &str) -> Option<(String, i64)> {
    let address: std::net::SocketAddr = text.parse().ok()?;
    Some((address.ip().to_string(), address.port().into()))
}
