//! Rows of several tasks with the same features, which may be rows of the same units that nobody said were.

use super::Rows;
use rustc_hash::FxHasher;
use std::hash::Hasher;

/// Rows of a task that must be like those of others: a design of few points is often the same in all tasks.
const LEAST: usize = 20;

/// Most rows that are looked at: a share of them, the same in every task, by their features.
const MOST: usize = 1 << 20;

/// The tasks of which at least half of the rows have features that no other row of theirs has, and a row of another task does.
/// O(n d + n log n).
pub(super) fn tasks(rows: &Rows, keep: impl Fn(usize) -> bool) -> Vec<usize> {
    if rows.features().is_empty() || !rows.units().is_empty() || rows.names().len() < 2 {
        return Vec::new();
    }
    let mask = (rows.len() / MOST + 1).next_power_of_two() as u64 - 1;
    let mut seen: Vec<(u64, usize)> = Vec::new();
    let mut looked = vec![0; rows.names().len()];
    for i in (0..rows.len()).filter(|i| keep(*i)) {
        let mut hasher = FxHasher::default();
        rows.x(i).iter().for_each(|value| hasher.write_u64(value.to_bits()));
        let hash = hasher.finish();
        if hash & mask == 0 {
            seen.push((hash, rows.task(i)));
            looked[rows.task(i)] += 1;
        }
    }
    seen.sort_unstable();
    let mut shared = vec![0; looked.len()];
    for same in seen.chunk_by(|a, b| a.0 == b.0) {
        let own: Vec<&[(u64, usize)]> = same.chunk_by(|a, b| a.1 == b.1).collect();
        if own.len() > 1 {
            own.iter().filter(|rows| rows.len() == 1).for_each(|rows| shared[rows[0].1] += 1);
        }
    }
    (0..looked.len()).filter(|t| shared[*t] >= LEAST && 2 * shared[*t] >= looked[*t]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tasks 0 and 1 on the same thirty places, task 2 on others, task 3 thirty times on one of them.
    #[test]
    fn tasks_on_the_same_places_are_found_and_no_others() {
        let mut rows = Rows::new("y", &["x", "z"]);
        for i in 0..30 {
            let place = [f64::from(i) * 0.37, f64::from(i * i % 17)];
            for (task, x) in [("0", place), ("1", place), ("2", [place[0] + 0.01, place[1]]), ("3", [0.37, 1.0])] {
                rows.push(task, &x, f64::from(i), 1.0).unwrap();
            }
        }
        assert_eq!(tasks(&rows, |_| true), [0, 1]);
        assert!(tasks(&rows, |i| i < 60).is_empty());
    }
}
