//! Slivers as nodes send them, with metadata that may be wrong itself: only the right sliver at the
//! right index verifies, and symbols of any bytes have the sliver's own length.
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use tuskfs_codec::sliver;
use tuskfs_fuzz::{AXES, bend, index, sample, shards};

fn run(mut input: Unstructured<'_>) -> Result<()> {
    let sample = sample(&mut input)?;
    let right = sample.shards();
    let n = shards(&mut input, right)?;
    let axis = *input.choose(&AXES)?;
    let from = input.choose_index(right)?;
    let at = match input.arbitrary()? {
        true => from,
        false => index(&mut input, n)?,
    };
    let data = bend(&mut input, sample.sliver(axis, from))?;
    let held = sliver::verify(&sample.bytes, n, axis, at, &data);
    if n == right && at < n {
        assert_eq!(held, Ok(data == sample.sliver(axis, at)));
    } else {
        assert!(held.is_err());
    }
    let targets = [index(&mut input, n)?, index(&mut input, n)?];
    if let Ok(symbols) = sliver::symbols(axis, n, &data, &targets) {
        assert!(targets.iter().all(|target| *target < n));
        assert!(
            symbols
                .iter()
                .all(|symbol| !symbol.is_empty() && data.len() % symbol.len() == 0)
        );
    }
    let bent = bend(&mut input, &sample.bytes)?;
    let _ = sliver::verify(&bent, n, axis, at, &data);
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let _ = run(Unstructured::new(data));
});
