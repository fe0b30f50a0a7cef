//! SQL Server's tabular data stream: clients are accepted, backends are logged in, and sessions
//! bring them together.
//!
//! The files are those of `postgres`, and play the same roles. `door` is what clients are shown in
//! TLS. What the bytes mean is in `entrapool_protocol::tds`.

mod accept;
mod adapt;
mod backend;
mod connect;
mod door;
mod greeting;
mod recover;
mod report;
mod route;
mod session;
mod trial;

pub use accept::serve;
pub(crate) use recover::Unfit;
#[cfg(test)]
pub(crate) use report::tests as told;
pub(crate) use report::{Failed, hint};
pub use route::{Route, RouteError};
pub(crate) use trial::{Secured, Session, Trial};
