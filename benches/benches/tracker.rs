//! What a tracker costs per exchange, both directions, without any I/O.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use entrapool_benches::conversation::{
    Exchange, hundred_rows, preparation, prepared_batch, simple_query,
};
use entrapool_protocol::Sink;
use entrapool_protocol::postgres::statements::Statements;
use entrapool_protocol::postgres::tracker::{Boundary, Event, Tracker};

/// Counts and keeps nothing: writing is somebody else's cost.
#[derive(Default)]
struct Count(usize);

impl Sink for Count {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

struct Pair {
    tracker: Tracker,
    names: Statements,
}

impl Pair {
    fn new() -> Self {
        Self {
            tracker: Tracker::new(Arc::default()),
            names: Statements::new(1),
        }
    }

    /// One exchange; returns the bytes that passed.
    fn run(&mut self, exchange: &Exchange) -> usize {
        let mut passed = Count::default();
        let taken = self
            .tracker
            .front(&exchange.request, Some(&mut self.names), &mut passed);
        assert_eq!(taken.map(|taken| taken.bytes), Ok(exchange.request.len()));
        let mut rest = exchange.answer.as_slice();
        loop {
            let Ok(step) = self.tracker.back(rest, Some(&mut self.names)) else {
                panic!("the answer does not fit its request");
            };
            passed.put(&rest[..step.take]);
            rest = &rest[step.take..];
            if let Event::NeedMore = step.event {
                break;
            }
        }
        assert_eq!(self.tracker.boundary(), Boundary::Idle);
        passed.0
    }
}

fn tracker(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tracker");
    for (name, exchange) in [
        ("simple query", simple_query()),
        ("prepared batch", prepared_batch()),
        ("100 rows", hundred_rows()),
    ] {
        let mut pair = Pair::new();
        pair.run(&preparation());
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
