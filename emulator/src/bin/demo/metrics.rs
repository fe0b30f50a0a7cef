//! What the demo reads from the proxy's metrics page.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use entrapool_emulator::probe::Probe;

const EXPIRY: &str = "entrapool_token_expiry_timestamp_seconds";

/// When the newest token expires, in epoch seconds.
pub(crate) async fn token_expiry(http: SocketAddr) -> anyhow::Result<u64> {
    let reply = Probe::get(http, "/metrics")
        .send()
        .await
        .context("cannot read the metrics")?;
    ensure!(reply.status == 200, "/metrics answered {}", reply.status);
    newest(&reply.body).with_context(|| format!("/metrics has no {EXPIRY}"))
}

/// The highest value of the expiry family in a Prometheus text page.
fn newest(page: &str) -> Option<u64> {
    page.lines()
        .filter_map(|line| line.strip_prefix(EXPIRY))
        .filter(|rest| rest.starts_with(['{', ' ']))
        .filter_map(|rest| rest.rsplit_once(' ')?.1.parse::<f64>().ok())
        // 0 or less: no token yet.
        .filter(|value| *value >= 1.0)
        .map(seconds)
        .max()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "epoch seconds are positive and small; `as` saturates"
)]
fn seconds(value: f64) -> u64 {
    value as u64
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_expiry_is_read_from_the_page() {
        let page = "# HELP entrapool_token_expiry_timestamp_seconds x\n\
                    entrapool_token_expiry_timestamp_seconds{a=\"b c\"} 1700000000\n\
                    entrapool_token_expiry_timestamp_seconds{a=\"d\"} 1.7000001e9\n\
                    entrapool_token_expiry_timestamp_seconds_other 9999999999\n";
        assert_eq!(newest(page), Some(1_700_000_100));
        assert_eq!(
            newest("entrapool_token_expiry_timestamp_seconds{} 0\n"),
            None
        );
        assert_eq!(newest(""), None);
    }
}
