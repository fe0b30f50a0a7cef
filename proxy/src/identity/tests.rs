//! Tests of the whole: the refresh task on scripted sources, and real sources on stand-ins.

mod environment;
mod ledger;
mod refresh;
pub(super) mod script;
mod sources;
mod stand_in;
