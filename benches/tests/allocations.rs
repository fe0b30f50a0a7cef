//! Requests and answers pass a tracker of TDS without an allocation, once its buffers have grown.

use entrapool_benches::conversation::Exchange;
use entrapool_benches::pair::Pair;
use entrapool_benches::tds::{hundred_rows, large_batch, prepared_call, simple_batch, sql_call};

/// How often each passes.
const TIMES: usize = 100;

fn count(pair: &mut Pair, exchange: &mut Exchange) -> u64 {
    // Buffers grow.
    pair.run(exchange);
    let counted = allocation_counter::measure(|| {
        for _ in 0..TIMES {
            let passed = pair.run(exchange);
            assert_eq!(passed, exchange.request.len() + exchange.answer.len());
        }
    });
    counted.count_total
}

#[test]
fn nothing_is_allocated_per_request() {
    let mut pair = Pair::default();
    let handle = pair.prepare();
    for (name, mut exchange) in [
        ("batch", simple_batch()),
        ("sp_executesql", sql_call()),
        ("sp_execute", prepared_call(handle)),
        ("100 rows", hundred_rows()),
        ("10 MB", large_batch()),
    ] {
        assert_eq!(count(&mut pair, &mut exchange), 0, "{name}");
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
