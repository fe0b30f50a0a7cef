//! Tests of the whole: the refresh task on scripted sources, and real sources on stand-ins.

pub(super) mod script;
