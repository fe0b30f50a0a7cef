//! Passes one kind of exchange through a tracker so often as is said, and does nothing else: what
//! `cargo xtask instructions` runs under valgrind. Without arguments it lists the kinds.

use std::process::ExitCode;

use entrapool_benches::conversation::{Exchange, hundred_rows, prepared_batch, simple_query};
use entrapool_benches::{pair, postgres, tds};

/// What passes.
const KINDS: [&str; 7] = [
    "postgres-simple",
    "postgres-prepared",
    "postgres-100-rows",
    "tds-batch",
    "tds-executesql",
    "tds-execute",
    "tds-100-rows",
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(kind), Some(times)) = (arguments.next(), arguments.next()) else {
        for kind in KINDS {
            println!("{kind}");
        }
        return ExitCode::SUCCESS;
    };
    match times.parse() {
        Ok(times) if pass(&kind, times) => ExitCode::SUCCESS,
        _ => {
            eprintln!("exchanges KIND TIMES; there is no {kind} or {times}");
            ExitCode::FAILURE
        }
    }
}

fn pass(kind: &str, times: u32) -> bool {
    match kind {
        "postgres-simple" => of_postgres(&simple_query(), times),
        "postgres-prepared" => of_postgres(&prepared_batch(), times),
        "postgres-100-rows" => of_postgres(&hundred_rows(), times),
        "tds-batch" => of_tds(|_| tds::simple_batch(), times),
        "tds-executesql" => of_tds(|_| tds::sql_call(), times),
        "tds-execute" => of_tds(tds::prepared_call, times),
        "tds-100-rows" => of_tds(|_| tds::hundred_rows(), times),
        _ => return false,
    }
    true
}

fn of_postgres(exchange: &Exchange, times: u32) {
    let mut pair = postgres::Pair::prepared();
    for _ in 0..times {
        pair.run(exchange);
    }
}

fn of_tds(exchange: impl FnOnce(i32) -> Exchange, times: u32) {
    let mut pair = pair::Pair::default();
    let handle = pair.prepare();
    let mut exchange = exchange(handle);
    for _ in 0..times {
        pair.run(&mut exchange);
    }
}
