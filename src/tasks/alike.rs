//! Rows of several tasks with the same features, which may be rows of the same units that nobody said were.

use rustc_hash::FxHasher;
use std::hash::Hasher;

/// Rows of a task that must be like those of others: a design of few points is often the same in all tasks.
const LEAST: usize = 20;

/// Most rows that are looked at: a share of them, the same in every task, by their features.
const MOST: usize = 1 << 20;

/// Hashes of the features of rows, as many as are looked at, and their tasks.
#[derive(Default)]
pub(crate) struct Alike {
    seen: Vec<(u64, u32)>,
    mask: u64,
}

impl Alike {
    /// Of the features of a row; four at a time, for one waits for the one before.
    #[inline(always)]
    pub(crate) fn hash(x: &[f64]) -> u64 {
        let mut hashers = [(); 4].map(|()| FxHasher::default());
        for four in x.chunks(hashers.len()) {
            hashers.iter_mut().zip(four).for_each(|(hasher, value)| hasher.write_u64(value.to_bits()));
        }
        let [mut all, others @ ..] = hashers;
        others.iter().for_each(|hasher| all.write_u64(hasher.finish()));
        all.finish()
    }

    /// The hashes of which some number of rows keeps those without these bits.
    pub(crate) fn mask(rows: usize) -> u64 {
        (rows / MOST + 1).next_power_of_two() as u64 - 1
    }

    pub(super) fn note(&mut self, x: &[f64], task: usize, rows: usize) {
        self.note_hash(Self::hash(x), task as u32, Self::mask(rows));
    }

    /// Takes up a row; the mask may grow with the number of rows.
    pub(crate) fn note_hash(&mut self, hash: u64, task: u32, mask: u64) {
        if mask > self.mask {
            self.mask = mask;
            self.seen.retain(|(hash, _)| hash & mask == 0);
        }
        if hash & mask == 0 {
            self.seen.push((hash, task));
        }
    }

    /// The tasks of which at least half of the rows have features that no other row of theirs has, and a row of another task does,
    /// of so many rows in all. O(n log n).
    pub(crate) fn tasks(mut self, rows: usize) -> Vec<usize> {
        let mask = Self::mask(rows);
        self.seen.retain(|(hash, _)| hash & mask == 0);
        self.seen.sort_unstable();
        let count = self.seen.iter().map(|(_, task)| *task as usize + 1).max().unwrap_or(0);
        let (mut looked, mut shared) = (vec![0; count], vec![0; count]);
        self.seen.iter().for_each(|(_, task)| looked[*task as usize] += 1);
        for same in self.seen.chunk_by(|a, b| a.0 == b.0) {
            let own: Vec<&[(u64, u32)]> = same.chunk_by(|a, b| a.1 == b.1).collect();
            if own.len() > 1 {
                own.iter().filter(|rows| rows.len() == 1).for_each(|rows| shared[rows[0].1 as usize] += 1);
            }
        }
        (0..count).filter(|t| shared[*t] >= LEAST && 2 * shared[*t] >= looked[*t]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tasks 0 and 1 on the same thirty places, task 2 on others, task 3 thirty times on one of them.
    #[test]
    fn tasks_on_the_same_places_are_found_and_no_others() {
        let mut alike = [Alike::default(), Alike::default()];
        for i in 0..30 {
            let place = [f64::from(i) * 0.37, f64::from(i * i % 17)];
            for (task, x) in [place, place, [place[0] + 0.01, place[1]], [0.37, 1.0]].into_iter().enumerate() {
                alike[0].note(&x, task, 120);
                if i < 15 {
                    alike[1].note(&x, task, 120);
                }
            }
        }
        let [all, half] = alike;
        assert_eq!(all.tasks(120), [0, 1]);
        assert!(half.tasks(120).is_empty());
    }
}
