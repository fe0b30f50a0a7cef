//! The series of a route.

use prometheus::{
    GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Registry,
};

use crate::catalogue;
use crate::guard::{Clients, Connections, Pins, Waiting};
use crate::label::{CancelResult, Closed, Label, LoginFailure, ProbeResult, Protocol};
use crate::late::LateGauge;
use crate::series::{Bytes, ConnectPhases, Counters, SessionsEnded};

/// The families with a `route` label.
#[derive(Debug)]
pub(crate) struct RouteFamilies {
    query_duration: HistogramVec,
    transaction_duration: HistogramVec,
    pool_wait: HistogramVec,
    connect: HistogramVec,
    connections: IntGaugeVec,
    pool_size: GaugeVec,
    clients: IntGaugeVec,
    clients_waiting: IntGaugeVec,
    clients_total: IntCounterVec,
    max_clients: GaugeVec,
    bytes: IntCounterVec,
    login_failures: IntCounterVec,
    connections_closed: IntCounterVec,
    sessions_ended: IntCounterVec,
    cancels: IntCounterVec,
    handovers: IntCounterVec,
    sessions_pinned: IntGaugeVec,
    pins: IntCounterVec,
    probes: IntCounterVec,
    settings_carried: IntCounterVec,
    sessions_listening: IntGaugeVec,
    notifications: IntCounterVec,
}

impl RouteFamilies {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            query_duration: catalogue::QUERY_DURATION.histograms(registry),
            transaction_duration: catalogue::TRANSACTION_DURATION.histograms(registry),
            pool_wait: catalogue::POOL_WAIT.histograms(registry),
            connect: catalogue::UPSTREAM_CONNECT.histograms(registry),
            connections: catalogue::POOL_CONNECTIONS.int_gauges(registry),
            pool_size: catalogue::POOL_SIZE.gauges(registry),
            clients: catalogue::CLIENTS.int_gauges(registry),
            clients_waiting: catalogue::CLIENTS_WAITING.int_gauges(registry),
            clients_total: catalogue::CLIENTS_TOTAL.counters(registry),
            max_clients: catalogue::MAX_CLIENTS.gauges(registry),
            bytes: catalogue::BYTES.counters(registry),
            login_failures: catalogue::LOGIN_FAILURES.counters(registry),
            connections_closed: catalogue::UPSTREAM_CLOSED.counters(registry),
            sessions_ended: catalogue::SESSIONS_ENDED.counters(registry),
            cancels: catalogue::CANCEL_REQUESTS.counters(registry),
            handovers: catalogue::HANDOVERS.counters(registry),
            sessions_pinned: catalogue::SESSIONS_PINNED.int_gauges(registry),
            pins: catalogue::PINS.counters(registry),
            probes: catalogue::PROBES.counters(registry),
            settings_carried: catalogue::SETTINGS_CARRIED.counters(registry),
            sessions_listening: catalogue::SESSIONS_LISTENING.int_gauges(registry),
            notifications: catalogue::NOTIFICATIONS.counters(registry),
        }
    }
}

/// What is recorded for one route. Histograms take seconds.
#[derive(Debug)]
pub struct RouteMetrics {
    /// From the client's bytes to the last byte of the answer, once per request that owes a
    /// ready-for-query (TDS: a final DONE).
    pub query_duration: Histogram,
    /// From the first request of a transaction to the answer that ended it.
    pub transaction_duration: Histogram,
    /// Once per lease; 0 when a backend was there at once.
    pub pool_wait: Histogram,
    /// Opening upstream connections, by phase.
    pub connect: ConnectPhases,
    /// Upstream connections, by state.
    pub connections: Connections,
    /// Clients.
    pub clients: Clients,
    /// Clients that wait for a backend.
    pub clients_waiting: Waiting,
    /// Bytes, by direction.
    pub bytes: Bytes,
    /// Failed upstream logins, by class.
    pub login_failures: Counters<LoginFailure>,
    /// Closed upstream connections that had logged in, by reason.
    pub connections_closed: Counters<Closed>,
    /// Ended client sessions, by cause.
    pub sessions_ended: SessionsEnded,
    /// Cancel requests, by result.
    pub cancels: Counters<CancelResult>,
    /// Leases of a backend whose last borrower was another client.
    pub handovers: IntCounter,
    /// Sessions that keep their backend, by reason.
    pub pins: Pins,
    /// Questions what a session has left, by what came of them.
    pub probes: Counters<ProbeResult>,
    /// Times that a backend was given its next client's settings.
    pub settings_carried: IntCounter,
    /// Sessions for which another connection listens.
    pub sessions_listening: Waiting,
    /// Notifications that it got for them.
    pub notifications: IntCounter,
    pool_size: LateGauge,
    max_clients: LateGauge,
}

impl RouteMetrics {
    pub(crate) fn new(families: &RouteFamilies, protocol: Protocol, route: &str) -> Self {
        let own = [protocol.value(), route];
        let and = |last: &'static str| [own[0], own[1], last];
        Self {
            query_duration: families.query_duration.with_label_values(&own),
            transaction_duration: families.transaction_duration.with_label_values(&own),
            pool_wait: families.pool_wait.with_label_values(&own),
            connect: ConnectPhases::new(|l| families.connect.with_label_values(&and(l.value()))),
            connections: Connections::new(|l| {
                families.connections.with_label_values(&and(l.value()))
            }),
            clients: Clients::new(
                families.clients.with_label_values(&own),
                families.clients_total.with_label_values(&own),
            ),
            clients_waiting: Waiting::new(families.clients_waiting.with_label_values(&own)),
            bytes: per_value(&families.bytes, and),
            login_failures: per_value(&families.login_failures, and),
            connections_closed: per_value(&families.connections_closed, and),
            sessions_ended: SessionsEnded::new(|cause| {
                let [protocol, route, blame] = and(cause.blame().value());
                let labels = [protocol, route, blame, cause.value()];
                families.sessions_ended.with_label_values(&labels)
            }),
            cancels: per_value(&families.cancels, and),
            handovers: families.handovers.with_label_values(&own),
            pins: Pins::new(
                |l| families.sessions_pinned.with_label_values(&and(l.value())),
                |l| families.pins.with_label_values(&and(l.value())),
            ),
            probes: per_value(&families.probes, and),
            settings_carried: families.settings_carried.with_label_values(&own),
            sessions_listening: Waiting::new(families.sessions_listening.with_label_values(&own)),
            notifications: families.notifications.with_label_values(&own),
            pool_size: LateGauge::new(&families.pool_size, &own),
            max_clients: LateGauge::new(&families.max_clients, &own),
        }
    }

    /// The limits in force, so that a dashboard can show use against them. Absent until told.
    pub fn limits(&self, pool_size: usize, max_clients: usize) {
        self.pool_size.set(pool_size as f64);
        self.max_clients.set(max_clients as f64);
    }

    /// The route is not served any more: it has no limits.
    pub fn forget_limits(&self) {
        self.pool_size.unset();
        self.max_clients.unset();
    }
}

fn per_value<'a, L: Label>(
    family: &IntCounterVec,
    labels: impl Fn(&'static str) -> [&'a str; 3],
) -> Counters<L> {
    Counters::new(|label: L| family.with_label_values(&labels(label.value())))
}
