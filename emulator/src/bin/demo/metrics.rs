//! What the demo reads from the proxy's metrics page.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use entrapool_emulator::probe::Probe;

const EXPIRY: &str = "entrapool_token_expiry_timestamp_seconds{";

/// A token in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// What it is for.
    pub(crate) audience: String,
    /// In epoch seconds.
    pub(crate) expires: u64,
}

/// The newest token for each audience, by audience.
pub(crate) async fn tokens(http: SocketAddr) -> anyhow::Result<Vec<Token>> {
    let reply = Probe::get(http, "/metrics")
        .send()
        .await
        .context("cannot read the metrics")?;
    ensure!(reply.status == 200, "/metrics answered {}", reply.status);
    Ok(read(&reply.body))
}

/// The expiry family in a Prometheus text page.
fn read(page: &str) -> Vec<Token> {
    let mut tokens: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix(EXPIRY))
        .filter_map(|rest| {
            let (labels, value) = rest.rsplit_once("} ")?;
            let (_, audience) = labels.split_once("audience=\"")?;
            Some(Token {
                audience: audience.split('"').next()?.to_owned(),
                expires: value.parse::<f64>().ok().map(seconds)?,
            })
        })
        // 0: no token yet.
        .filter(|token| token.expires > 0)
        .collect();
    tokens.sort_by(|one, other| one.audience.cmp(&other.audience));
    tokens
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
    fn the_expiries_are_read_from_the_page() {
        let page = "# HELP entrapool_token_expiry_timestamp_seconds x\n\
                    entrapool_token_expiry_timestamp_seconds{a=\"b c\",audience=\"y\"} 1700000000\n\
                    entrapool_token_expiry_timestamp_seconds{audience=\"x\",a=\"d\"} 1.7000001e9\n\
                    entrapool_token_expiry_timestamp_seconds{audience=\"z\"} 0\n\
                    entrapool_token_expiry_timestamp_seconds_other{audience=\"x\"} 9999999999\n";
        let tokens = read(page);
        let tokens: Vec<_> = tokens
            .iter()
            .map(|token| (token.audience.as_str(), token.expires))
            .collect();
        assert_eq!(tokens, [("x", 1_700_000_100), ("y", 1_700_000_000)]);
        assert_eq!(read(""), []);
    }
}
