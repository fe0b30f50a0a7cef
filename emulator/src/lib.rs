//! A local Azure for the demo and the tests: identities, tokens, and databases that check them.
//!
//! An independent second implementation of what the proxy talks to: it shares no code with the
//! proxy and is never part of the product. Everything listens on 127.0.0.1, on free ports, and
//! stops when its handle is dropped.
//!
//! - [`issuer`], [`verifier`], [`directory`]: the tenant; tokens made and checked.
//! - [`imds`], [`app_service`], [`entra`], [`kubernetes`]: the places that tokens come from.
//! - [`postgres`] with [`ldap`]: a real PostgreSQL whose logins are tokens; [`embedded`]: the
//!   stand-in for machines without one; [`client`]: a direct connection to either.
//! - [`tds`]: the stand-in for Azure SQL Database.
//! - [`dns`], [`filtered`]: a name server, and a port that answers nobody.
//! - [`azure`]: all of it together.

pub mod app_service;
pub mod azure;
pub mod client;
mod clock;
pub mod directory;
pub mod dns;
pub mod embedded;
pub mod entra;
mod error;
pub mod faults;
pub mod filtered;
mod http;
pub mod imds;
pub mod issuer;
pub mod jwt;
pub mod kubernetes;
pub mod ldap;
mod login_record;
pub mod managed_identity;
pub mod pki;
mod port;
pub mod postgres;
pub mod probe;
mod rate_limit;
pub mod tds;
mod token_body;
pub mod verifier;

pub use azure::{DatabaseServer, LocalAzure, LocalAzureBuilder, ServerChoice};
pub use error::Error;
pub use login_record::LoginRecord;
