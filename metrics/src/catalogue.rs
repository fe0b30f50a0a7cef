//! All families, in the order of `docs/metrics.md`.
//!
//! Names follow Prometheus' rules: base units, the unit last, `_total` for counters.

use crate::family::{Family, Kind, LabelDoc};
use crate::label::{
    Blame, CancelResult, Cause, Closed, Direction, HttpStatus, LoginFailure, Phase, PinReason,
    ProbeResult, Protocol, RefreshResult, State,
};

/// Families that belong together in the reference.
pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) families: &'static [&'static Family],
}

pub(crate) fn families() -> impl Iterator<Item = &'static Family> {
    GROUPS.iter().flat_map(|group| group.families).copied()
}

pub(crate) static GROUPS: [Group; 6] = [
    Group {
        title: "Queries",
        families: &[&QUERY_DURATION, &TRANSACTION_DURATION, &CANCEL_REQUESTS],
    },
    Group {
        title: "Clients",
        families: &[
            &CLIENTS,
            &MAX_CLIENTS,
            &CLIENTS_TOTAL,
            &SESSIONS_ENDED,
            &BYTES,
        ],
    },
    Group {
        title: "Pool",
        families: &[
            &POOL_CONNECTIONS,
            &POOL_SIZE,
            &POOL_WAIT,
            &CLIENTS_WAITING,
            &HANDOVERS,
            &SESSIONS_PINNED,
            &PINS,
            &PROBES,
            &SETTINGS_CARRIED,
            &SESSIONS_LISTENING,
            &NOTIFICATIONS,
        ],
    },
    Group {
        title: "Upstream",
        families: &[&UPSTREAM_CONNECT, &LOGIN_FAILURES, &UPSTREAM_CLOSED],
    },
    Group {
        title: "Tokens",
        families: &[
            &TOKEN_EXPIRY,
            &TOKEN_LIFETIME,
            &TOKEN_LAST_SUCCESS,
            &TOKEN_REFRESHES,
            &TOKEN_REFRESH_DURATION,
            &TOKEN_HTTP_RESPONSES,
        ],
    },
    Group {
        title: "Process",
        families: &[
            &BUILD_INFO,
            &START_TIME,
            &PROCESS_CPU,
            &PROCESS_RESIDENT,
            &PROCESS_VIRTUAL,
            &PROCESS_THREADS,
            &PROCESS_OPEN_FDS,
            &PROCESS_MAX_FDS,
            &PROCESS_START_TIME,
        ],
    },
];

pub(crate) static PROCESS: [&Family; 7] = [
    &PROCESS_CPU,
    &PROCESS_RESIDENT,
    &PROCESS_VIRTUAL,
    &PROCESS_THREADS,
    &PROCESS_OPEN_FDS,
    &PROCESS_MAX_FDS,
    &PROCESS_START_TIME,
];

const PROTOCOL: LabelDoc = LabelDoc::closed::<Protocol>();
const ROUTE: LabelDoc = LabelDoc::open("route", "the route's name in the configuration");
const IDENTITY: LabelDoc = LabelDoc::open("identity", "the identity, by its kind and selector");
const SOURCE: LabelDoc = LabelDoc::open("source", "the kind of token source, as in `identity`");
const AUDIENCE: LabelDoc = LabelDoc::open(
    "audience",
    "the resource that the token is for; `none` for a password",
);

/// A local answer takes tens of microseconds, a report takes minutes; 18 bounds between.
const QUERY_BOUNDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 15.0, 60.0,
];
/// The first bound holds the leases that did not wait.
const WAIT_BOUNDS: &[f64] = &[
    0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0, 60.0,
];
const CONNECT_BOUNDS: &[f64] = &[
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
const REFRESH_BOUNDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

pub(crate) static QUERY_DURATION: Family = Family {
    name: "entrapool_query_duration_seconds",
    kind: Kind::Histogram(QUERY_BOUNDS),
    labels: &[PROTOCOL, ROUTE],
    help: "Time from the client's request to the last byte of its answer, waiting for a backend included.",
    look_for: "Its `_count` is the number of queries. A high quantile that rises together with \
               `entrapool_pool_wait_seconds` is a pool that is too small; one that rises alone is \
               the server: \
               `histogram_quantile(0.99, sum by (le, route) (rate(entrapool_query_duration_seconds_bucket[5m])))`.",
};

pub(crate) static TRANSACTION_DURATION: Family = Family {
    name: "entrapool_transaction_duration_seconds",
    kind: Kind::Histogram(QUERY_BOUNDS),
    labels: &[PROTOCOL, ROUTE],
    help: "Time from a transaction's first request to the answer that ended it; a single statement counts as one.",
    look_for: "Transactions much longer than their queries are clients that think while they hold \
               a backend. Nothing costs a small pool more.",
};

pub(crate) static CANCEL_REQUESTS: Family = Family {
    name: "entrapool_cancel_requests_total",
    kind: Kind::Counter,
    labels: &[PROTOCOL, ROUTE, LabelDoc::closed::<CancelResult>()],
    help: "Cancel requests of clients, by what became of them.",
    look_for: "`stale` is normal in small numbers, since a query may end before its cancel \
               arrives. `failed` means that the server refuses further connections.",
};

pub(crate) static CLIENTS: Family = Family {
    name: "entrapool_clients",
    kind: Kind::Gauge,
    labels: &[PROTOCOL, ROUTE],
    help: "Clients connected now.",
    look_for: "`entrapool_clients / entrapool_max_clients` above 0.9: the application leaks \
               connections, or `max_clients` is too low.",
};

pub(crate) static MAX_CLIENTS: Family = Family {
    name: "entrapool_max_clients",
    kind: Kind::Gauge,
    labels: &[PROTOCOL, ROUTE],
    help: "Most clients that the route accepts, as configured.",
    look_for: "The limit for `entrapool_clients`.",
};

pub(crate) static CLIENTS_TOTAL: Family = Family {
    name: "entrapool_clients_total",
    kind: Kind::Counter,
    labels: &[PROTOCOL, ROUTE],
    help: "Clients accepted since the start.",
    look_for: "A high rate is an application that reconnects for each request. That is cheap \
               here, yet cheaper with connections that stay.",
};

pub(crate) static SESSIONS_ENDED: Family = Family {
    name: "entrapool_sessions_ended_total",
    kind: Kind::Counter,
    labels: &[
        PROTOCOL,
        ROUTE,
        LabelDoc::closed::<Blame>(),
        LabelDoc::closed::<Cause>(),
    ],
    help: "Client sessions that ended, by whose doing and why; each cause has one blame.",
    look_for: "Any steady rate with a blame other than `client`: \
               `sum by (route, blame, cause) (rate(entrapool_sessions_ended_total{blame!=\"client\"}[5m]))`. \
               `internal` should never be seen.",
};

pub(crate) static BYTES: Family = Family {
    name: "entrapool_bytes_total",
    kind: Kind::Counter,
    labels: &[PROTOCOL, ROUTE, LabelDoc::closed::<Direction>()],
    help: "Bytes of the database protocol, by socket and direction, without TLS.",
    look_for: "`upstream_in` far above `client_out` is traffic of our own: logins and resets.",
};

pub(crate) static POOL_CONNECTIONS: Family = Family {
    name: "entrapool_pool_connections",
    kind: Kind::Gauge,
    labels: &[PROTOCOL, ROUTE, LabelDoc::closed::<State>()],
    help: "Upstream connections, by what they are doing; each is in one state.",
    look_for: "`active` at `entrapool_pool_size` for long while clients wait. `creating` that \
               stays up is a server that is slow to let us in.",
};

pub(crate) static POOL_SIZE: Family = Family {
    name: "entrapool_pool_size",
    kind: Kind::Gauge,
    labels: &[PROTOCOL, ROUTE],
    help: "Most upstream connections that the route may have, as configured.",
    look_for: "Its sum over all pods must stay under the server's connection limit.",
};

pub(crate) static POOL_WAIT: Family = Family {
    name: "entrapool_pool_wait_seconds",
    kind: Kind::Histogram(WAIT_BOUNDS),
    labels: &[PROTOCOL, ROUTE],
    help: "Time that a client waited for a backend, observed once per lease; 0 when one was there at once.",
    look_for: "The share of leases that waited at all: \
               `1 - sum by (route) (rate(entrapool_pool_wait_seconds_bucket{le=\"0.0001\"}[5m])) / sum by (route) (rate(entrapool_pool_wait_seconds_count[5m]))`. \
               Above a few per cent, raise `pool_size` or shorten transactions.",
};

pub(crate) static CLIENTS_WAITING: Family = Family {
    name: "entrapool_clients_waiting",
    kind: Kind::Gauge,
    labels: &[PROTOCOL, ROUTE],
    help: "Clients that wait for a backend now.",
    look_for: "Above 0 in scrape after scrape.",
};

pub(crate) static HANDOVERS: Family = Family {
    name: "entrapool_handovers_total",
    kind: Kind::Counter,
    labels: &[PROTOCOL, ROUTE],
    help: "Times that a backend was lent to another client than the one before.",
    look_for: "This is the sharing itself: 0 with many clients means that nothing is multiplexed.",
};

pub(crate) static SESSIONS_PINNED: Family = Family {
    name: "entrapool_sessions_pinned",
    kind: Kind::Gauge,
    labels: &[PROTOCOL, ROUTE, LabelDoc::closed::<PinReason>()],
    help: "Sessions that keep their backend now, by reason; one with two reasons counts under both.",
    look_for: "Near `entrapool_pool_size`, the pool has nothing left to share. The reason says \
               what the application would have to do without: see `docs/pinning.md`.",
};

pub(crate) static PINS: Family = Family {
    name: "entrapool_pins_total",
    kind: Kind::Counter,
    labels: &[PROTOCOL, ROUTE, LabelDoc::closed::<PinReason>()],
    help: "Times that a session began to keep its backend, by reason.",
    look_for: "A rate near that of transactions is an application that makes such state all the \
               time: `sum by (route, reason) (rate(entrapool_pins_total[5m]))`.",
};

pub(crate) static PROBES: Family = Family {
    name: "entrapool_probes_total",
    kind: Kind::Counter,
    labels: &[PROTOCOL, ROUTE, LabelDoc::closed::<ProbeResult>()],
    help: "Times that a server was asked what a session has left, because its text said that it may have left something.",
    look_for: "Its rate over that of `entrapool_transaction_duration_seconds_count` is the price \
               of `pool_mode=auto`: each costs the server some tenths of a millisecond.",
};

pub(crate) static SETTINGS_CARRIED: Family = Family {
    name: "entrapool_settings_carried_total",
    kind: Kind::Counter,
    labels: &[PROTOCOL, ROUTE],
    help: "Times that a backend was given the settings of its next client.",
    look_for: "Near `entrapool_handovers_total`, every client has settings of its own. That costs \
               one more statement on the server for each, in the same write.",
};

pub(crate) static SESSIONS_LISTENING: Family = Family {
    name: "entrapool_sessions_listening",
    kind: Kind::Gauge,
    labels: &[PROTOCOL, ROUTE],
    help: "Sessions that wait for notifications and hold no backend: one connection listens for all of them.",
    look_for: "A session that listens and works counts as pinned instead, with the reason `listen`.",
};

pub(crate) static NOTIFICATIONS: Family = Family {
    name: "entrapool_notifications_total",
    kind: Kind::Counter,
    labels: &[PROTOCOL, ROUTE],
    help: "Notifications that such a connection received, counted once per session that gets them.",
    look_for: "A client that does not read what comes is ended when 1 MiB waits for it: \
               `entrapool_sessions_ended_total{cause=\"deaf\"}`.",
};

pub(crate) static UPSTREAM_CONNECT: Family = Family {
    name: "entrapool_upstream_connect_seconds",
    kind: Kind::Histogram(CONNECT_BOUNDS),
    labels: &[PROTOCOL, ROUTE, LabelDoc::closed::<Phase>()],
    help: "Time of each phase of opening an upstream connection, observed when the phase succeeded.",
    look_for: "Which phase is slow says whom to ask: `dns` the resolver, `tcp` the network, \
               `login` the server and its check of the token.",
};

pub(crate) static LOGIN_FAILURES: Family = Family {
    name: "entrapool_login_failures_total",
    kind: Kind::Counter,
    labels: &[PROTOCOL, ROUTE, LabelDoc::closed::<LoginFailure>()],
    help: "Upstream logins that failed, by class.",
    look_for: "`role`, `database`, `tls` and `config` do not heal by themselves: somebody has to \
               correct the server or the route. `token` and `network` should stop when their \
               cause does.",
};

pub(crate) static UPSTREAM_CLOSED: Family = Family {
    name: "entrapool_upstream_closed_total",
    kind: Kind::Counter,
    labels: &[PROTOCOL, ROUTE, LabelDoc::closed::<Closed>()],
    help: "Upstream connections that had logged in and were closed, by reason.",
    look_for: "`server` in bursts is a restart or fail-over, steadily it is a server-side idle \
               limit shorter than `idle_timeout`. Every reopening costs an Entra check.",
};

pub(crate) static TOKEN_EXPIRY: Family = Family {
    name: "entrapool_token_expiry_timestamp_seconds",
    kind: Kind::Gauge,
    labels: &[IDENTITY, SOURCE, AUDIENCE],
    help: "When the token in use expires, in seconds since 1970; absent before the first token and for passwords.",
    look_for: "`entrapool_token_expiry_timestamp_seconds - time() < 600`: refreshing has failed \
               for long and new logins are about to fail. A negative difference means that they do.",
};

pub(crate) static TOKEN_LIFETIME: Family = Family {
    name: "entrapool_token_lifetime_seconds",
    kind: Kind::Gauge,
    labels: &[IDENTITY, SOURCE, AUDIENCE],
    help: "How long the token in use was still valid when it was received; absent before the first token and for passwords.",
    look_for: "Typically an hour to a day. Much less is a policy or a cache at the source, and \
               makes refreshes frequent.",
};

pub(crate) static TOKEN_LAST_SUCCESS: Family = Family {
    name: "entrapool_token_last_success_timestamp_seconds",
    kind: Kind::Gauge,
    labels: &[IDENTITY, SOURCE, AUDIENCE],
    help: "When the source last answered with a token or password, in seconds since 1970; absent before the first.",
    look_for: "`time() - entrapool_token_last_success_timestamp_seconds` above \
               `entrapool_token_lifetime_seconds`: there can be no valid token any more.",
};

pub(crate) static TOKEN_REFRESHES: Family = Family {
    name: "entrapool_token_refreshes_total",
    kind: Kind::Counter,
    labels: &[
        IDENTITY,
        SOURCE,
        AUDIENCE,
        LabelDoc::closed::<RefreshResult>(),
    ],
    help: "Refreshes of the token, by result.",
    look_for: "`increase(entrapool_token_refreshes_total{result=\"failed\"}[15m]) > 3`: the early \
               warning, while the last token is still good.",
};

pub(crate) static TOKEN_REFRESH_DURATION: Family = Family {
    name: "entrapool_token_refresh_duration_seconds",
    kind: Kind::Histogram(REFRESH_BOUNDS),
    labels: &[IDENTITY, SOURCE, AUDIENCE],
    help: "Time that a refresh took, successful or not.",
    look_for: "IMDS answers within 100 ms. Many seconds are time-outs: a blocked route to the \
               source, or a proxy in between.",
};

pub(crate) static TOKEN_HTTP_RESPONSES: Family = Family {
    name: "entrapool_token_http_responses_total",
    kind: Kind::Counter,
    labels: &[IDENTITY, SOURCE, AUDIENCE, LabelDoc::closed::<HttpStatus>()],
    help: "HTTP requests to the token source, by the status of the answer; `none` had no answer.",
    look_for: "`429` is throttling: too many processes on the VM ask for tokens. `400` and `404` \
               usually mean that the identity is not assigned to this machine.",
};

pub(crate) static BUILD_INFO: Family = Family {
    name: "entrapool_build_info",
    kind: Kind::Gauge,
    labels: &[LabelDoc::open("version", "the version of entrapool")],
    help: "Always 1; the label says which version runs.",
    look_for: "`count by (version) (entrapool_build_info)` during an upgrade.",
};

pub(crate) static START_TIME: Family = Family {
    name: "entrapool_start_time_seconds",
    kind: Kind::Gauge,
    labels: &[],
    help: "When entrapool started, in seconds since 1970.",
    look_for: "`changes(entrapool_start_time_seconds[1h]) > 2`: it restarts again and again.",
};

pub(crate) static PROCESS_CPU: Family = Family {
    name: "process_cpu_seconds_total",
    kind: Kind::Counter,
    labels: &[],
    help: "User and system CPU time in seconds.",
    look_for: "A rate near the number of workers: the sidecar is the bottleneck.",
};

pub(crate) static PROCESS_RESIDENT: Family = Family {
    name: "process_resident_memory_bytes",
    kind: Kind::Gauge,
    labels: &[],
    help: "Resident memory in bytes.",
    look_for: "Growth while `entrapool_clients` is steady.",
};

pub(crate) static PROCESS_VIRTUAL: Family = Family {
    name: "process_virtual_memory_bytes",
    kind: Kind::Gauge,
    labels: &[],
    help: "Virtual memory in bytes.",
    look_for: "Nothing by itself; address space is not memory.",
};

pub(crate) static PROCESS_THREADS: Family = Family {
    name: "process_threads",
    kind: Kind::Gauge,
    labels: &[],
    help: "Threads of the process.",
    look_for: "`--workers` and a few more.",
};

pub(crate) static PROCESS_OPEN_FDS: Family = Family {
    name: "process_open_fds",
    kind: Kind::Gauge,
    labels: &[],
    help: "Open file descriptors.",
    look_for: "`process_open_fds / process_max_fds > 0.8`: clients will soon be turned away.",
};

pub(crate) static PROCESS_MAX_FDS: Family = Family {
    name: "process_max_fds",
    kind: Kind::Gauge,
    labels: &[],
    help: "Most file descriptors that the process may have.",
    look_for: "It must exceed `max_clients` and `pool_size` together.",
};

pub(crate) static PROCESS_START_TIME: Family = Family {
    name: "process_start_time_seconds",
    kind: Kind::Gauge,
    labels: &[],
    help: "When the process started, in seconds since 1970, by the kernel's clock.",
    look_for: "The same as `entrapool_start_time_seconds`, for dashboards that expect it.",
};
