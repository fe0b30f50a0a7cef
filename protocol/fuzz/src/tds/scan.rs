//! Any text as T-SQL.
//!
//! What is recognised as settings comes to the same when it is repeated.

use entrapool_protocol::tds::scan::{scan, unprepared};
use entrapool_protocol::tds::settings::{Plan, Settings, recognise};

/// Scans the data as a text, and what it repeats.
pub fn check(data: &[u8]) {
    let mut scratch = Vec::new();
    let wide: Vec<u8> = data.iter().flat_map(|&byte| [byte, 0]).collect();
    for text in [data, &wide] {
        let findings = scan(text, &mut scratch);
        assert_eq!(findings, scan(text, &mut scratch));
        let _ = unprepared(text, &mut scratch);
        let Some(changes) = recognise(text, &mut scratch) else {
            continue;
        };
        let mut settings = Settings::default();
        if !settings.apply(&changes) {
            continue;
        }
        let Plan::Batch(batch) = settings.change_from(&Settings::default()) else {
            panic!("settings that are none: {changes:?}");
        };
        let repeated: Vec<u8> = batch.encode_utf16().flat_map(u16::to_le_bytes).collect();
        // Replacement characters make a text no longer than it was, but keywords are added.
        if let Some(again) = recognise(&repeated, &mut scratch) {
            let mut repeated = Settings::default();
            assert!(repeated.apply(&again));
            assert_eq!(repeated, settings);
        } else {
            assert!(repeated.len() > 8 * 1024, "{batch:?}");
        }
    }
}
