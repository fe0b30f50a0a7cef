//! Joins the refresh tasks to the metrics.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use entrapool_metrics as metrics;

use crate::identity::{RefreshResult, Subject, TokenMetrics, TokenMetricsFactory};

/// Gives each identity its series.
pub(super) struct TokenObserver(pub(super) Arc<metrics::Metrics>);

struct Series(Arc<metrics::TokenMetrics>);

impl TokenMetricsFactory for TokenObserver {
    fn token_metrics(&self, subject: &Subject) -> Arc<dyn TokenMetrics> {
        let Subject {
            identity,
            source,
            audience,
        } = subject;
        Arc::new(Series(self.0.token(identity, source, audience)))
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        self.0.forget();
    }
}

impl TokenMetrics for Series {
    fn refreshed(&self, result: RefreshResult, took: Duration, now: SystemTime) {
        let result = match result {
            RefreshResult::Renewed => metrics::RefreshResult::Ok,
            RefreshResult::Same => metrics::RefreshResult::Same,
            RefreshResult::Failed => metrics::RefreshResult::Failed,
        };
        self.0.refreshed(result, took, now);
    }

    fn token(&self, expires_at: SystemTime, lifetime: Duration) {
        self.0.token(expires_at, lifetime);
    }

    fn http_response(&self, status: Option<u16>, _took: Duration) {
        self.0.http_response(status);
    }
}
