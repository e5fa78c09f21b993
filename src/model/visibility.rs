//! How strong a relation between two tasks must be to be seen at all: the sample size of a task graph is its directions.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

/// The weakest relations that can be seen among so many tasks.
///
/// ```
/// let visibility = cognate::Visibility::new(139, 100.0);
/// assert!((visibility.half.unwrap() - 0.31).abs() < 0.01);
/// assert_eq!(cognate::Visibility::new(139, 2.5).half, None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Visibility {
    /// Directions of the feature space that an average task's own rows decide, sum_k 1 / (1 + noise / signal of k), less the
    /// average number of neighbours.
    pub effective_directions: f64,
    /// Size of the marginal correlation between two tasks that is found with probability .5; none where nothing can be.
    pub half: Option<f64>,
    /// Found with probability .8.
    pub four_fifths: Option<f64>,
}

impl Visibility {
    /// Among `tasks` tasks of which as many pairs are related, at a false discovery rate of 10 %: a correlation is found with
    /// probability .5 where Fisher's z times sqrt(directions - 3) reaches the two-sided Gaussian quantile of 2 / (9 (tasks - 1)),
    /// and .84 more for probability .8. The level lets `tasks` / 9 false pairs in beside `tasks` true ones, as if all of these were found.
    pub fn new(tasks: usize, effective_directions: f64) -> Self {
        let tasks = tasks.max(2);
        Self::among(tasks, (tasks * (tasks - 1)) as f64 / 2.0, effective_directions)
    }

    /// The same where only so many `pairs` may be related: the fewer, the weaker the relations that can be seen.
    ///
    /// ```
    /// use cognate::Visibility;
    /// assert!(Visibility::among(139, 300.0, 30.0).half.unwrap() < Visibility::new(139, 30.0).half.unwrap());
    /// ```
    pub fn among(tasks: usize, pairs: f64, effective_directions: f64) -> Self {
        let level = (tasks as f64 / (9.0 * pairs.max(1.0))).min(0.5);
        let threshold = Normal::standard().inverse_cdf(1.0 - 0.5 * level);
        let limit = |z: f64| (effective_directions > 3.0).then(|| (z / (effective_directions - 3.0).sqrt()).tanh());
        let more = Normal::standard().inverse_cdf(0.8);
        Visibility { effective_directions, half: limit(threshold), four_fifths: limit(threshold + more) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of the same limits made elsewhere, to two digits. The level above was matched to it, so the test guards the formula
    /// against change and is no independent proof of the limits.
    #[test]
    fn limits_are_those_tabulated() {
        let table = [(139, [0.83, 0.55, 0.31, 0.18]), (1_000, [0.89, 0.61, 0.36, 0.21]), (10_000, [0.92, 0.68, 0.41, 0.24])];
        for (tasks, limits) in table {
            for (directions, limit) in [10.0, 30.0, 100.0, 300.0].into_iter().zip(limits) {
                let found = Visibility::new(tasks, directions).half.unwrap();
                assert!((found - limit).abs() < 0.011, "{tasks} tasks, {directions} directions: {found} against {limit}");
            }
        }
    }
}
