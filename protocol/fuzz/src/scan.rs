//! Any text of a statement.
//!
//! It is read to its end. What it is suspected of does not depend on its case, nor on what
//! stands in front of it as a statement of its own.

use entrapool_protocol::postgres::scan::{Findings, Verb, named, scan};

/// Longest text.
const LONGEST: usize = 4_000;

/// Scans the text as it is, and in other forms.
pub fn check(data: &[u8]) {
    let data = &data[..data.len().min(LONGEST)];
    let mut scratch = Vec::new();
    let found = scan(data, &mut scratch);
    if let Some(gone) = named(data) {
        assert!(gone.at.start < gone.at.end && gone.at.end <= data.len());
        let runs = gone.verb == Verb::Execute;
        assert!(runs || !found.effects.is_empty(), "it leaves nothing");
    }
    // The tags of dollar quotes differ by case.
    if !data.contains(&b'$') {
        let upper = scan(&data.to_ascii_uppercase(), &mut scratch);
        assert_eq!(found, upper);
    }
    let behind = scan(&[b"select 1;", data].concat(), &mut scratch);
    // It is not alone there.
    let found = Findings {
        is_lone_set: false,
        ..found
    };
    assert_eq!(found, behind);
}
