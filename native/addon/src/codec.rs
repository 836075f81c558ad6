//! The `codec` section of src/native.ts: numbers of JavaScript are checked here, everything else
//! is tuskfs-codec.

mod files;

use std::io;

use napi::bindgen_prelude::*;
use napi_derive::napi;
use tuskfs_codec::encode::Source;
use tuskfs_codec::metadata::{self, Metadata};
use tuskfs_codec::shape::{Axis, Shape};
use tuskfs_codec::{Indexed, bls, decode, encode, sliver};

use crate::pool::{promise, promise_to_reader};

/// What an encoding yields beside the slivers.
#[napi(object)]
pub struct EncodedBlob {
    pub blob_id: Buffer,
    pub root_hash: Buffer,
    pub size: f64,
    pub n_shards: u32,
    pub symbol_bytes: u32,
    pub metadata: Buffer,
}

/// Numbers that follow from a blob's size and the number of shards.
#[napi(object)]
pub struct BlobShape {
    pub n_primary: u32,
    pub n_secondary: u32,
    pub symbol_bytes: u32,
    pub primary_bytes: f64,
    pub secondary_bytes: f64,
    pub encoded_bytes: f64,
}

/// A symbol or sliver together with its index.
#[napi(object, object_to_js = false)]
pub struct IndexedBytes {
    pub index: f64,
    pub data: Uint8Array,
}

/// A symbol and the siblings that prove it.
#[napi(object)]
pub struct RecoverySymbol {
    pub symbol: Buffer,
    pub proof: Vec<Buffer>,
}

/// A BLS key pair.
#[napi(object)]
pub struct BlsKey {
    pub secret: Buffer,
    pub public48: Buffer,
    pub public96: Buffer,
}

fn failed(error: tuskfs_codec::Error) -> Error {
    Error::from_reason(error.0)
}

fn at_path(path: &str) -> impl Fn(io::Error) -> Error {
    move |error| Error::from_reason(format!("{path}: {error}"))
}

/// A JavaScript number that must be a whole one, not below 0 and exact.
fn whole(value: f64, what: &str) -> Result<u64> {
    const EXACT: f64 = 9_007_199_254_740_991.0;
    if value.fract() == 0.0 && (0.0..=EXACT).contains(&value) {
        return Ok(value as u64);
    }
    Err(Error::from_reason(format!(
        "{what} {value} is not a whole number"
    )))
}

fn count(value: f64) -> Result<usize> {
    Ok(whole(value, "number of shards")? as usize)
}

fn indexes(values: Vec<f64>) -> Result<Vec<usize>> {
    let index = |value| Ok(whole(value, "index")? as usize);
    values.into_iter().map(index).collect()
}

fn axis(name: &str) -> Result<Axis> {
    match name {
        "primary" => Ok(Axis::Primary),
        "secondary" => Ok(Axis::Secondary),
        _ => Err(Error::from_reason(format!("no type of sliver: {name}"))),
    }
}

fn indexed(inputs: &[IndexedBytes]) -> Result<Vec<Indexed<'_>>> {
    let mut checked = Vec::with_capacity(inputs.len());
    for input in inputs {
        checked.push(Indexed {
            index: whole(input.index, "index")? as usize,
            data: &input.data,
        });
    }
    Ok(checked)
}

fn overlap(a: &[u8], b: &[u8]) -> bool {
    let (a, b) = (a.as_ptr_range(), b.as_ptr_range());
    a.start < b.end && b.start < a.end
}

/// Places to be written, none of which shares bytes with another or with what is read.
fn apart<'a>(
    places: &'a mut [IndexedBytes],
    read: &[Indexed<'_>],
) -> Result<Vec<(usize, &'a mut [u8])>> {
    for (at, place) in places.iter().enumerate() {
        let others = read.iter().map(|input| input.data);
        let mut others = others.chain(places[..at].iter().map(|other| &other.data[..]));
        if others.any(|other| overlap(&place.data, other)) {
            return Err(Error::from_reason("a place shares bytes with another"));
        }
    }
    let checked = places.iter_mut().map(|place| {
        // SAFETY: nothing here has another view of these bytes, as was just seen; JavaScript leaves
        // them alone until the promise settles.
        Ok((whole(place.index, "index")? as usize, unsafe {
            place.data.as_mut()
        }))
    });
    checked.collect()
}

fn buffers(parts: Vec<Vec<u8>>) -> Vec<Buffer> {
    parts.into_iter().map(Buffer::from).collect()
}

fn encoded(metadata: &Metadata, shards: usize) -> Result<EncodedBlob> {
    let shape = Shape::new(metadata.size, shards).map_err(failed)?;
    Ok(EncodedBlob {
        blob_id: metadata.blob_id().to_vec().into(),
        root_hash: metadata.root_hash().to_vec().into(),
        size: metadata.size as f64,
        n_shards: shards as u32,
        symbol_bytes: shape.symbol as u32,
        metadata: metadata.to_bytes().into(),
    })
}

#[napi]
pub fn blob_shape(size: f64, n_shards: f64) -> Result<BlobShape> {
    let shape = Shape::new(whole(size, "size")?, count(n_shards)?).map_err(failed)?;
    Ok(BlobShape {
        n_primary: shape.shards.primary as u32,
        n_secondary: shape.shards.secondary as u32,
        symbol_bytes: shape.symbol as u32,
        primary_bytes: shape.sliver_bytes(Axis::Primary) as f64,
        secondary_bytes: shape.sliver_bytes(Axis::Secondary) as f64,
        encoded_bytes: shape.encoded_bytes() as f64,
    })
}

#[napi]
pub fn encode_file<'env>(
    env: &'env Env,
    path: String,
    n_shards: f64,
    out_path: String,
) -> Result<Object<'env>> {
    promise(env, move || {
        let shards = count(n_shards)?;
        let input = files::Input::open(&path).map_err(at_path(&path))?;
        let shape = Shape::new(input.bytes(), shards).map_err(failed)?;
        let output = files::Output::create(&out_path, shape.slivers_bytes(), &input)
            .map_err(at_path(&out_path))?;
        let metadata = encode::encode_to(&input, shards, &output)
            .inspect_err(|_| output.remove())
            .map_err(|error| Error::from_reason(format!("{out_path}: {error}")))?;
        encoded(&metadata, shards)
    })
}

#[napi]
pub fn file_metadata<'env>(env: &'env Env, path: String, n_shards: f64) -> Result<Object<'env>> {
    promise(env, move || {
        let shards = count(n_shards)?;
        let input = files::Input::open(&path).map_err(at_path(&path))?;
        encoded(
            &encode::metadata_of(&input, shards).map_err(failed)?,
            shards,
        )
    })
}

#[napi]
pub fn bytes_metadata<'env>(
    env: &'env Env,
    data: Uint8Array,
    n_shards: f64,
) -> Result<Object<'env>> {
    promise(env, move || {
        let shards = count(n_shards)?;
        encoded(&encode::metadata(&data, shards).map_err(failed)?, shards)
    })
}

#[napi]
pub fn decode<'env>(
    env: &'env Env,
    size: f64,
    n_shards: f64,
    r#type: String,
    slivers: Vec<IndexedBytes>,
) -> Result<Object<'env>> {
    promise(env, move || {
        let size = whole(size, "size")?;
        let slivers = indexed(&slivers)?;
        let blob = decode::decode(size, count(n_shards)?, axis(&r#type)?, &slivers);
        Ok(Buffer::from(blob.map_err(failed)?))
    })
}

#[napi]
pub fn recover_primaries<'env>(
    env: &'env Env,
    size: f64,
    n_shards: f64,
    slivers: Vec<IndexedBytes>,
    mut places: Vec<IndexedBytes>,
) -> Result<Object<'env>> {
    promise_to_reader(env, move || {
        let size = whole(size, "size")?;
        let slivers = indexed(&slivers)?;
        let places = apart(&mut places, &slivers)?;
        decode::recover_primaries(size, count(n_shards)?, &slivers, places).map_err(failed)
    })
}

#[napi]
pub fn verify_sliver<'env>(
    env: &'env Env,
    metadata: Uint8Array,
    n_shards: f64,
    r#type: String,
    index: f64,
    data: Uint8Array,
) -> Result<Object<'env>> {
    promise_to_reader(env, move || {
        let index = whole(index, "index")? as usize;
        sliver::verify(&metadata, count(n_shards)?, axis(&r#type)?, index, &data).map_err(failed)
    })
}

#[napi]
pub fn verify_metadata(metadata: Uint8Array, n_shards: f64, blob_id: Uint8Array) -> Result<bool> {
    Ok(metadata::verify(&metadata, count(n_shards)?, &blob_id))
}

#[napi]
pub fn sliver_symbols<'env>(
    env: &'env Env,
    r#type: String,
    n_shards: f64,
    data: Uint8Array,
    targets: Vec<f64>,
) -> Result<Object<'env>> {
    promise(env, move || {
        let targets = indexes(targets)?;
        let symbols = sliver::symbols(axis(&r#type)?, count(n_shards)?, &data, &targets);
        Ok(buffers(symbols.map_err(failed)?))
    })
}

#[napi]
pub fn recovery_symbol<'env>(
    env: &'env Env,
    r#type: String,
    n_shards: f64,
    data: Uint8Array,
    target: f64,
) -> Result<Object<'env>> {
    promise(env, move || {
        let target = whole(target, "index")? as usize;
        let proved = sliver::proved_symbol(axis(&r#type)?, count(n_shards)?, &data, target);
        let proved = proved.map_err(failed)?;
        let proof = proved.proof.iter().map(|node| node.to_vec().into());
        Ok(RecoverySymbol {
            symbol: proved.symbol.into(),
            proof: proof.collect(),
        })
    })
}

#[napi]
pub fn recover_sliver<'env>(
    env: &'env Env,
    r#type: String,
    n_shards: f64,
    symbols: Vec<IndexedBytes>,
) -> Result<Object<'env>> {
    promise(env, move || {
        let symbols = indexed(&symbols)?;
        let sliver = decode::recover_sliver(axis(&r#type)?, count(n_shards)?, &symbols);
        Ok(Buffer::from(sliver.map_err(failed)?))
    })
}

#[napi]
pub fn recover_slivers<'env>(
    env: &'env Env,
    r#type: String,
    n_shards: f64,
    symbol_bytes: f64,
    symbols: Vec<IndexedBytes>,
) -> Result<Object<'env>> {
    promise_to_reader(env, move || {
        let symbols = indexed(&symbols)?;
        let symbol = whole(symbol_bytes, "symbolBytes")? as usize;
        let slivers = decode::recover_slivers(axis(&r#type)?, count(n_shards)?, symbol, &symbols);
        Ok(buffers(slivers.map_err(failed)?))
    })
}

#[napi]
pub fn bls_key(seed: Uint8Array) -> Result<BlsKey> {
    let key = bls::key(&seed).map_err(failed)?;
    Ok(BlsKey {
        secret: key.secret.to_vec().into(),
        public48: key.public48.to_vec().into(),
        public96: key.public96.to_vec().into(),
    })
}

#[napi]
pub fn bls_sign(secret: Uint8Array, message: Uint8Array) -> Result<Buffer> {
    let signature = bls::sign(&secret, &message).map_err(failed)?;
    Ok(signature.to_vec().into())
}

#[napi]
pub fn bls_verify(public_key: Uint8Array, message: Uint8Array, signature: Uint8Array) -> bool {
    bls::verify(&public_key, &message, &signature)
}

#[napi]
pub fn bls_aggregate(signatures: Vec<Uint8Array>) -> Result<Buffer> {
    let parts: Vec<&[u8]> = signatures.iter().map(|part| &part[..]).collect();
    Ok(bls::aggregate(&parts).map_err(failed)?.to_vec().into())
}

#[napi]
pub fn bls_verify_aggregate(
    public_keys: Vec<Uint8Array>,
    message: Uint8Array,
    signature: Uint8Array,
) -> bool {
    let keys: Vec<&[u8]> = public_keys.iter().map(|key| &key[..]).collect();
    bls::verify_aggregate(&keys, &message, &signature)
}
