//! What a tracker of TDS costs per exchange, both directions, and what the walker alone costs per
//! answer, without any I/O.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use entrapool_benches::pair::Pair;
use entrapool_benches::tds::{HEADER, PACKET, hundred_rows, prepared_call, simple_batch, sql_call};
use entrapool_protocol::tds::token::{Layout, Walker};

fn tracker(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tds tracker");
    let mut pair = Pair::default();
    let handle = pair.prepare();
    for (name, mut exchange) in [
        ("batch", simple_batch()),
        ("sp_executesql", sql_call()),
        ("sp_execute", prepared_call(handle)),
        ("100 rows", hundred_rows()),
    ] {
        let bytes = exchange.request.len() + exchange.answer.len();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| black_box(pair.run(black_box(&mut exchange))));
        });
    }
    group.finish();
}

fn walker(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tds walker");
    for (name, exchange) in [("one row", simple_batch()), ("100 rows", hundred_rows())] {
        let mut walker = Walker::new(Layout::default());
        group.throughput(Throughput::Bytes(exchange.answer.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| walk(&mut walker, black_box(&exchange.answer)));
        });
    }
    group.finish();
}

/// Goes through a message; returns how many tokens said something.
fn walk(walker: &mut Walker, answer: &[u8]) -> usize {
    let mut told = 0;
    for packet in answer.chunks(PACKET) {
        walker.begin_packet();
        let payload = &packet[HEADER..];
        let mut at = 0;
        loop {
            let walked = walker.next(payload, at);
            at = walked.at;
            if walked.token.is_none() {
                break;
            }
            told += 1;
        }
    }
    assert!(walker.end_message());
    told
}

criterion_group!(benches, tracker, walker);
criterion_main!(benches);
