//! How well the clusters that were found are those that there are.

use cognate::Fit;

/// Adjusted Rand index of the likeliest clusters, none being one more, against the kind of each task (Hubert and Arabie 1985).
pub fn rand_index(fit: &Fit, kind: impl Fn(usize) -> usize) -> f64 {
    let tasks = fit.tasks().len();
    let of = |t: usize| (fit.cluster_of(t), kind(t));
    let pairs = || (0..tasks).flat_map(|t| (0..t).map(move |s| (s, t)));
    let count = |same: &dyn Fn(usize, usize) -> bool| pairs().filter(|(s, t)| same(*s, *t)).count() as f64;
    let both = count(&|s, t| of(s) == of(t));
    let (found, known) = (count(&|s, t| of(s).0 == of(t).0), count(&|s, t| of(s).1 == of(t).1));
    let expected = found * known / pairs().count() as f64;
    (both - expected) / (0.5 * (found + known) - expected)
}
