//! Checksums of the data of log records, at hand for every read. A record's one checksum runs over
//! header, mutations and data; kept here is its state at every 4 KiB of data, so that a small read
//! is checked without the rest of its record. What this process wrote is noted as it is written;
//! what stood in the file before is computed from the file, once, when something of it is read.

use std::io;

use crate::record::{RECORD_HEADER, Record, SEGMENT_HEADER, long, word};
use crate::window::Bytes;

/// Data between two states.
const STEP: usize = 4096;

/// Data of one record.
#[derive(Clone)]
struct Data {
    at: usize,
    bytes: usize,
    /// Index of its first state: the checksum of what stands before the data.
    states: usize,
    /// The record did not match its own checksum when it was read.
    damaged: bool,
}

/// What is known of a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    Sound,
    Damaged,
    /// It was written before this process came.
    Unknown,
}

/// The states of a segment's records, in the order of the file.
#[derive(Clone, Default)]
pub struct Sums {
    data: Vec<Data>,
    states: Vec<u32>,
    /// Nothing that stands in the segment is missing here.
    whole: bool,
    /// From here on this process writes.
    own: Option<usize>,
}

impl Sums {
    /// The segment begins anew: nothing stands in it yet.
    pub fn start(&mut self) {
        *self = Self {
            whole: true,
            ..Self::default()
        };
    }

    /// This process goes on writing at `at`: what stands behind is no record, but what a torn tail left.
    pub fn continues(&mut self, at: usize) {
        self.own = Some(at);
    }

    /// Notes `data` at `at`; `state` is the checksum of what its record has before it. Returns the
    /// record's checksum. `each` gets the data piece by piece, while it is in the processor's cache.
    pub fn add(
        &mut self,
        at: usize,
        data: &[u8],
        state: u32,
        mut each: impl FnMut(usize, &[u8]),
    ) -> u32 {
        let states = self.states.len();
        self.states.push(state);
        let mut crc = state;
        for (i, piece) in data.chunks(STEP).enumerate() {
            crc = crc32c::crc32c_append(crc, piece);
            self.states.push(crc);
            each(i * STEP, piece);
        }
        self.data.push(Data {
            at,
            bytes: data.len(),
            states,
            damaged: false,
        });
        crc
    }

    /// Do the bytes [from, to) of the segment match?
    pub fn check(&self, segment: &[u8], from: usize, to: usize) -> Found {
        let after = self.data.partition_point(|data| data.at <= from);
        let Some(data) = after.checked_sub(1).map(|i| &self.data[i]) else {
            return self.missing();
        };
        if to > data.at + data.bytes {
            return if from < data.at + data.bytes {
                Found::Damaged
            } else {
                self.missing()
            };
        }
        if data.damaged || to > segment.len() {
            return Found::Damaged;
        }
        let first = (from - data.at) / STEP;
        let last = (to - data.at).div_ceil(STEP);
        let end = data.bytes.min(last * STEP);
        if self.matches(data, first, &segment[data.at + first * STEP..data.at + end]) {
            Found::Sound
        } else {
            Found::Damaged
        }
    }

    /// Do bytes of a record's data from step `first` on match?
    fn matches(&self, data: &Data, first: usize, bytes: &[u8]) -> bool {
        let states = &self.states[data.states + first..];
        bytes
            .chunks(STEP)
            .zip(states)
            .zip(&states[1..])
            .all(|((piece, before), after)| crc32c::crc32c_append(*before, piece) == *after)
    }

    fn missing(&self) -> Found {
        if self.whole {
            Found::Damaged
        } else {
            Found::Unknown
        }
    }

    /// Is all noted that stands in the segment?
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Takes over what `earlier` knows of the part that this process did not write.
    pub fn complete(&mut self, earlier: Self) {
        if self.whole {
            return;
        }
        let own = std::mem::take(self);
        let end = own.own.unwrap_or(usize::MAX);
        let kept = earlier.data.partition_point(|data| data.at < end);
        let states = earlier
            .data
            .get(kept)
            .map_or(earlier.states.len(), |data| data.states);
        self.data = earlier.data;
        self.data.truncate(kept);
        self.states = earlier.states;
        self.states.truncate(states);
        self.data.extend(own.data.into_iter().map(|data| Data {
            states: data.states + states,
            ..data
        }));
        self.states.extend(own.states);
        self.own = own.own;
        self.whole = true;
    }

    /// Data of records that does not match in `segment`: [from, to).
    pub fn damaged(&self, mut segment: impl Bytes) -> io::Result<Vec<(usize, usize)>> {
        let mut found = Vec::new();
        for data in &self.data {
            let (from, to) = (data.at, data.at + data.bytes);
            let sound = !data.damaged
                && to <= segment.len()
                && self.matches(data, 0, segment.get(from, to)?);
            if !sound {
                found.push((from, to));
            }
        }
        Ok(found)
    }

    /// Reads the records of a segment (LOG.md), damaged ones included: a record tells where the next
    /// one stands, and behind one that does not, the next one is searched.
    pub fn of(mut segment: impl Bytes) -> io::Result<Self> {
        let mut sums = Self {
            whole: true,
            ..Self::default()
        };
        let bytes = segment.len();
        let header = segment.get(0, SEGMENT_HEADER.min(bytes))?;
        let mut before = word(header, 4);
        let mut number = long(header, 24).map(|first| first.wrapping_sub(1));
        let mut at = SEGMENT_HEADER;
        while at + RECORD_HEADER <= bytes {
            let header = segment.get(at, at + RECORD_HEADER)?;
            let Some(record) = Record::at(header, at, bytes, number) else {
                before = None;
                at += 8;
                continue;
            };
            let head = segment.get(at + 8, at + RECORD_HEADER + record.mutations)?;
            let state = crc32c::crc32c_append(before.unwrap_or(0), head);
            let data = segment.get(record.data_at, record.data_at + record.data)?;
            let crc = sums.add(record.data_at, data, state, |_, _| {});
            if let Some(last) = sums.data.last_mut() {
                last.damaged = before.is_none() || crc != record.crc;
            }
            before = Some(record.crc);
            number = Some(record.number);
            at = record.end;
        }
        Ok(sums)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Arc;

    use super::*;
    use crate::record::RECORD_MAGIC;
    use crate::window::{WINDOW, Window};

    #[test]
    fn a_range_is_checked_without_the_rest_of_its_record() {
        let mut segment = vec![7u8; 64 * 1024];
        let mut sums = Sums::default();
        sums.start();
        let (small, large) = (100..900, 8192..8192 + 5 * STEP + 10);
        sums.add(small.start, &segment[small.clone()], 1, |_, _| {});
        sums.add(large.start, &segment[large.clone()], 2, |_, _| {});
        for range in [&small, &large] {
            assert_eq!(sums.check(&segment, range.start, range.end), Found::Sound);
            assert_eq!(sums.check(&segment, range.end - 3, range.end), Found::Sound);
            assert_eq!(
                sums.check(&segment, range.end - 3, range.end + 1),
                Found::Damaged
            );
        }
        segment[8192 + 2 * STEP] ^= 1;
        let at = large.start;
        assert_eq!(
            sums.check(&segment, at + 2 * STEP + 5, at + 2 * STEP + 6),
            Found::Damaged
        );
        assert_eq!(sums.check(&segment, at, at + 2 * STEP), Found::Sound);
        assert_eq!(sums.check(&segment, at + 3 * STEP, large.end), Found::Sound);
        assert_eq!(
            sums.damaged(&segment[..]).unwrap(),
            vec![(large.start, large.end)]
        );
        assert_eq!(sums.check(&segment, 10, 20), Found::Damaged);
    }

    #[test]
    fn a_window_over_a_file_shows_what_the_whole_segment_does() {
        let mut segment: Vec<u8> = (0..4 << 20).map(|i: usize| ((i * i) >> 5) as u8).collect();
        let mut at = SEGMENT_HEADER;
        let mut before = u32::from_le_bytes(segment[4..8].try_into().unwrap());
        segment[24..32].copy_from_slice(&1u64.to_le_bytes());
        for (i, data) in [100, WINDOW - 500, WINDOW + 70_000, 5000, 0, 9]
            .iter()
            .enumerate()
        {
            let data_at = at + RECORD_HEADER + 16;
            let header = &mut segment[at..at + RECORD_HEADER];
            header[..4].copy_from_slice(RECORD_MAGIC);
            header[8..12].copy_from_slice(&16u32.to_le_bytes());
            header[12..16].copy_from_slice(&(*data as u32).to_le_bytes());
            header[16..24].copy_from_slice(&(i as u64 + 1).to_le_bytes());
            header[48..52].copy_from_slice(&(RECORD_HEADER as u32 + 16).to_le_bytes());
            before = crc32c::crc32c_append(before, &segment[at + 8..data_at + data]);
            segment[at + 4..at + 8].copy_from_slice(&before.to_le_bytes());
            // What lies between two records is searched for the next.
            at = (data_at + data).next_multiple_of(8) + 8 * (i / 4);
        }
        let mut flipped = segment.clone();
        flipped[WINDOW + WINDOW / 2] ^= 1;

        let path = std::env::temp_dir().join(format!("tuskfs-sums-{}", std::process::id()));
        std::fs::write(&path, &flipped).unwrap();
        let file = Arc::new(File::open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        let window = || Window::new(Arc::clone(&file), flipped.len());

        let whole = Sums::of(&segment[..]).unwrap();
        assert_eq!(whole.data.len(), 6);
        let wrong = whole.damaged(&flipped[..]).unwrap();
        let damaged = |index: usize| {
            (
                whole.data[index].at,
                whole.data[index].at + whole.data[index].bytes,
            )
        };
        // What is not known to follow on is not trusted.
        assert_eq!(whole.damaged(&segment[..]).unwrap(), [damaged(5)]);
        assert_eq!(wrong, whole.damaged(window()).unwrap());
        assert!(wrong.contains(&damaged(2)));
        let (slow, quick) = (Sums::of(window()).unwrap(), Sums::of(&flipped[..]).unwrap());
        assert_eq!(slow.states, quick.states);
        assert_eq!(
            slow.damaged(window()).unwrap(),
            quick.damaged(&flipped[..]).unwrap()
        );
    }

    #[test]
    fn what_was_there_before_is_unknown_until_it_is_completed() {
        let segment = vec![3u8; 4096];
        let mut sums = Sums::default();
        sums.continues(1900);
        sums.add(2000, &segment[2000..2100], 5, |_, _| {});
        assert_eq!(sums.check(&segment, 100, 110), Found::Unknown);
        let mut earlier = Sums::default();
        earlier.start();
        earlier.add(100, &segment[100..200], 9, |_, _| {});
        earlier.add(2000, &segment[2000..2001], 9, |_, _| {});
        sums.complete(earlier);
        assert_eq!(sums.check(&segment, 100, 200), Found::Sound);
        assert_eq!(sums.check(&segment, 2000, 2100), Found::Sound);
        assert_eq!(sums.check(&segment, 300, 310), Found::Damaged);
    }

    #[test]
    fn what_a_torn_tail_left_behind_is_gone_once_it_is_written_over() {
        let mut segment = vec![0u8; 16 * 1024];
        let record = |segment: &mut [u8], at: usize, number: u64, before: u32, data: usize| {
            let end = at + RECORD_HEADER + data;
            segment[at..at + 4].copy_from_slice(RECORD_MAGIC);
            segment[at + 8..at + 12].fill(0);
            segment[at + 12..at + 16].copy_from_slice(&(data as u32).to_le_bytes());
            segment[at + 16..at + 24].copy_from_slice(&number.to_le_bytes());
            segment[at + 48..at + 52].copy_from_slice(&(RECORD_HEADER as u32).to_le_bytes());
            let crc = crc32c::crc32c_append(before, &segment[at + 8..end]);
            segment[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
            (end, crc)
        };
        segment[24..32].copy_from_slice(&1u64.to_le_bytes());
        let (end, crc) = record(&mut segment, SEGMENT_HEADER, 1, 0, 512);
        // Record 2 was lost; 3 is left of what followed it.
        record(&mut segment, end + 64, 3, 77, 4096);
        let left = Sums::of(&segment[..]).unwrap();
        assert_eq!(left.data.len(), 2);

        let mut after = segment.clone();
        let (mut at, mut before) = (end, crc);
        for number in 2..6 {
            (at, before) = record(&mut after, at, number, before, 0);
        }
        let (last, _) = record(&mut after, at, 6, before, 512);
        let data = at + RECORD_HEADER..last;
        let state = crc32c::crc32c_append(before, &after[at + 8..data.start]);
        for verified_first in [true, false] {
            let mut sums = Sums::default();
            sums.continues(end);
            if verified_first {
                sums.complete(left.clone());
            }
            sums.add(data.start, &after[data.clone()], state, |_, _| {});
            sums.complete(left.clone());
            assert_eq!(sums.check(&after, data.start, data.end), Found::Sound);
            assert_eq!(sums.damaged(&after[..]).unwrap(), []);
        }
    }
}
