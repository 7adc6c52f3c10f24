//! How long suite 01 takes on one core: making data keys, wrapping and opening, on both back ends.
//!
//! `cargo bench --bench suite`. Every figure includes drawing randomness, building the blob and
//! wiping what was used. `data_keys/100` is for a hundred; its throughput is in data keys.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use bulla::crypto::memory::WipingAllocator;
use bulla::crypto::{
    Backend, Binding, BlobKind, EncryptionContext, Header, KeyMaterial, OsRandom, Ring, RustCrypto,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// As in the program, so that what it costs is in the figures.
#[global_allocator]
static ALLOCATOR: WipingAllocator = WipingAllocator::new();

fn suite<B: Backend>(criterion: &mut Criterion, name: &str) {
    let material = KeyMaterial::<B>::generate(&OsRandom).unwrap();
    let kek = material.kek();
    let pairs = [("app", "billing"), ("table", "customers")];
    let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let context = EncryptionContext::new(pairs).unwrap();
    let header = Header::new(BlobKind::Client, [7; 16], 1, 0).unwrap();
    let binding = Binding::new(&header, &[9; 16], &context);

    let mut group = criterion.benchmark_group(format!("{name}/data_keys"));
    for count in [1, 100] {
        group.throughput(Throughput::Elements(u64::try_from(count).unwrap()));
        group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
            bencher.iter(|| {
                // The digest of header, tenant and context is part of every call.
                let binding = Binding::new(&header, &[9; 16], &context);
                kek.generate_data_keys(&OsRandom, &binding, 32, count, |data_key, blob| {
                    black_box((data_key, blob));
                })
                .unwrap();
            });
        });
    }
    group.finish();

    for (operation, opens) in [("wrap", false), ("open", true)] {
        let mut group = criterion.benchmark_group(format!("{name}/{operation}"));
        for bytes in [32, 4096] {
            let plaintext = vec![5; bytes];
            let blob = kek.wrap(&OsRandom, &binding, &plaintext).unwrap();
            group.bench_function(BenchmarkId::from_parameter(bytes), |bencher| {
                if opens {
                    bencher.iter(|| kek.open(&binding, black_box(&blob)).unwrap());
                } else {
                    bencher.iter(|| kek.wrap(&OsRandom, &binding, black_box(&plaintext)).unwrap());
                }
            });
        }
        group.finish();
    }
    criterion.bench_function(&format!("{name}/kek"), |bencher| bencher.iter(|| material.kek()));
}

fn both(criterion: &mut Criterion) {
    suite::<RustCrypto>(criterion, "rustcrypto");
    suite::<Ring>(criterion, "ring");
}

criterion_group!(suites, both);
criterion_main!(suites);
