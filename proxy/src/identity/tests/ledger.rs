//! Metrics that remember what they were told.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use crate::identity::{RefreshResult, Subject, TokenMetrics, TokenMetricsFactory};

/// All that was recorded, in order.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) results: Mutex<Vec<RefreshResult>>,
    pub(super) statuses: Mutex<Vec<Option<u16>>>,
    pub(super) terms: Mutex<Vec<(SystemTime, Duration)>>,
    pub(super) subjects: Mutex<Vec<Subject>>,
}

impl Ledger {
    pub(super) fn results(&self) -> Vec<RefreshResult> {
        self.results.lock().unwrap().clone()
    }

    pub(super) fn statuses(&self) -> Vec<Option<u16>> {
        self.statuses.lock().unwrap().clone()
    }
}

/// The shared ledger as metrics, and as their factory.
#[derive(Clone, Default)]
pub(super) struct SharedLedger(pub(super) Arc<Ledger>);

impl TokenMetrics for SharedLedger {
    fn refreshed(&self, result: RefreshResult, _: Duration, _: SystemTime) {
        self.0.results.lock().unwrap().push(result);
    }

    fn token(&self, expires_at: SystemTime, lifetime: Duration) {
        self.0.terms.lock().unwrap().push((expires_at, lifetime));
    }

    fn http_response(&self, status: Option<u16>, _: Duration) {
        self.0.statuses.lock().unwrap().push(status);
    }
}

impl TokenMetricsFactory for SharedLedger {
    fn token_metrics(&self, subject: &Subject) -> Arc<dyn TokenMetrics> {
        self.0.subjects.lock().unwrap().push(subject.clone());
        Arc::new(self.clone())
    }
}
