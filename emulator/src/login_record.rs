//! What the database servers of this emulator saw of logins, for tests and the demo to read.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::issuer::Claims;
use crate::verifier::TokenRefusal;

/// Logins by token, accepted and refused. Holds token ids, never tokens.
#[derive(Debug, Default)]
pub struct LoginRecord {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    accepted: u64,
    ids: HashSet<String>,
    refused: BTreeMap<TokenRefusal, u64>,
}

impl LoginRecord {
    pub(crate) fn note(&self, outcome: &Result<Claims, TokenRefusal>) {
        let mut seen = self.seen();
        match outcome {
            Ok(claims) => {
                seen.accepted += 1;
                seen.ids.insert(claims.uti.clone());
            }
            Err(refusal) => *seen.refused.entry(*refusal).or_default() += 1,
        }
    }

    /// Logins accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.seen().accepted
    }

    /// Different tokens among the accepted logins.
    #[must_use]
    pub fn distinct_tokens(&self) -> usize {
        self.seen().ids.len()
    }

    /// Logins refused for one reason.
    #[must_use]
    pub fn refused(&self, reason: TokenRefusal) -> u64 {
        self.seen().refused.get(&reason).copied().unwrap_or(0)
    }

    /// Logins refused for any reason.
    #[must_use]
    pub fn refused_in_all(&self) -> u64 {
        self.seen().refused.values().sum()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
