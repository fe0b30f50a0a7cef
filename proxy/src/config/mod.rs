//! Configuration: flags, environment and TOML become validated types.
//!
//! This is the only place that reads our environment variables and the configuration file.
//! Nothing in here connects anywhere. Every value that reaches the rest of the program is
//! already known to be in range; a bad one is reported with the place it came from, and all
//! bad ones are reported together.
//!
//! `main` calls [`cli`] for the arguments, [`load`] for the result and [`render`] to show it.
//! One table of keys (`keys`) drives parsing, the detection of unknown keys, `--help` and
//! `docs/configuration.md`.

pub mod cli;

mod azure_host;
mod ctl;
mod dialect;
mod diff;
mod endpoint;
mod environment;
mod error;
mod file;
mod identity;
mod key;
mod keys;
mod load;
mod model;
mod reference;
mod render;
mod route;
mod route_url;
mod settings;
mod shape;
mod span;
mod supervisor;
mod users;
mod variables;

#[cfg(test)]
pub(crate) mod tests;

pub use azure_host::is_azure_server;
pub use cli::CliOptions;
pub use ctl::{CtlCommand, CtlOptions, CtlOutput, control_address};
pub use diff::{Applies, Change, Kind, diff};
pub use environment::{Environment, MapEnvironment, ProcessEnvironment, wants_colours};
pub use error::{ConfigError, ConfigErrors, Place};
pub use load::{Loaded, load};
pub use model::{
    Admission, CertificateFiles, ClientSecret, ClientTls, Cloud, Config, ConsoleAccess, Control,
    Dialect, Drain, Engine, HostPort, IdentitySpec, IoUring, Listen, Log, LogFormat,
    OnStartFailure, PinOnExec, PoolLimits, PoolMode, PostgresOptions, Route, Selector, Source,
    Start, TdsOptions, TlsMode, Upstream, Workload,
};
pub use reference::reference_markdown;
pub use render::render;
pub use route_url::RouteUrl;
pub use shape::log_filter;
pub use supervisor::{NotifySocket, Supervisor};
