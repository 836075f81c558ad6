//! Metadata as nodes send it: what parses is written alike, and only the blob's own verifies.
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use tuskfs_codec::metadata::{self, Metadata};
use tuskfs_fuzz::{AXES, bend, index, sample, shards};

fn run(mut input: Unstructured<'_>) -> Result<()> {
    let sample = sample(&mut input)?;
    let n = shards(&mut input, sample.shards())?;
    let number = index(&mut input, n)?;
    let bytes = match input.ratio(1, 4)? {
        true => input.take_rest().to_vec(),
        false => bend(&mut input, &sample.bytes)?,
    };
    let own = n == sample.shards() && bytes == sample.bytes;
    assert_eq!(metadata::verify(&bytes, n, &sample.metadata.blob_id()), own);
    let Ok(parsed) = Metadata::parse(&bytes, n) else {
        assert!(!own);
        return Ok(());
    };
    assert_eq!(parsed.to_bytes(), bytes);
    assert!(metadata::verify(&bytes, n, &parsed.blob_id()));
    for axis in AXES {
        assert_eq!(parsed.sliver_root(axis, number).is_ok(), number < n);
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let _ = run(Unstructured::new(data));
});
