//! Whether probabilities mean what they say: histograms of the probability integral transform, coverage and reliability.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal};

/// Bins of histograms and of reliability tables.
pub(super) const BINS: usize = 10;

/// Probabilities of the central intervals whose coverage is counted.
pub(super) const LEVELS: [f64; 3] = [0.5, 0.8, 0.95];

/// How many targets lay in central intervals of their forecasts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Coverage {
    /// Probability of the interval.
    pub level: f64,
    /// Share of the targets in it; of counts, whose intervals hold at least their probability, calibrated ones are above it too.
    pub covered: f64,
    /// Its standard error, clustered by task.
    pub covered_se: Option<f64>,
}

/// Trials whose probability of success was said to be in one tenth of (0, 1).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reliability {
    /// Lower end of the predicted probabilities.
    pub from: f64,
    /// Their upper end, which belongs to the next bin but for the last.
    pub to: f64,
    /// Number of trials.
    pub trials: f64,
    /// Mean predicted probability; none without trials.
    pub predicted: Option<f64>,
    /// Share of successes.
    pub observed: Option<f64>,
    /// Lower end of Wilson's 95 % interval of the probability of success, as if trials were independent.
    pub lower: Option<f64>,
    /// Its upper end.
    pub upper: Option<f64>,
}

/// Wilson's score interval of a probability of which `successes` of `trials` came, of that level (Wilson 1927): the probabilities that a test
/// by the normal distribution does not reject.
///
/// ```
/// // R's prop.test(3, 10, correct = FALSE).
/// let (lower, upper) = cognate::wilson_interval(3.0, 10.0, 0.95);
/// assert!((lower - 0.107_791_267_406_301_04).abs() < 1e-14 && (upper - 0.603_221_852_538_854_5).abs() < 1e-14);
/// ```
pub fn wilson_interval(successes: f64, trials: f64, level: f64) -> (f64, f64) {
    let z = Normal::standard().inverse_cdf(0.5 + 0.5 * level);
    let (share, square) = (successes / trials, z * z / trials);
    let centre = share + 0.5 * square;
    let reach = z * (share * (1.0 - share) / trials + 0.25 * square / trials).sqrt();
    (((centre - reach) / (1.0 + square)).max(0.0), ((centre + reach) / (1.0 + square)).min(1.0))
}

/// Whether the central interval of that probability holds a target with P(Y < y) and P(Y <= y).
pub(super) fn holds(level: f64, (below, at): (f64, f64)) -> bool {
    let outside = 0.5 - 0.5 * level;
    at >= outside && below < 1.0 - outside
}

/// Shares of the rows in tenths of (0, 1), a row with P(Y < y) and P(Y <= y) spread evenly between the two (Czado, Gneiting and Held 2009).
pub(super) fn histogram(pit: &[(f64, f64)]) -> Vec<f64> {
    let mut bins = vec![0.0; BINS];
    for (below, at) in pit {
        let reached = |u: f64| if at > below { ((u - below) / (at - below)).clamp(0.0, 1.0) } else { f64::from(u8::from(u > *at)) };
        let ends: Vec<f64> = (0..=BINS).map(|k| if k == BINS { 1.0 } else { reached(k as f64 / BINS as f64) }).collect();
        bins.iter_mut().enumerate().for_each(|(k, bin)| *bin += (ends[k + 1] - if k == 0 { 0.0 } else { ends[k] }) / pit.len() as f64);
    }
    bins
}

/// Of predicted probabilities with trials and successes.
pub(super) fn reliability(rows: &[(f64, f64, f64)]) -> Vec<Reliability> {
    let mut sums = [(0.0, 0.0, 0.0); BINS];
    for (p, trials, successes) in rows {
        let bin = &mut sums[((p * BINS as f64) as usize).min(BINS - 1)];
        *bin = (bin.0 + trials * p, bin.1 + trials, bin.2 + successes);
    }
    let bin = |(k, (expected, trials, successes)): (usize, &(f64, f64, f64))| {
        let some = |value: f64| (*trials > 0.0).then_some(value);
        let (lower, upper) = wilson_interval(*successes, *trials, 0.95);
        Reliability {
            from: k as f64 / BINS as f64,
            to: (k + 1) as f64 / BINS as f64,
            trials: *trials,
            predicted: some(expected / trials),
            observed: some(successes / trials),
            lower: some(lower),
            upper: some(upper),
        }
    };
    sums.iter().enumerate().map(bin).collect()
}

/// Probability that of a success and a failure, drawn from all trials, the success was predicted to be likelier, ties counting half
/// (Mann and Whitney 1947): of predicted probabilities with trials and successes. None where there are not both. O(n log n).
pub(super) fn auc(rows: &[(f64, f64, f64)]) -> Option<f64> {
    let mut order: Vec<&(f64, f64, f64)> = rows.iter().collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut pairs, mut failures, mut successes) = (0.0, 0.0, 0.0);
    for tied in order.chunk_by(|a, b| a.0 == b.0) {
        let won: f64 = tied.iter().map(|row| row.2).sum();
        let lost: f64 = tied.iter().map(|row| row.1 - row.2).sum();
        pairs += won * (failures + 0.5 * lost);
        failures += lost;
        successes += won;
    }
    (failures > 0.0 && successes > 0.0).then(|| pairs / (failures * successes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// R's prop.test(x, n, correct = FALSE)$conf.int, all digits.
    #[test]
    fn wilson_intervals_are_those_of_r() {
        for (successes, trials, lower, upper) in [
            (3.0, 10.0, 0.107_791_267_406_301_04, 0.603_221_852_538_854_5),
            (0.0, 7.0, 0.0, 0.354_330_435_066_687_3),
            (5.0, 5.0, 0.565_517_535_216_825_4, 1.0),
            (412.0, 5000.0, 0.075_095_049_219_943_32, 0.090_346_135_444_568_39),
        ] {
            let own = wilson_interval(successes, trials, 0.95);
            assert!((own.0 - lower).abs() < 1e-14 && (own.1 - upper).abs() < 1e-14, "{own:?}");
        }
    }

    /// An even histogram of points in the middle of bins, of whole intervals and of both ends.
    #[test]
    fn histograms_share_rows_out() {
        let close = |found: Vec<f64>, expected: [f64; 10]| found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-14);
        assert!(close(histogram(&(0..10).map(|k| (0.05 + 0.1 * f64::from(k), 0.05 + 0.1 * f64::from(k))).collect::<Vec<_>>()), [0.1; 10]));
        assert!(close(histogram(&[(0.0, 1.0)]), [0.1; 10]));
        let part = [0.0, 0.0, 0.0, 0.1, 0.4, 0.4, 0.1, 0.0, 0.0, 0.0];
        assert!(close(histogram(&[(0.375, 0.625)]), part), "{:?}", histogram(&[(0.375, 0.625)]));
        let ends = [0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5];
        assert!(close(histogram(&[(0.0, 0.0), (1.0, 1.0)]), ends));
    }

    #[test]
    fn reliability_counts_trials_by_their_probability() {
        let table = reliability(&[(0.31, 4.0, 1.0), (0.39, 6.0, 2.0), (1.0, 1.0, 1.0), (0.0, 2.0, 0.0)]);
        assert_eq!(table.len(), 10);
        let bin = table[3];
        assert_eq!((bin.trials, bin.observed), (10.0, Some(0.3)));
        assert!((bin.predicted.unwrap() - 0.358).abs() < 1e-15 && (bin.lower.unwrap() - 0.107_791_267_406_301_04).abs() < 1e-14);
        assert_eq!((table[0].trials, table[9].trials, table[5].trials, table[5].lower), (2.0, 1.0, 0.0, None));
    }

    proptest! {
        /// Against all pairs.
        #[test]
        fn auc_is_the_share_of_pairs_in_order(rows in proptest::collection::vec((0..6u8, 1..4u8, 0..4u8), 1..20)) {
            let rows: Vec<(f64, f64, f64)> =
                rows.into_iter().map(|(p, trials, won)| (f64::from(p) / 6.0, trials.into(), won.min(trials).into())).collect();
            let (mut ordered, mut pairs) = (0.0, 0.0);
            for won in &rows {
                for lost in &rows {
                    let count = won.2 * (lost.1 - lost.2);
                    pairs += count;
                    ordered += count * if won.0 > lost.0 { 1.0 } else if won.0 == lost.0 { 0.5 } else { 0.0 };
                }
            }
            match auc(&rows) {
                Some(found) => prop_assert!((found - ordered / pairs).abs() < 1e-13),
                None => prop_assert_eq!(pairs, 0.0),
            }
        }
    }
}
