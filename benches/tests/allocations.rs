//! Requests and answers pass the trackers without an allocation, once their buffers have grown.

use entrapool_benches::conversation::{self, Exchange};
use entrapool_benches::pair::Pair;
use entrapool_benches::postgres;
use entrapool_benches::tds::{hundred_rows, large_batch, prepared_call, simple_batch, sql_call};

/// How often each passes.
const TIMES: usize = 100;

/// Allocations of so many exchanges. `run` says how many bytes of one have passed.
fn count(exchange: &mut Exchange, mut run: impl FnMut(&mut Exchange) -> usize) -> u64 {
    // Buffers grow.
    let grown = run(exchange);
    let counted = allocation_counter::measure(|| {
        for _ in 0..TIMES {
            assert_eq!(run(exchange), grown);
        }
    });
    counted.count_total
}

#[test]
fn nothing_is_allocated_per_request_of_tds() {
    let mut pair = Pair::default();
    let handle = pair.prepare();
    for (name, mut exchange) in [
        ("batch", simple_batch()),
        ("sp_executesql", sql_call()),
        ("sp_execute", prepared_call(handle)),
        ("100 rows", hundred_rows()),
        ("10 MB", large_batch()),
    ] {
        let run = |exchange: &mut Exchange| {
            let passed = pair.run(exchange);
            assert_eq!(passed, exchange.request.len() + exchange.answer.len());
            passed
        };
        assert_eq!(count(&mut exchange, run), 0, "{name}");
    }
}

#[test]
fn nothing_is_allocated_per_query_of_postgresql() {
    let mut pair = postgres::Pair::prepared();
    for (name, mut exchange) in [
        ("simple query", conversation::simple_query()),
        ("prepared batch", conversation::prepared_batch()),
        ("100 rows", conversation::hundred_rows()),
    ] {
        let run = |exchange: &mut Exchange| pair.run(exchange);
        assert_eq!(count(&mut exchange, run), 0, "{name}");
    }
}

#[test]
fn the_counter_counts() {
    let counted = allocation_counter::measure(|| {
        let mut pair = Pair::default();
        pair.prepare();
    });
    assert!(counted.count_total > 0);
}
