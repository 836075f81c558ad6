//! Slivers and symbols of strangers into the decoders: any indexes, lengths and sizes; the blob
//! comes back if they were the right ones.
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use tuskfs_codec::shape::Axis;
use tuskfs_codec::{Indexed, decode};
use tuskfs_fuzz::{AXES, Sample, bend, index, sample, shards};

/// Slivers of `axis` from some index on, each under its own index and as it is, unless the input
/// says otherwise; and whether all are right.
fn slivers(
    input: &mut Unstructured<'_>,
    sample: &Sample,
    axis: Axis,
) -> Result<(Vec<(usize, Vec<u8>)>, bool)> {
    let n = sample.shards();
    let start = input.choose_index(n)?;
    let count = match input.ratio(1, 8)? {
        true => input.int_in_range(0..=n)?,
        false => sample.shape.shards.systematic(axis),
    };
    let mut right = count >= sample.shape.shards.systematic(axis);
    let mut all = Vec::new();
    for i in 0..count {
        let at = (start + i) % n;
        let data = sample.sliver(axis, at);
        let (index, bent) = match input.ratio(1, 32)? {
            true => (index(input, n)?, bend(input, data)?),
            false => (at, data.to_vec()),
        };
        right &= index == at && bent == data;
        all.push((index, bent));
    }
    Ok((all, right))
}

fn run(mut input: Unstructured<'_>) -> Result<()> {
    let sample = sample(&mut input)?;
    let axis = *input.choose(&AXES)?;
    let n = shards(&mut input, sample.shards())?;
    let size = match input.ratio(1, 8)? {
        true => input.arbitrary()?,
        false => sample.shape.size,
    };
    let wanted = [index(&mut input, n)?, index(&mut input, n)?];
    let symbol = match input.ratio(1, 8)? {
        true => input.arbitrary()?,
        false => sample.shape.symbol,
    };
    let (slivers, right) = slivers(&mut input, sample, axis)?;
    let right = right && n == sample.shards();
    let known: Vec<_> = slivers
        .iter()
        .map(|(index, data)| Indexed {
            index: *index,
            data,
        })
        .collect();

    match decode::decode(size, n, axis, &known) {
        Ok(blob) if right && size == sample.shape.size => assert_eq!(blob, sample.blob),
        Ok(blob) => assert_eq!(blob.len() as u64, size),
        Err(error) => assert!(!right || size != sample.shape.size, "{error}"),
    }
    let mut found = vec![vec![0; sample.shape.sliver_bytes(Axis::Primary)]; wanted.len()];
    let places = found.iter_mut().map(|place| &mut place[..]);
    let places = wanted.iter().copied().zip(places).collect();
    if decode::recover_primaries(size, n, &known, places).is_ok()
        && right
        && axis == Axis::Primary
        && size == sample.shape.size
    {
        for (index, data) in wanted.iter().zip(&found) {
            assert_eq!(data, sample.sliver(axis, *index));
        }
    }
    let across = AXES[usize::from(axis == Axis::Primary)];
    if let Ok(found) = decode::recover_slivers(across, n, symbol, &known)
        && right
        && symbol == sample.shape.symbol
    {
        for (at, data) in found.iter().enumerate() {
            assert_eq!(data, sample.sliver(across, at));
        }
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let _ = run(Unstructured::new(data));
});
