//! One-dimensional Reed–Solomon over GF(2^16) (Leopard's; see `reed_solomon_simd::algorithm`). The
//! transforms are that crate's; their order, and what of them our counts need, is written here.
//! Work is done in rows of some blocks, a row a symbol.

use reed_solomon_simd::engine::{Engine, GF_ORDER, GfElement, ShardsRefMut, tables, utils};

use crate::blocks::Block;
use crate::reed_solomon::Indexed;

/// The code from `source` symbols to `count`.
pub(crate) struct Code<E> {
    pub(crate) source: usize,
    recovery: usize,
    /// Positions below this are those of the fewer kind, source or recovery symbols, and unused
    /// ones; the others stand from here on.
    chunk: usize,
    /// Are the recovery symbols the fewer ("high rate")?
    high: bool,
    pub(crate) engine: E,
}

impl<E: Engine + Default> Code<E> {
    /// Counts as `Shards` has them.
    pub(crate) fn new(source: usize, count: usize) -> Self {
        let recovery = count - source;
        let (wide, narrow) = (source.next_power_of_two(), recovery.next_power_of_two());
        // As the reference has it, also where both are alike.
        let high = wide > narrow || (wide == narrow && source <= recovery);
        Self {
            source,
            recovery,
            chunk: if high { narrow } else { wide },
            high,
            engine: E::default(),
        }
    }

    /// Rows that `extend` works on.
    pub(crate) fn rows_to_extend(&self) -> usize {
        let more = if self.high {
            self.source
        } else {
            self.recovery
        };
        more.next_multiple_of(self.chunk)
    }

    /// Turns rows that begin with the source symbols into rows that begin with the recovery symbols.
    pub(crate) fn extend(&self, work: &mut [Block], blocks: usize) {
        let (chunk, engine) = (self.chunk, &self.engine);
        let rows = work.len() / blocks;
        let transform = |work: &mut [Block], start, held, forwards: bool, skew| {
            let mut rows = ShardsRefMut::new(rows, blocks, work);
            match forwards {
                true => engine.fft(&mut rows, start, chunk, held, skew),
                false => engine.ifft(&mut rows, start, chunk, held, skew),
            }
        };
        if self.high {
            for start in (0..self.source).step_by(chunk) {
                let held = chunk.min(self.source - start);
                work[(start + held) * blocks..(start + chunk) * blocks].fill([0; _]);
                transform(work, start, held, false, start + chunk);
                if start > 0 {
                    let (sum, part) = work.split_at_mut(start * blocks);
                    utils::xor(&mut sum[..chunk * blocks], &part[..chunk * blocks]);
                }
            }
            transform(work, 0, self.recovery, true, 0);
        } else {
            work[self.source * blocks..chunk * blocks].fill([0; _]);
            transform(work, 0, self.source, false, 0);
            for start in (chunk..self.recovery).step_by(chunk) {
                work.copy_within(..chunk * blocks, start * blocks);
            }
            for start in (0..self.recovery).step_by(chunk) {
                let held = chunk.min(self.recovery - start);
                transform(work, start, held, true, start + chunk);
            }
        }
    }

    /// The row of a symbol when restoring.
    pub(crate) fn position(&self, index: usize) -> usize {
        match index.checked_sub(self.source) {
            None if self.high => self.chunk + index,
            None => index,
            Some(at) if self.high => at,
            Some(at) => self.chunk + at,
        }
    }

    /// Where the rows of symbols end.
    fn end(&self) -> usize {
        let more = if self.high {
            self.source
        } else {
            self.recovery
        };
        self.chunk + more
    }

    /// Logarithms of what known symbols are multiplied with before they are transformed, and restored
    /// ones divided by: the polynomial over the rows that are neither known nor known to be zeros.
    pub(crate) fn factors(&self, known: &[Indexed<'_>]) -> Box<[GfElement; GF_ORDER]> {
        let mut lost = Box::new([0; GF_ORDER]);
        let end = self.end();
        if self.high {
            lost[..end].fill(1);
        } else {
            lost.fill(1);
            lost[self.source..self.chunk].fill(0);
        }
        for known in known {
            lost[self.position(known.index)] = 0;
        }
        E::eval_poly(&mut lost, if self.high { end } else { GF_ORDER });
        lost
    }

    /// Rows that `restore` works on, where those of chunks are held.
    pub(crate) fn rows_to_restore(&self, held: &[usize]) -> usize {
        match self.high {
            true => self.end().next_power_of_two(),
            false => held.len() * self.chunk,
        }
    }

    /// How many rows of each chunk there are up to its last known one, from the first chunk to the
    /// last that has any, which is not the first.
    pub(crate) fn held(&self, known: &[Indexed<'_>]) -> Vec<usize> {
        let mut held = vec![0; 2];
        for known in known {
            let row = self.position(known.index);
            let chunk = row / self.chunk;
            held.resize(held.len().max(chunk + 1), 0);
            held[chunk] = held[chunk].max(row % self.chunk + 1);
        }
        held
    }

    /// Turns rows of known symbols, multiplied with their factors, and zeros elsewhere into all rows
    /// up to `last`, to be divided by theirs.
    pub(crate) fn restore(&self, work: &mut [Block], blocks: usize, held: &[usize], last: usize) {
        match self.high {
            true => self.restore_high(work, blocks, last),
            false => self.restore_low(work, blocks, held, last),
        }
    }

    fn restore_high(&self, work: &mut [Block], blocks: usize, last: usize) {
        let rows = work.len() / blocks;
        let end = self.end();
        let engine = &self.engine;
        engine.ifft(&mut ShardsRefMut::new(rows, blocks, work), 0, rows, end, 0);
        derive(work, blocks);
        let mut shards = ShardsRefMut::new(rows, blocks, work);
        engine.fft(&mut shards, 0, rows, last + 1, 0);
    }

    /// Recovery symbols are more than a chunk, and fewer than twice the source symbols (2f of n): all
    /// rows lie in the first three of four chunks, and only the first is wanted. What the uppermost
    /// two layers of transforms over all four would make of that is put down here. Without known rows
    /// in the third, it is left out.
    fn restore_low(&self, work: &mut [Block], blocks: usize, held: &[usize], last: usize) {
        let (chunk, engine) = (self.chunk, &self.engine);
        let parts = work.chunks_exact_mut(chunk * blocks);
        for (at, (part, held)) in parts.zip(held).enumerate() {
            if *held > 0 {
                let mut rows = ShardsRefMut::new(chunk, blocks, part);
                engine.ifft(&mut rows, 0, chunk, *held, at * chunk);
            }
        }
        let (wanted, rest) = work.split_at_mut(chunk * blocks);
        let (second, third) = rest.split_at_mut(chunk * blocks);
        if held[0] > 0 {
            derive(wanted, blocks);
        }
        utils::xor(wanted, second);
        if !third.is_empty() {
            utils::xor(wanted, third);
            engine.mul(third, tables::get_skew()[3 * chunk - 1]);
            utils::xor(wanted, third);
        }
        let mut rows = ShardsRefMut::new(chunk, blocks, wanted);
        engine.fft(&mut rows, 0, chunk, last + 1, 0);
    }
}

/// The formal derivative.
fn derive(work: &mut [Block], blocks: usize) {
    for row in 1..work.len() / blocks {
        let width = 1 << row.trailing_zeros();
        let (before, after) = work.split_at_mut(row * blocks);
        utils::xor(
            &mut before[(row - width) * blocks..],
            &after[..width * blocks],
        );
    }
}
