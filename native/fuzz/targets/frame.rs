//! Sealed frames: bent ones, which the tag refuses, and bodies of any bytes under a tag that holds,
//! as whoever has the key could make them.
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use tuskfs_codec::seal::{STORED, Sealer, ZSTD, new_compressor};
use tuskfs_fuzz::bend;

const KEY: [u8; 32] = [7; 32];
const PREFIX: &[u8] = b"a volume, a pack";

/// Seals any body as FORMAT.md, section Frames, says.
fn seal(slot: u32, compression: u8, body: &[u8]) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &KEY).unwrap());
    let mut nonce = [0; 12];
    nonce[8..].copy_from_slice(&slot.to_be_bytes());
    let aad = [PREFIX, &slot.to_le_bytes(), &[compression]].concat();
    let mut sealed = body.to_vec();
    key.seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(aad),
        &mut sealed,
    )
    .unwrap();
    sealed
}

fn run(mut input: Unstructured<'_>) -> Result<()> {
    let sealer = Sealer::new(&KEY, PREFIX);
    let slot: u32 = input.arbitrary()?;
    let pattern: [u8; 5] = input.arbitrary()?;
    let plain: Vec<_> = pattern
        .iter()
        .copied()
        .cycle()
        .take(input.int_in_range(0..=3000)?)
        .collect();

    let (sealed, compression) = sealer.seal(&mut new_compressor(), slot, &plain);
    let bent = bend(&mut input, &sealed)?;
    let intact = bent == sealed;
    assert_eq!(
        sealer.open(slot, compression, plain.len(), bent).is_ok(),
        intact
    );

    let body = zstd::bulk::compress(&plain, 3).unwrap();
    let body = bend(&mut input, &body)?;
    let claimed = match input.ratio(1, 4)? {
        true => input.arbitrary()?,
        false => plain.len(),
    };
    for compression in [STORED, ZSTD, input.arbitrary()?] {
        match sealer.open(slot, compression, claimed, seal(slot, compression, &body)) {
            Ok(opened) => assert_eq!(opened.len(), claimed),
            Err(error) => assert!(error.starts_with("damaged:"), "{error}"),
        }
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let _ = run(Unstructured::new(data));
});
