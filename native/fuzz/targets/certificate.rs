//! Signatures and keys of nodes, single and summed: nothing but what was signed verifies.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use tuskfs_codec::bls::{self, KeyPair};
use tuskfs_fuzz::bend;

const NODES: u8 = 3;
const MESSAGE: &[u8] = b"\x01\x00\x03 an epoch, a blob";

static KEYS: LazyLock<Vec<(KeyPair, [u8; 96])>> = LazyLock::new(|| {
    (1..=NODES)
        .map(|seed| {
            let key = bls::key(&[seed; 32]).unwrap();
            let signed = bls::sign(&key.secret, MESSAGE).unwrap();
            (key, signed)
        })
        .collect()
});

fn run(mut input: Unstructured<'_>) -> Result<()> {
    let message = bend(&mut input, MESSAGE)?;
    let mut own = message == MESSAGE;
    let (mut keys, mut signatures) = (Vec::new(), Vec::new());
    for (key, signed) in &KEYS[..=input.choose_index(KEYS.len())?] {
        let public = match input.arbitrary()? {
            true => &key.public48[..],
            false => &key.public96[..],
        };
        let (bent, signature) = (bend(&mut input, public)?, bend(&mut input, signed)?);
        own &= bent == public && signature == signed;
        assert_eq!(
            bls::verify(&bent, &message, &signature),
            bent == public && signature == signed && message == MESSAGE
        );
        keys.push(bent);
        signatures.push(signature);
    }
    let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
    let signatures: Vec<_> = signatures.iter().map(Vec::as_slice).collect();
    match bls::aggregate(&signatures) {
        Ok(sum) => {
            assert_eq!(bls::verify_aggregate(&keys, &message, &sum), own);
            let bent = bend(&mut input, &sum)?;
            assert_eq!(
                bls::verify_aggregate(&keys, &message, &bent),
                own && bent == sum
            );
        }
        Err(_) => assert!(!own),
    }
    let _ = bls::sign(&bend(&mut input, &KEYS[0].0.secret)?, &message);
    let _ = bls::key(&message);
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let _ = run(Unstructured::new(data));
});
