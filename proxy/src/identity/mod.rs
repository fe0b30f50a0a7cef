//! Identity: who we are upstream, and the token that proves it.
//!
//! One refresh task per (identity, audience) owns all talking to the token source. Connection
//! set-up only reads the newest value through a [`TokenHandle`]; it never fetches.
