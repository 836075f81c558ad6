//! Properties of the RedStuff codec over shapes, losses and lies of all kinds. That the bytes are
//! Walrus' own is what the golden tests of the addon say.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use tuskfs_codec::metadata::{self, Metadata};
use tuskfs_codec::shape::{Axis, Shape, Shards};
use tuskfs_codec::{Indexed, decode, encode, merkle, sliver};

const AXES: [Axis; 2] = [Axis::Primary, Axis::Secondary];

struct Encoded {
    blob: Vec<u8>,
    shape: Shape,
    bytes: Vec<u8>,
    metadata: Metadata,
}

impl Encoded {
    fn new(blob: Vec<u8>, shards: usize) -> Self {
        let shape = Shape::new(blob.len() as u64, shards).unwrap();
        let mut bytes = vec![0xee; shape.slivers_bytes()];
        let metadata = encode::encode(&blob, shards, &mut bytes).unwrap();
        Self {
            blob,
            shape,
            bytes,
            metadata,
        }
    }

    fn sliver(&self, axis: Axis, index: usize) -> &[u8] {
        let pair = self.shape.shards.pair(axis, index) * self.shape.pair_bytes();
        let primary = self.shape.sliver_bytes(Axis::Primary);
        match axis {
            Axis::Primary => &self.bytes[pair..pair + primary],
            Axis::Secondary => &self.bytes[pair + primary..pair + self.shape.pair_bytes()],
        }
    }

    /// Slivers that decode, as `order` picks them.
    fn some(&self, axis: Axis, order: &[usize]) -> Vec<Indexed<'_>> {
        let needed = self.shape.shards.systematic(axis);
        let chosen = order
            .iter()
            .filter(|index| **index < self.shape.shards.count);
        let slivers = chosen.map(|&index| Indexed {
            index,
            data: self.sliver(axis, index),
        });
        slivers.take(needed).collect()
    }
}

fn shards() -> impl Strategy<Value = usize> {
    select(vec![4, 5, 6, 7, 8, 9, 10, 13, 31, 64, 65, 66, 67, 100, 129])
}

fn blob() -> impl Strategy<Value = Vec<u8>> {
    let short = prop::collection::vec(any::<u8>(), 0..600);
    let long = (0_usize..40_000, any::<u8>()).prop_map(|(bytes, seed)| {
        let byte = |i: usize| (i.wrapping_mul(i | 7) >> 3) as u8 ^ seed;
        (0..bytes).map(byte).collect()
    });
    prop_oneof![short, long]
}

fn order() -> impl Strategy<Value = Vec<usize>> {
    Just((0..129).collect::<Vec<_>>()).prop_shuffle()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_sufficient_subset_decodes(blob in blob(), shards in shards(), order in order()) {
        let encoded = Encoded::new(blob, shards);
        prop_assert_eq!(&encode::metadata(&encoded.blob, shards).unwrap(), &encoded.metadata);
        let size = encoded.shape.size;
        for axis in AXES {
            let some = encoded.some(axis, &order);
            prop_assert_eq!(&decode::decode(size, shards, axis, &some).unwrap(), &encoded.blob);
            prop_assert!(decode::decode(size, shards, axis, &some[1..]).is_err());
        }
        let wanted: Vec<_> = order.iter().copied().filter(|i| *i < encoded.shape.shards.primary).collect();
        let some = encoded.some(Axis::Primary, &order);
        let mut found = vec![vec![0xee; encoded.shape.sliver_bytes(Axis::Primary)]; wanted.len()];
        let places = wanted.iter().copied().zip(found.iter_mut().map(|place| &mut place[..]));
        decode::recover_primaries(size, shards, &some, places.collect()).unwrap();
        for (index, data) in wanted.iter().zip(found) {
            prop_assert_eq!(&data[..], encoded.sliver(Axis::Primary, *index));
        }
    }

    #[test]
    fn a_sliver_verifies_unless_a_bit_is_wrong(
        blob in blob(), shards in shards(), which in any::<Index>(), at in any::<Index>(), bit in 0..8_u8,
    ) {
        let encoded = Encoded::new(blob, shards);
        let metadata = encoded.metadata.to_bytes();
        prop_assert!(metadata::verify(&metadata, shards, &encoded.metadata.blob_id()));
        let index = which.index(shards);
        for axis in AXES {
            let mut data = encoded.sliver(axis, index).to_vec();
            prop_assert_eq!(sliver::verify(&metadata, shards, axis, index, &data), Ok(true));
            let at = at.index(data.len());
            data[at] ^= 1 << bit;
            prop_assert_eq!(sliver::verify(&metadata, shards, axis, index, &data), Ok(false));
        }
    }

    #[test]
    fn any_sliver_is_recovered_from_proved_symbols(
        blob in blob(), shards in shards(), which in any::<Index>(), order in order(),
    ) {
        let encoded = Encoded::new(blob, shards);
        let target = which.index(shards);
        for (axis, from) in [(Axis::Primary, Axis::Secondary), (Axis::Secondary, Axis::Primary)] {
            let symbols: Vec<_> = encoded
                .some(from, &order)
                .iter()
                .map(|known| (known.index, sliver::symbols(from, shards, known.data, &[target]).unwrap()))
                .collect();
            let known: Vec<_> = symbols
                .iter()
                .map(|(index, symbol)| Indexed { index: *index, data: &symbol[0] })
                .collect();
            let recovered = decode::recover_sliver(axis, shards, &known).unwrap();
            prop_assert_eq!(&recovered[..], encoded.sliver(axis, target));

            let targets = [target, (target + 1) % shards];
            let runs: Vec<_> = encoded
                .some(from, &order)
                .iter()
                .map(|known| (known.index, sliver::symbols(from, shards, known.data, &targets).unwrap().concat()))
                .collect();
            let known_runs: Vec<_> = runs
                .iter()
                .map(|(index, run)| Indexed { index: *index, data: run })
                .collect();
            let symbol = known[0].data.len();
            let recovered = decode::recover_slivers(axis, shards, symbol, &known_runs).unwrap();
            prop_assert_eq!(recovered.len(), targets.len());
            for (sliver, target) in recovered.iter().zip(targets) {
                prop_assert_eq!(&sliver[..], encoded.sliver(axis, target));
            }

            let Indexed { index, data } = known[0];
            let proved = sliver::proved_symbol(from, shards, encoded.sliver(from, index), target).unwrap();
            prop_assert_eq!(&proved.symbol[..], data);
            let root = encoded.metadata.sliver_root(from, index).unwrap();
            prop_assert_eq!(climb(&proved, target), root);
        }
    }

    #[test]
    fn lies_are_errors(
        size in prop_oneof![0..3000_u64, any::<u64>()],
        shards in prop_oneof![0..20_usize, any::<usize>()],
        pieces in prop::collection::vec((prop_oneof![0..20_usize, any::<usize>()], 0..100_usize), 0..20),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let filler = [1; 100];
        let pieces: Vec<_> = pieces
            .into_iter()
            .map(|(index, length)| Indexed { index, data: &filler[..length] })
            .collect();
        for axis in AXES {
            let _ = decode::decode(size, shards, axis, &pieces);
            let _ = decode::recover_sliver(axis, shards, &pieces);
            for symbol in [0, 2, 3, 64, usize::MAX] {
                let _ = decode::recover_slivers(axis, shards, symbol, &pieces);
            }
            for piece in &pieces {
                let _ = sliver::symbols(axis, shards, piece.data, &[piece.index]);
                let _ = sliver::proved_symbol(axis, shards, piece.data, piece.index);
                let _ = sliver::verify(&bytes, shards, axis, piece.index, piece.data);
            }
        }
        let mut places = vec![[0; 100]; pieces.len()];
        let places = pieces.iter().zip(&mut places).map(|(piece, place)| (piece.index, &mut place[..]));
        let _ = decode::recover_primaries(size, shards, &pieces, places.collect());
        prop_assert!(Metadata::parse(&bytes, shards).is_err());
    }
}

fn climb(proved: &sliver::ProvedSymbol, target: usize) -> merkle::Node {
    let start = merkle::hash(&[&[0][..], &proved.symbol].concat());
    let siblings = proved.proof.iter().enumerate();
    siblings.fold(start, |node, (level, sibling)| {
        match (target >> level) & 1 {
            0 => merkle::hash(&[&[1][..], &node, sibling].concat()),
            _ => merkle::hash(&[&[1][..], sibling, &node].concat()),
        }
    })
}

/// Long symbols are transformed in slices; the outcome is that of the whole.
#[test]
fn slices_of_a_symbol_make_the_symbol() {
    let shards = Shards::new(100).unwrap();
    for symbol in [4094, 4096, 4098, 12_290, 65_534] {
        let data: Vec<u8> = (0..shards.secondary * symbol)
            .map(|i| ((i * i) >> 5) as u8)
            .collect();
        let targets: Vec<_> = (shards.secondary..shards.count).collect();
        let whole = reed_solomon_simd::encode(shards.secondary, targets.len(), data.chunks(symbol));
        let sliced = sliver::symbols(Axis::Primary, shards.count, &data, &targets);
        assert_eq!(sliced.unwrap(), whole.unwrap(), "{symbol}");
    }
}
