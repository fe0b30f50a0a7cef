//! Tests of the whole: the refresh task on scripted sources, and real sources on stand-ins.

mod environment;
mod ledger;
mod refresh;
pub(super) mod script;
mod sources;
mod stand_in;
mod told;

pub(crate) use told::{lacks, no_token, refusals, sources};
