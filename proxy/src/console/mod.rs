//! The console: PgBouncer's commands on a database that no server has.
//!
//! `postgres::accept` hands over clients that name one of [`DATABASES`]; `app` gives the console
//! its eyes ([`status::Source`]) and its hands ([`House`], [`Lever`]). It takes no backend and asks
//! no server, so that it answers when nothing else does.

mod act;
mod history;
mod report;
mod rights;
mod show;
mod visit;

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use entrapool_metrics::RouteMetrics;
use tokio::sync::Semaphore;

use crate::config;
use crate::control::{Refusal, Reloaded};
use crate::pool::{Standing, Turn};
use crate::status;
use history::History;
pub use visit::Visitor;

/// The names under which clients ask for it, unless their route serves such a database.
pub const DATABASES: [&str; 2] = ["entrapool", "pgbouncer"];

/// Most of its clients at once; they do not count towards `max_clients`, so that an operator gets
/// in when nobody else does.
const MOST_VISITORS: usize = 32;

/// How often it looks whether what a command waits for has come.
const LOOK: Duration = Duration::from_millis(20);

/// A route in an operator's hands.
pub trait Lever: Send + Sync {
    /// What is configured.
    fn config(&self) -> &config::Route;
    /// What is counted.
    fn metrics(&self) -> &RouteMetrics;
    /// Holds clients back, or replaces backends; whether that changed anything.
    fn turn(&self, turn: Turn) -> bool;
    /// What came of it so far.
    fn standing(&self) -> Standing;
}

/// The program in an operator's hands.
pub trait House: Send + Sync {
    /// All routes, in the order of the configuration.
    fn levers(&self) -> Vec<Arc<dyn Lever>>;
    /// Ends sessions, whatever they do; how many there were.
    fn kill(&self, which: Victims<'_>) -> usize;
    /// Stops the program as a signal does. Returns at once.
    fn shut_down(&self);
    /// Reads the configuration again.
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<Reloaded, Refusal>> + Send + '_>>;
}

/// Whose sessions end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victims<'a> {
    /// The one with this number.
    Client(u64),
    /// All of the route of this name.
    Route(&'a str),
}

/// The console of a process.
pub struct Console {
    source: Arc<dyn status::Source>,
    house: Arc<dyn House>,
    /// Who may use it, besides our own user and root.
    group: Option<String>,
    history: Mutex<History>,
    visitors: Arc<Semaphore>,
}

impl Console {
    /// A console that sees `source` and moves `house`.
    #[must_use]
    pub fn new(
        source: Arc<dyn status::Source>,
        house: Arc<dyn House>,
        group: Option<String>,
    ) -> Self {
        Self {
            source,
            house,
            group,
            history: Mutex::default(),
            visitors: Arc::new(Semaphore::new(MOST_VISITORS)),
        }
    }
}
