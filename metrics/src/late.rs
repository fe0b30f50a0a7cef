//! A gauge that is absent until it is first set, so that "not known" is never read as 0.

use std::time::SystemTime;

use prometheus::GaugeVec;

/// One series of a family; not exposed before the first [`LateGauge::set`].
#[derive(Debug)]
pub(crate) struct LateGauge {
    family: GaugeVec,
    labels: Vec<String>,
}

impl LateGauge {
    pub(crate) fn new(family: &GaugeVec, labels: &[&str]) -> Self {
        Self {
            family: family.clone(),
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
        }
    }

    /// Takes a lock, and allocates the first time.
    pub(crate) fn set(&self, value: f64) {
        self.family.with_label_values(&self.labels).set(value);
    }

    /// From now on it is absent again.
    pub(crate) fn unset(&self) {
        // It may never have been set.
        let _ = self.family.remove_label_values(&self.labels);
    }
}

/// Seconds since 1970, as Prometheus wants timestamps; 0 for a time before that.
pub(crate) fn unix_seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
