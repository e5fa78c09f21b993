//! Means of scores whose rows are not independent: clustered by task.

use std::collections::BTreeMap;

/// Weighted mean over rows and its standard error with rows clustered by task; none with fewer than two tasks.
///
/// With r_i = v_i (x_i - mean) the error is (T / (T - 1) sum_t (sum_{i of t} r_i)^2)^(1/2) / sum_i v_i. O(n log T).
pub(crate) fn clustered(values: &[f64], weights: Option<&[f64]>, tasks: &[usize]) -> (f64, Option<f64>) {
    let weight = |i: usize| weights.map_or(1.0, |all| all[i]);
    let total: f64 = (0..values.len()).map(weight).sum();
    let mean = values.iter().enumerate().map(|(i, value)| weight(i) * value).sum::<f64>() / total;
    let mut sums = BTreeMap::new();
    for (i, (value, task)) in values.iter().zip(tasks).enumerate() {
        *sums.entry(*task).or_insert(0.0) += weight(i) * (value - mean);
    }
    let clusters = sums.len() as f64;
    let spread: f64 = sums.values().map(|sum: &f64| sum * sum).sum();
    (mean, (clusters > 1.0).then(|| (spread * clusters / (clusters - 1.0)).sqrt() / total))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a task a row it is the standard error of a mean; a row of weight 2 counts like two of its task.
    #[test]
    fn errors_are_those_of_a_mean_of_tasks() {
        let values = [1.0, 4.0, 2.0, 7.0];
        let (mean, se) = clustered(&values, None, &[0, 1, 2, 3]);
        let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 3.0;
        assert!((mean - 3.5).abs() < 1e-15 && (se.unwrap() - (variance / 4.0).sqrt()).abs() < 1e-15);
        let twice = clustered(&[1.0, 1.0, 4.0, 2.0, 2.0], None, &[0, 0, 1, 2, 2]);
        let weighted = clustered(&[1.0, 4.0, 2.0], Some(&[2.0, 1.0, 2.0]), &[0, 1, 2]);
        assert!((twice.0 - weighted.0).abs() < 1e-15 && (twice.1.unwrap() - weighted.1.unwrap()).abs() < 1e-15);
        assert_eq!(clustered(&values, None, &[5; 4]), (3.5, None));
    }
}
