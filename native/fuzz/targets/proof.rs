//! Symbols with their proofs, out of slivers of any bytes: a proof leads to its tree's root, and to
//! the root that the metadata has exactly if the sliver is the right one.
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use tuskfs_codec::merkle::{self, Node};
use tuskfs_codec::sliver;
use tuskfs_fuzz::{AXES, bend, index, sample, shards};

/// Where a proof leads.
fn climb(leaf: Node, index: usize, proof: &[Node]) -> Node {
    let mut at = index;
    proof.iter().fold(leaf, |node, sibling| {
        let (left, right) = if at % 2 == 0 {
            (&node, sibling)
        } else {
            (sibling, &node)
        };
        at /= 2;
        merkle::hash(&[&[1][..], left, right].concat())
    })
}

fn run(mut input: Unstructured<'_>) -> Result<()> {
    let sample = sample(&mut input)?;
    let n = shards(&mut input, sample.shards())?;
    let axis = *input.choose(&AXES)?;
    let from = input.choose_index(sample.shards())?;
    let target = index(&mut input, n)?;
    let data = bend(&mut input, sample.sliver(axis, from))?;
    if let Ok(proved) = sliver::proved_symbol(axis, n, &data, target) {
        let leaf = merkle::hash(&[&[0][..], &proved.symbol].concat());
        let root = sample.metadata.sliver_root(axis, from).unwrap();
        let leads = climb(leaf, target, &proved.proof) == root;
        let own = n == sample.shards() && data == sample.sliver(axis, from);
        assert_eq!(leads, own);
    }
    let leaves: Vec<Node> = input.take_rest().as_chunks::<32>().0.to_vec();
    let root = merkle::root(&leaves);
    for (at, leaf) in leaves.iter().enumerate() {
        assert_eq!(climb(*leaf, at, &merkle::proof(&leaves, at)), root);
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let _ = run(Unstructured::new(data));
});
