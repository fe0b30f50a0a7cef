//! What a tracker costs per exchange, both directions, without any I/O.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use entrapool_benches::conversation::{hundred_rows, prepared_batch, simple_query};
use entrapool_benches::postgres::Pair;

fn tracker(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tracker");
    for (name, exchange) in [
        ("simple query", simple_query()),
        ("prepared batch", prepared_batch()),
        ("100 rows", hundred_rows()),
    ] {
        let mut pair = Pair::prepared();
        let bytes = exchange.request.len() + exchange.answer.len();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| black_box(pair.run(black_box(&exchange))));
        });
    }
    group.finish();
}

criterion_group!(benches, tracker);
criterion_main!(benches);
