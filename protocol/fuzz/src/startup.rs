//! Any first bytes of a client, and the settings that it asks for.
//!
//! Once enough has come to know, more does not change the answer; and whatever a setting's name
//! and value are, the SQL made of them holds nothing of theirs outside its quotes.

use entrapool_protocol::postgres::settings::Settings;
use entrapool_protocol::postgres::startup::{FirstPacket, MAX_LENGTH};

/// Checks the first packet at every length, and its settings.
pub fn check(data: &[u8]) {
    let data = &data[..data.len().min(2 * MAX_LENGTH)];
    let whole = FirstPacket::read(data);
    // Every length near the ends, some in between: a packet is short, or read in few steps.
    let some = (0..data.len()).filter(|&at| at < 64 || at % 97 == 0 || at + 16 > data.len());
    for length in some {
        match FirstPacket::read(&data[..length]) {
            Ok(None) => assert!(length < MAX_LENGTH, "waits beyond the longest packet"),
            known => assert_eq!(known, whole, "of {length} bytes"),
        }
    }
    let Ok(Some((packet, length))) = whole else {
        return;
    };
    assert!(length <= data.len());
    let FirstPacket::Startup(startup) = packet else {
        return;
    };
    assert!(!startup.user.is_empty());
    let mut settings = Settings::default();
    for (name, value) in &startup.settings {
        settings.set(name, value);
        assert_eq!(settings.get(name), Some(value.as_str()));
    }
    assert_eq!(settings.change_from(&settings.clone()), None);
    let none = Settings::default();
    for sql in [settings.change_from(&none), none.change_from(&settings)] {
        let sql = sql.unwrap_or_default();
        let bare = outside_quotes(&sql);
        let rest = bare
            .replace("pg_catalog.set_config(E,E,false)", "")
            .replace("SELECT ", "")
            .replace("RESET ", "");
        assert!(
            rest.chars().all(|c| matches!(c, ',' | '.' | ';')),
            "{rest:?} stands outside the quotes of {sql:?}"
        );
    }
}

/// The SQL without its `E'...'` strings and `"..."` identifiers, read as PostgreSQL reads them.
fn outside_quotes(sql: &str) -> String {
    let mut bare = String::new();
    let mut characters = sql.chars();
    while let Some(first) = characters.next() {
        if first != '\'' && first != '"' {
            bare.push(first);
            continue;
        }
        // A doubled quote ends one string and begins the next: the same to us.
        loop {
            match characters.next() {
                Some('\\') if first == '\'' => {
                    characters.next();
                }
                Some(quote) if quote == first => break,
                Some(_) => {}
                None => panic!("an open quote in {sql:?}"),
            }
        }
    }
    bare
}
