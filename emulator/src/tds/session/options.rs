//! SET options: what they are at login, and what `sys.dm_exec_sessions` shows of them.

use std::collections::{BTreeMap, BTreeSet};

use super::LoginFacts;
use super::language::Language;
use crate::tds::wire::transaction::Isolation;

/// Options that are on or off. Those with a column in `sys.dm_exec_sessions` come first.
pub(super) const SWITCHES: [&str; 30] = [
    "quoted_identifier",
    "arithabort",
    "ansi_null_dflt_on",
    "ansi_defaults",
    "ansi_warnings",
    "ansi_padding",
    "ansi_nulls",
    "concat_null_yields_null",
    "ansi_null_dflt_off",
    "arithignore",
    "cursor_close_on_commit",
    "fips_flagger",
    "fmtonly",
    "forceplan",
    "implicit_transactions",
    "noexec",
    "nocount",
    "numeric_roundabort",
    "parseonly",
    "remote_proc_transactions",
    "showplan_all",
    "showplan_text",
    "showplan_xml",
    "statistics io",
    "statistics profile",
    "statistics time",
    "statistics xml",
    "xact_abort",
    "offsets",
    "result_set_caching",
];
const SHOWN: usize = 8;
/// On for ODBC and OLE DB clients (MS-TDS 2.2.6.4, fODBC).
const ANSI: [&str; 7] = [
    "quoted_identifier",
    "ansi_null_dflt_on",
    "ansi_defaults",
    "ansi_warnings",
    "ansi_padding",
    "ansi_nulls",
    "concat_null_yields_null",
];

/// All of them. Procedures and dynamic SQL put back what they found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    on: BTreeSet<&'static str>,
    pub(super) language: Language,
    pub(super) date_first: u8,
    pub(super) date_format: String,
    /// Milliseconds; -1 waits for ever.
    pub(super) lock_timeout: i64,
    pub(super) text_size: i64,
    /// 0 for no limit.
    pub(super) row_count: u64,
    pub(super) deadlock_priority: i64,
    pub(super) isolation: Isolation,
    /// IDENTITY_INSERT: the table, as the store names it.
    pub(super) identity_insert: Option<String>,
}

impl Options {
    pub(super) fn at_login(facts: &LoginFacts) -> Self {
        let on = if facts.is_odbc {
            ANSI.into_iter().collect()
        } else {
            BTreeSet::new()
        };
        Self {
            on,
            language: facts.language,
            date_first: facts.language.date_first,
            date_format: facts.language.date_format.to_owned(),
            lock_timeout: -1,
            text_size: if facts.is_odbc { i32::MAX.into() } else { 4096 },
            row_count: 0,
            deadlock_priority: 0,
            isolation: Isolation::ReadCommitted,
            identity_insert: None,
        }
    }

    pub(super) fn is_on(&self, name: &str) -> bool {
        self.on.contains(name)
    }

    /// False: there is no such option.
    pub(super) fn switch(&mut self, name: &str, on: bool) -> bool {
        let Some(known) = SWITCHES.iter().find(|known| **known == name) else {
            return false;
        };
        let all: &[&'static str] = if *known == "ansi_defaults" {
            &ANSI
        } else {
            &[known]
        };
        for option in all {
            if on {
                self.on.insert(option);
            } else {
                self.on.remove(option);
            }
        }
        true
    }

    pub(super) fn set_language(&mut self, language: Language) {
        self.language = language;
        self.date_first = language.date_first;
        language.date_format.clone_into(&mut self.date_format);
    }

    /// Whether statements are only looked at.
    pub(super) fn is_dry(&self) -> bool {
        self.is_on("noexec") || self.is_on("parseonly")
    }

    /// By the column names of `sys.dm_exec_sessions`.
    pub(super) fn shown(&self) -> BTreeMap<&'static str, String> {
        let mut shown: BTreeMap<&'static str, String> = SWITCHES
            .iter()
            .take(SHOWN)
            .map(|name| (*name, u8::from(self.is_on(name)).to_string()))
            .collect();
        shown.insert("language", self.language.name.to_owned());
        shown.insert("date_first", self.date_first.to_string());
        shown.insert("date_format", self.date_format.clone());
        shown.insert("lock_timeout", self.lock_timeout.to_string());
        shown.insert("text_size", self.text_size.to_string());
        shown.insert("row_count", self.row_count.to_string());
        shown.insert("deadlock_priority", self.deadlock_priority.to_string());
        let level = self.isolation as u8;
        shown.insert("transaction_isolation_level", level.to_string());
        shown
    }

    /// The switches as bytes, for SESSIONSTATE.
    pub(super) fn bits(&self) -> Vec<u8> {
        let bits = SWITCHES.iter().enumerate().fold(0_u32, |bits, (at, name)| {
            bits | u32::from(self.is_on(name)) << at
        });
        bits.to_le_bytes().to_vec()
    }
}
