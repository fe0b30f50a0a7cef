//! The columns of every answer. PgBouncer 1.25's where it has them, in its order, because
//! monitoring asks for them by name and some of it by place.

use super::command::{Command, Show};
use super::table::{Column, Kind};

/// The commands and what they do, as `SHOW HELP` tells them.
pub const HELP: &[(&str, &str)] = &[
    ("SHOW HELP", "this"),
    ("SHOW VERSION", "entrapool's version"),
    (
        "SHOW STATS",
        "by route: transactions, queries, bytes and times since the start, and averages",
    ),
    ("SHOW STATS_TOTALS", "the totals of SHOW STATS alone"),
    ("SHOW STATS_AVERAGES", "the averages of SHOW STATS alone"),
    ("SHOW TOTALS", "SHOW STATS over all routes, a row per value"),
    ("SHOW POOLS", "by database: clients and backends"),
    ("SHOW DATABASES", "by database: where it is, and its limits"),
    ("SHOW CLIENTS", "clients"),
    ("SHOW SERVERS", "backends"),
    ("SHOW USERS", "roles that backends log in as"),
    ("SHOW LISTS", "how many of everything"),
    ("SHOW CONFIG", "settings, by PgBouncer's names"),
    ("SHOW STATE", "whether clients are held back"),
    ("SHOW TOKENS", "tokens: their life and their last failure"),
    ("SHOW PINS", "by route: why sessions keep their backend"),
    (
        "SHOW PEERS, PEER_POOLS, DNS_HOSTS, DNS_ZONES",
        "nothing: entrapool has no peers and keeps no names",
    ),
    (
        "PAUSE [db]",
        "lets clients wait and closes backends as they come back; returns when all are closed",
    ),
    ("RESUME [db]", "lets clients go on after PAUSE or KILL"),
    (
        "RECONNECT [db]",
        "replaces backends: idle ones at once, others as they come back",
    ),
    (
        "KILL [db]",
        "ends all clients and backends at once; new ones wait for RESUME",
    ),
    ("KILL_CLIENT id", "ends one client; SHOW CLIENTS has its id"),
    (
        "WAIT_CLOSE [db]",
        "returns when all backends that RECONNECT or RELOAD replaces are closed",
    ),
    ("RELOAD", "reads the configuration again"),
    (
        "SHUTDOWN [WAIT_FOR_SERVERS | WAIT_FOR_CLIENTS]",
        "stops as after SIGTERM: open transactions may end first",
    ),
];

impl Command {
    /// The columns of its rows; `None` if it has no rows.
    #[must_use]
    pub fn columns(&self) -> Option<&'static [Column]> {
        match self {
            Self::Show(show) => Some(show.columns()),
            Self::Parameter(parameter) => Some(&parameter.column),
            Self::Ping => Some(&const { [int("?column?")] }),
            _ => None,
        }
    }

    /// What its CommandComplete says.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Show(_) | Self::Parameter(_) => "SHOW",
            Self::Ping => "SELECT 1",
            Self::Set => "SET",
            Self::Pause(_) => "PAUSE",
            Self::Resume(_) => "RESUME",
            Self::Reconnect(_) => "RECONNECT",
            Self::Kill(_) => "KILL",
            Self::KillClient(_) => "KILL_CLIENT",
            Self::WaitClose(_) => "WAIT_CLOSE",
            Self::Reload => "RELOAD",
            Self::Shutdown(_) => "SHUTDOWN",
        }
    }
}

impl Show {
    /// The columns of its rows, in their order.
    #[must_use]
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Help => HELP_COLUMNS,
            Self::Version => VERSION,
            Self::Stats => STATS,
            Self::StatsTotals => STATS_TOTALS,
            Self::StatsAverages => STATS_AVERAGES,
            Self::Totals => TOTALS,
            Self::Pools => POOLS,
            Self::Databases => DATABASES,
            Self::Clients | Self::Servers => SOCKETS,
            Self::Users => USERS,
            Self::Lists => LISTS,
            Self::Config => CONFIG,
            Self::State => STATE,
            Self::Peers => PEERS,
            Self::PeerPools => PEER_POOLS,
            Self::DnsHosts => DNS_HOSTS,
            Self::DnsZones => DNS_ZONES,
            Self::Tokens => TOKENS,
            Self::Pins => PINS,
        }
    }
}

const HELP_COLUMNS: &[Column] = &[text("command"), text("meaning")];

const VERSION: &[Column] = &[text("version")];

const STATS: &[Column] = &[
    text("database"),
    big("total_server_assignment_count"),
    big("total_xact_count"),
    big("total_query_count"),
    big("total_received"),
    big("total_sent"),
    big("total_xact_time"),
    big("total_query_time"),
    big("total_wait_time"),
    big("total_client_parse_count"),
    big("total_server_parse_count"),
    big("total_bind_count"),
    big("avg_server_assignment_count"),
    big("avg_xact_count"),
    big("avg_query_count"),
    big("avg_recv"),
    big("avg_sent"),
    big("avg_xact_time"),
    big("avg_query_time"),
    big("avg_wait_time"),
    big("avg_client_parse_count"),
    big("avg_server_parse_count"),
    big("avg_bind_count"),
];

const STATS_TOTALS: &[Column] = &[
    text("database"),
    big("server_assignment_count"),
    big("xact_count"),
    big("query_count"),
    big("bytes_received"),
    big("bytes_sent"),
    big("xact_time"),
    big("query_time"),
    big("wait_time"),
    big("client_parse_count"),
    big("server_parse_count"),
    big("bind_count"),
];

const STATS_AVERAGES: &[Column] = &[
    text("database"),
    big("server_assignment_count"),
    big("xact_count"),
    big("query_count"),
    big("bytes_received"),
    big("bytes_sent"),
    big("xact_time"),
    big("query_time"),
    big("wait_time"),
    big("avg_client_parse_count"),
    big("avg_server_parse_count"),
    big("avg_bind_count"),
];

const TOTALS: &[Column] = &[text("name"), big("value")];

const POOLS: &[Column] = &[
    text("database"),
    text("user"),
    int("cl_active"),
    int("cl_waiting"),
    int("cl_active_cancel_req"),
    int("cl_waiting_cancel_req"),
    int("sv_active"),
    int("sv_active_cancel"),
    int("sv_being_canceled"),
    int("sv_idle"),
    int("sv_used"),
    int("sv_tested"),
    int("sv_login"),
    int("maxwait"),
    int("maxwait_us"),
    text("pool_mode"),
    text("load_balance_hosts"),
];

const DATABASES: &[Column] = &[
    text("name"),
    text("host"),
    int("port"),
    text("database"),
    text("force_user"),
    int("pool_size"),
    int("min_pool_size"),
    int("reserve_pool_size"),
    int("server_lifetime"),
    text("pool_mode"),
    text("load_balance_hosts"),
    int("max_connections"),
    int("current_connections"),
    int("max_client_connections"),
    int("current_client_connections"),
    int("paused"),
    int("disabled"),
];

const SOCKETS: &[Column] = &[
    text("type"),
    text("user"),
    text("database"),
    text("replication"),
    text("state"),
    text("addr"),
    int("port"),
    text("local_addr"),
    int("local_port"),
    text("connect_time"),
    text("request_time"),
    int("wait"),
    int("wait_us"),
    int("close_needed"),
    text("ptr"),
    text("link"),
    int("remote_pid"),
    text("tls"),
    text("application_name"),
    int("prepared_statements"),
    int("id"),
];

const USERS: &[Column] = &[
    text("name"),
    text("pool_size"),
    text("reserve_pool_size"),
    text("pool_mode"),
    int("max_user_connections"),
    int("current_connections"),
    int("max_user_client_connections"),
    int("current_client_connections"),
];

const LISTS: &[Column] = &[text("list"), int("items")];

const CONFIG: &[Column] = &[
    text("key"),
    text("value"),
    text("default"),
    text("changeable"),
];

const STATE: &[Column] = &[text("key"), text("value")];

const PEERS: &[Column] = &[int("peer_id"), text("host"), int("port"), int("pool_size")];

const PEER_POOLS: &[Column] = &[
    int("peer_id"),
    int("cl_active_cancel_req"),
    int("cl_waiting_cancel_req"),
    int("sv_active_cancel"),
    int("sv_login"),
];

const DNS_HOSTS: &[Column] = &[text("hostname"), big("ttl"), text("addrs")];

const DNS_ZONES: &[Column] = &[text("zonename"), big("serial"), int("count")];

const TOKENS: &[Column] = &[
    text("identity"),
    text("source"),
    text("audience"),
    text("routes"),
    big("generation"),
    big("expires_in"),
    big("lifetime"),
    big("next_refresh_in"),
    text("usable"),
    text("last_failure"),
    big("failing_for"),
];

const PINS: &[Column] = &[text("route"), text("reason"), big("sessions"), big("total")];

pub(super) const fn text(name: &'static str) -> Column {
    Column {
        name,
        kind: Kind::Text,
    }
}

const fn int(name: &'static str) -> Column {
    Column {
        name,
        kind: Kind::Int4,
    }
}

const fn big(name: &'static str) -> Column {
    Column {
        name,
        kind: Kind::Int8,
    }
}
