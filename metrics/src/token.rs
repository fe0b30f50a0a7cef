//! The series of a refresh task: one identity, one source, one audience.
//!
//! Nothing here is on the query path.

use std::time::{Duration, SystemTime};

use prometheus::{GaugeVec, Histogram, HistogramVec, IntCounterVec, Registry};

use crate::catalogue;
use crate::label::{HttpStatus, Label, RefreshResult};
use crate::late::{LateGauge, unix_seconds};
use crate::series::Counters;

/// The families with an `identity` label.
#[derive(Debug)]
pub(crate) struct TokenFamilies {
    expiry: GaugeVec,
    lifetime: GaugeVec,
    refreshes: IntCounterVec,
    refresh_duration: HistogramVec,
    last_success: GaugeVec,
    http_responses: IntCounterVec,
}

impl TokenFamilies {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            expiry: catalogue::TOKEN_EXPIRY.gauges(registry),
            lifetime: catalogue::TOKEN_LIFETIME.gauges(registry),
            refreshes: catalogue::TOKEN_REFRESHES.counters(registry),
            refresh_duration: catalogue::TOKEN_REFRESH_DURATION.histograms(registry),
            last_success: catalogue::TOKEN_LAST_SUCCESS.gauges(registry),
            http_responses: catalogue::TOKEN_HTTP_RESPONSES.counters(registry),
        }
    }
}

/// What is recorded for one (identity, source, audience). A static password never calls
/// [`TokenMetrics::token`], so that its expiry is absent and no alert on it can fire.
#[derive(Debug)]
pub struct TokenMetrics {
    expiry: LateGauge,
    lifetime: LateGauge,
    last_success: LateGauge,
    refreshes: Counters<RefreshResult>,
    refresh_duration: Histogram,
    http_responses: Counters<HttpStatus>,
}

impl TokenMetrics {
    pub(crate) fn new(families: &TokenFamilies, own: [&str; 3]) -> Self {
        let and = |last: &'static str| [own[0], own[1], own[2], last];
        Self {
            expiry: LateGauge::new(&families.expiry, &own),
            lifetime: LateGauge::new(&families.lifetime, &own),
            last_success: LateGauge::new(&families.last_success, &own),
            refreshes: Counters::new(|label: RefreshResult| {
                families.refreshes.with_label_values(&and(label.value()))
            }),
            refresh_duration: families.refresh_duration.with_label_values(&own),
            http_responses: Counters::new(|label: HttpStatus| {
                families
                    .http_responses
                    .with_label_values(&and(label.value()))
            }),
        }
    }

    /// The token in use from now on: when it expires, and how long it was valid when it came.
    pub fn token(&self, expires_at: SystemTime, lifetime: Duration) {
        self.expiry.set(unix_seconds(expires_at));
        self.lifetime.set(lifetime.as_secs_f64());
    }

    /// A refresh ended at `now` after `took`, whatever it brought.
    pub fn refreshed(&self, result: RefreshResult, took: Duration, now: SystemTime) {
        self.refreshes.inc(result);
        self.refresh_duration.observe(took.as_secs_f64());
        match result {
            RefreshResult::Ok | RefreshResult::Same => self.last_success.set(unix_seconds(now)),
            RefreshResult::Failed => {}
        }
    }

    /// The refresh task has ended, and the token is nobody's any more: an alert on its expiry
    /// would be about nothing.
    pub fn forget(&self) {
        self.expiry.unset();
        self.lifetime.unset();
        self.last_success.unset();
    }

    /// An HTTP request to the source ended: with a status, or with no answer at all.
    pub fn http_response(&self, status: Option<u16>) {
        self.http_responses.inc(HttpStatus::from(status));
    }

    /// How many refreshes ended with `result`.
    pub fn refreshes(&self, result: RefreshResult) -> u64 {
        self.refreshes.get(result)
    }
}
