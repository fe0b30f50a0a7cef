//! The log: how it looks, and how much it says, which can be changed while the program runs.
//!
//! `main` starts it once; the control socket and a reload change its filter.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::reload;

use crate::config::{Log, LogFormat};

/// The Azure crates log each new credential, which here is each refresh, and failures that we
/// log ourselves in better words.
const QUIET: &str = "azure_identity=warn,azure_core=warn,typespec_client_core=warn";

/// How much is logged now.
pub struct LogLevel {
    now: Mutex<String>,
    apply: Apply,
}

type Apply = Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

/// Everything that is logged goes to stderr from now on.
#[must_use]
pub fn start(config: &Log) -> LogLevel {
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter(&config.level))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let apply: Apply = match config.format {
        LogFormat::Text => {
            let log = log.with_target(false).with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            Box::new(move |filter| handle.reload(filter))
        }
        LogFormat::Json => {
            let log = log.json().flatten_event(true).with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            Box::new(move |filter| handle.reload(filter))
        }
    };
    LogLevel {
        now: Mutex::new(config.level.clone()),
        apply,
    }
}

impl LogLevel {
    /// As it was configured, or changed to.
    #[must_use]
    pub fn get(&self) -> String {
        self.now
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Changes it to `level`, which [`log_filter`](crate::config::log_filter) has let pass; returns
    /// what it was.
    ///
    /// # Errors
    /// The log is gone.
    pub fn set(&self, level: &str) -> Result<String, reload::Error> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        (self.apply)(filter(level))?;
        Ok(std::mem::replace(&mut *now, level.to_owned()))
    }
}

fn filter(level: &str) -> EnvFilter {
    EnvFilter::builder().parse_lossy(format!("{QUIET},{level}"))
}
