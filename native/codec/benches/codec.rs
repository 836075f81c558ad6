//! `cargo bench [-- FILTER]` in this directory: RedStuff in memory, on as many threads as
//! `RAYON_NUM_THREADS` says (by default, one a processor).

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tuskfs_codec::shape::{Axis, Shape};
use tuskfs_codec::{Indexed, decode, encode, merkle, sliver};
use tuskfs_codec_benches::noise;

const SHARDS: [usize; 2] = [100, 1000];
const SIZES_MIB: [usize; 2] = [1, 16];

fn redstuff(criterion: &mut Criterion) {
    for shards in SHARDS {
        for mib in SIZES_MIB {
            blob(
                criterion,
                shards,
                &noise(mib << 20),
                &format!("{mib} MiB, {shards} shards"),
            );
        }
    }
}

fn blob(criterion: &mut Criterion, shards: usize, blob: &[u8], name: &str) {
    let size = blob.len() as u64;
    let shape = Shape::new(size, shards).unwrap();
    let mut slivers = vec![0; shape.slivers_bytes()];
    let metadata = encode::encode(blob, shards, &mut slivers).unwrap();
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).throughput(Throughput::Bytes(size));
    group.bench_function("metadata", |b| b.iter(|| encode::metadata(blob, shards)));
    group.bench_function("encode", |b| {
        let mut out = vec![0; shape.slivers_bytes()];
        b.iter(|| encode::encode(blob, shards, &mut out));
    });

    let primary = |index: usize| Indexed {
        index,
        data: &slivers[index * shape.pair_bytes()..][..shape.sliver_bytes(Axis::Primary)],
    };
    let needed = shape.shards.primary;
    let first: Vec<_> = (0..needed).map(primary).collect();
    let last: Vec<_> = (shards - needed..shards).map(primary).collect();
    for (name, known) in [("decode, systematic", first), ("decode, worst case", last)] {
        let decode = || decode::decode(size, shards, Axis::Primary, black_box(&known));
        assert_eq!(decode().unwrap(), blob);
        group.bench_function(name, |b| b.iter(decode));
    }

    let bytes = metadata.to_bytes();
    let Indexed { index, data } = primary(shards - 1);
    group.throughput(Throughput::Bytes(data.len() as u64));
    group.bench_function("verify a sliver", |b| {
        b.iter(|| sliver::verify(&bytes, shards, Axis::Primary, index, data));
    });
    group.finish();
}

fn hashes(criterion: &mut Criterion) {
    const LEAVES: u64 = 4096;
    let leaves: Vec<_> = (0..LEAVES)
        .map(|i| merkle::hash(&i.to_le_bytes()))
        .collect();
    let mut group = criterion.benchmark_group("Merkle tree");
    group.throughput(Throughput::Elements(LEAVES - 1));
    group.bench_function("inner nodes", |b| {
        b.iter(|| merkle::root(black_box(&leaves)))
    });
    group.finish();
}

criterion_group!(benches, hashes, redstuff);
criterion_main!(benches);
