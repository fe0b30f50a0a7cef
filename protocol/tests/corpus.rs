//! The kept corpus of every fuzz target, replayed without a fuzzer; `cargo xtask fuzz` goes on
//! from it.
#![allow(
    clippy::expect_used,
    unreachable_pub,
    missing_docs,
    reason = "the checks are shared with the fuzz targets, and fail by panicking"
)]

use std::fs;
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
mod checks;

/// Replays one directory; each input also with other flags and cuts, and cut short.
fn replay(target: &str, check: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut replayed = 0;
    for entry in fs::read_dir(&directory).expect("the kept corpus") {
        let path = entry.expect("an entry").path();
        let data = fs::read(&path).expect("an input");
        println!("{}", path.display());
        check(&data);
        vary(&data, check);
        replayed += 1;
    }
    assert!(replayed >= 5, "{}: {replayed} inputs", directory.display());
}

fn vary(data: &[u8], check: fn(&[u8])) {
    let Some((&[_, count], rest)) = data.split_first_chunk::<2>() else {
        return;
    };
    for flags in 0..16 {
        check(&[&[flags, count], rest].concat());
    }
    for part in 1..8 {
        check(&data[..data.len() * part / 8]);
    }
}

#[test]
fn startup() {
    replay("startup", checks::startup::check);
}

#[test]
fn front() {
    replay("front", checks::front::check);
}

#[test]
fn back() {
    replay("back", checks::back::check);
}

#[test]
fn console() {
    replay("console", checks::console::check);
}

#[test]
fn tds_legacy() {
    replay("tds_legacy", checks::legacy::check);
}

#[test]
fn scan() {
    replay("scan", checks::scan::check);
}

#[test]
fn login() {
    replay("login", checks::login::check);
}

#[test]
fn tds_opening() {
    replay("tds_opening", checks::tds::opening::check);
}

#[test]
fn tds_tokens() {
    replay("tds_tokens", checks::tds::tokens::check);
}

#[test]
fn tds_login() {
    replay("tds_login", checks::tds::login::check);
}

#[test]
fn tds_scan() {
    replay("tds_scan", checks::tds::scan::check);
}

#[test]
fn tds_tracker() {
    replay("tds_tracker", checks::tds::tracker::check);
}
