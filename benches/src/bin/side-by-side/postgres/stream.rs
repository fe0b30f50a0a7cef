//! Large amounts one way or the other: CPU time of the pooler per million bytes.

use std::time::{Duration, Instant};

use super::client::Client;
use super::poolers::Running;
use super::scene::Scene;
use crate::process::cpu_seconds;
use crate::table::{Reading, Unit};

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// Rows of a SELECT.
    Result,
    /// COPY TO STDOUT.
    CopyOut,
    /// COPY FROM STDIN, of which the server keeps nothing.
    CopyIn,
}

const RESULT: &str = "SELECT repeat('x', 100) FROM generate_series(1, 100000)";
const COPY_OUT: &str = "COPY (SELECT repeat('x', 100) FROM generate_series(1, 100000)) TO STDOUT";
const COPY_IN: &str = "COPY bench_in FROM STDIN WHERE false";
/// A CopyData of the size that libpq sends: 80 rows.
const ROWS: usize = 80;

/// One turn.
pub(super) async fn run(
    direction: Direction,
    running: &Running,
    scene: &Scene,
    seconds: u32,
) -> anyhow::Result<Reading> {
    let address = running.pooler.address;
    let mut client = Client::connect(address, running.user, scene.database()).await?;
    let line = [&[b'x'; 100][..], b"\n"].concat();
    let data = line.repeat(ROWS);
    let began = Instant::now();
    let before = cpu_seconds(running.pooler.pid)?;
    let mut bytes = 0;
    while began.elapsed() < Duration::from_secs(seconds.into()) {
        bytes += match direction {
            Direction::Result => client.query(RESULT).await?,
            Direction::CopyOut => client.query(COPY_OUT).await?,
            Direction::CopyIn => client.copy_in(COPY_IN, &data, 1_250).await?,
        };
    }
    let elapsed = began.elapsed().as_secs_f64();
    let microseconds = (cpu_seconds(running.pooler.pid)? - before) * 1e6;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let megabytes = bytes as f64 / 1e6;
    Ok(Reading::new(
        Unit::Megabyte,
        microseconds / megabytes,
        megabytes / elapsed,
    ))
}
