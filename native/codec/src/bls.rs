//! Signatures of storage nodes: BLS12-381 with keys in G1 and signatures in G2 ("min-pk"), in the
//! ciphersuite `BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_`.
//!
//! Every key and signature that comes from outside is checked to lie in the right subgroup.

use blst::BLST_ERROR;
use blst::min_pk::{AggregateSignature, PublicKey, SecretKey, Signature};

use crate::error::{Error, Result};

const SUITE: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_";

/// A key pair in the forms in which it travels.
#[derive(Clone)]
pub struct KeyPair {
    /// Big-endian scalar.
    pub secret: [u8; 32],
    /// Compressed point.
    pub public48: [u8; 48],
    /// Uncompressed point, as on the chain.
    pub public96: [u8; 96],
}

fn refused(what: &str) -> impl Fn(BLST_ERROR) -> Error {
    move |error| Error(format!("{what}: {error:?}"))
}

/// Derives a key pair from 32 random bytes (KeyGen of the BLS draft).
pub fn key(seed: &[u8]) -> Result<KeyPair> {
    let seed = <&[u8; 32]>::try_from(seed).map_err(|_| Error("a seed has 32 bytes".into()))?;
    let secret = SecretKey::key_gen(seed, &[]).map_err(refused("seed"))?;
    let public = secret.sk_to_pk();
    Ok(KeyPair {
        secret: secret.to_bytes(),
        public48: public.to_bytes(),
        public96: public.serialize(),
    })
}

/// Signs: 96 bytes, compressed.
pub fn sign(secret: &[u8], message: &[u8]) -> Result<[u8; 96]> {
    let secret = SecretKey::from_bytes(secret).map_err(refused("secret key"))?;
    Ok(secret.sign(message, SUITE, &[]).to_bytes())
}

/// Reads a public key, compressed or not; refuses the point at infinity.
fn public_key(bytes: &[u8]) -> Result<PublicKey> {
    PublicKey::key_validate(bytes).map_err(refused("public key"))
}

/// Reads a compressed signature; refuses the point at infinity.
fn signature(bytes: &[u8]) -> Result<Signature> {
    let bytes =
        <&[u8; 96]>::try_from(bytes).map_err(|_| Error("a signature has 96 bytes".into()))?;
    Signature::sig_validate(bytes, true).map_err(refused("signature"))
}

/// Is it the key's signature of the message? Malformed keys and signatures are simply not.
pub fn verify(public: &[u8], message: &[u8], signed: &[u8]) -> bool {
    verify_aggregate(&[public], message, signed)
}

/// Sum of signatures, each checked to be in its subgroup: 96 bytes.
pub fn aggregate(signatures: &[&[u8]]) -> Result<[u8; 96]> {
    let parts: Vec<_> = signatures
        .iter()
        .map(|bytes| signature(bytes))
        .collect::<Result<_>>()?;
    let parts: Vec<_> = parts.iter().collect();
    let sum = AggregateSignature::aggregate(&parts, false).map_err(refused("signatures"))?;
    Ok(sum.to_signature().to_bytes())
}

/// Did all of these keys (at least one) sign the message?
pub fn verify_aggregate(publics: &[&[u8]], message: &[u8], signed: &[u8]) -> bool {
    let keys: Result<Vec<_>> = publics.iter().map(|bytes| public_key(bytes)).collect();
    let (Ok(keys), Ok(signed)) = (keys, signature(signed)) else {
        return false;
    };
    let keys: Vec<_> = keys.iter().collect();
    !keys.is_empty()
        && signed.fast_aggregate_verify(false, message, SUITE, &keys) == BLST_ERROR::BLST_SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_outside_the_subgroup_is_no_signature() {
        let outside = (1..=u8::MAX)
            .map(|x| {
                let mut bytes = [0; 96];
                bytes[0] = 0x80;
                bytes[95] = x;
                bytes
            })
            .find(|bytes| Signature::uncompress(bytes).is_ok_and(|point| !point.subgroup_check()))
            .expect("one point in 2^125 is inside");
        let key = key(&[1; 32]).unwrap();
        let good = sign(&key.secret, b"message").unwrap();
        assert!(aggregate(&[&good, &good]).is_ok());
        assert!(aggregate(&[&good, &outside]).is_err());
        assert!(!verify(&key.public96, b"message", &outside));
    }

    #[test]
    fn a_point_outside_the_subgroup_is_no_key() {
        let outside = (1..=u8::MAX)
            .map(|x| {
                let mut bytes = [0; 48];
                bytes[0] = 0x80;
                bytes[47] = x;
                bytes
            })
            .find(|bytes| PublicKey::uncompress(bytes).is_ok())
            .expect("half of all x have a point");
        assert!(public_key(&outside).is_err());
    }
}
