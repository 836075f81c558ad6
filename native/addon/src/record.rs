//! Headers of the log's segments and records (src/log/LOG.md), as far as checking them asks for.

pub const SEGMENT_HEADER: usize = 64;
pub const RECORD_HEADER: usize = 64;
pub const RECORD_MAGIC: &[u8] = b"TKLR";

/// The 4 bytes at `at` as a number.
pub fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

/// The 8 bytes at `at` as a number.
pub fn long(bytes: &[u8], at: usize) -> Option<u64> {
    let long = bytes.get(at..at + 8)?;
    Some(u64::from_le_bytes(long.try_into().ok()?))
}

/// A record's header (LOG.md): lengths, and places in its segment.
pub struct Record {
    pub crc: u32,
    pub number: u64,
    pub mutations: usize,
    pub data: usize,
    pub data_at: usize,
    pub end: usize,
}

impl Record {
    /// What may be a record, behind record `before`, if its header stands at `at` in a segment of `bytes`.
    pub fn at(header: &[u8], at: usize, bytes: usize, before: Option<u64>) -> Option<Self> {
        if header.get(..4)? != RECORD_MAGIC {
            return None;
        }
        let number = long(header, 16)?;
        let mutations = word(header, 8)? as usize;
        let data = word(header, 12)? as usize;
        let data_at = at + word(header, 48)? as usize;
        let end = (data_at + data).next_multiple_of(8);
        let fits = data_at >= at + RECORD_HEADER + mutations && end <= bytes;
        (fits && before.is_none_or(|before| number > before)).then_some(Self {
            crc: word(header, 4)?,
            number,
            mutations,
            data,
            data_at,
            end,
        })
    }
}
