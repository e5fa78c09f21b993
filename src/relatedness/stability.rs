//! How far what is said of the tasks' relations moves when some of the rows, or the seed, are others.

use super::MOST_PAIRED;
use crate::compare::{stratified, with_rows};
use crate::error::{Error, Result};
use crate::model::{Fit, Intervals, Model};
use crate::tasks::{Design, Rows};
use nalgebra::DMatrix;
use serde::Serialize;

/// Most pairs that are listed.
const MOST_LISTED: usize = 10_000;

/// A fit beside refits without a part of the rows each, and beside refits to all rows with other seeds where something is drawn.
#[derive(Clone, Debug, Serialize)]
pub struct Stability {
    /// Parts of the rows, each left out once: every task's rows are dealt out evenly.
    pub parts: usize,
    /// How far refits without a part are from the fit.
    pub rows: Moved,
    /// How far refits with other seeds are, as many as parts; none of structures that draw nothing.
    pub seeds: Option<Moved>,
}

/// How far refits are from a fit. Of clusters it is who belongs together that moves, of a task graph the edges too, else correlations.
#[derive(Clone, Debug, Serialize)]
pub struct Moved {
    /// How many refits there are.
    pub refits: usize,
    /// Root mean square over pairs and refits of how far correlations are from those of the fit; none of clusters.
    pub moved: Option<f64>,
    /// Root mean square of the correlations of the fit.
    pub size: Option<f64>,
    /// Mean over the refits of the adjusted Rand index (Hubert and Arabie 1985) between likeliest clusters in the refit and in the fit, tasks of none being a cluster: 1
    /// where they are the same, 0 where they agree as chance would have it.
    pub adjusted_rand: Option<f64>,
    /// The lowest of them.
    pub lowest_rand: Option<f64>,
    /// Edges of the fit, where it has a sparse task graph.
    pub edges: Option<usize>,
    /// How many of these a refit has, on average.
    pub edges_kept: Option<f64>,
    /// How many others it has, on average.
    pub edges_new: Option<f64>,
    /// Every pair, the largest correlation first (of clusters none; at most 10,000).
    pub pairs: Vec<MovedPair>,
}

/// A pair of tasks in the refits.
#[derive(Clone, Debug, Serialize)]
pub struct MovedPair {
    /// The first task.
    pub first: String,
    /// The second.
    pub second: String,
    /// The correlation of the fit.
    pub correlation: f64,
    /// The lowest of the refits.
    pub low: f64,
    /// The highest.
    pub high: f64,
}

/// Refits without each of `parts` parts of the rows, and where the structure draws (graphs their edges, clusters their starts) as often with other seeds. `make`
/// makes the model of `fit` with another seed. As many fits, one after another; the same whatever the thread count.
///
/// Refits without a part share most of their rows, so that their spread is less than that of fits to rows of their own: it says what depends on few rows, and
/// is no standard error.
///
/// # Errors
/// [`Error::Arguments`] for fewer than two parts, tasks that have one row each, structures that estimate nothing of how tasks are related and more than 500 tasks;
/// what [`Model::fit`] refuses.
///
/// ```
/// use cognate::{Design, FeatureCovariance, Full, Gaussian, Model, Rows, relatedness::stability};
/// let mut rows = Rows::new("y", &["a", "b", "c"]);
/// for i in 0..240u32 {
///     let (t, x) = (i % 6, (0..3).map(|k| f64::from((i / 6 * (2 * k + 3) + k) % 11) - 5.0).collect::<Vec<_>>());
///     let sign = if t % 2 == 0 { 1.0 } else { -1.0 };
///     rows.push(&t.to_string(), &x, x.iter().map(|x| sign * x).sum::<f64>() + f64::from(i % 7), 1.0)?;
/// }
/// let design = Design::varying(rows.features());
/// let make = |_seed: u64| Ok(Model::new(Gaussian::default(), Full::new(FeatureCovariance::Scalar)));
/// let fit = make(0)?.fit(&rows.tasks(&design))?;
/// let stability = stability(&rows, &design, &fit, (5, 0), &make)?;
/// // Nothing is drawn, and the signs are plain whichever rows are left out.
/// assert!(stability.seeds.is_none() && stability.rows.refits == 5);
/// assert!(stability.rows.moved.unwrap() < 0.1 * stability.rows.size.unwrap());
/// # Ok::<(), cognate::Error>(())
/// ```
pub fn stability(
    rows: &Rows,
    design: &Design,
    fit: &Fit,
    (parts, seed): (usize, u64),
    make: &dyn Fn(u64) -> Result<Model>,
) -> Result<Stability> {
    let is_learned = fit.learns_relatedness() || fit.memberships().is_some() || fit.prior().kernel.is_some();
    let problem = match fit.structure() {
        _ if parts < 2 => format!("--stability={parts} leaves nothing to refit; give at least 2 parts"),
        _ if parts > rows.len() => format!("--stability={parts} has more parts than there are rows; give at most {}", rows.len()),
        structure if !is_learned => format!(
            "the structure '{structure}' estimates nothing of how tasks are related, so that there is nothing to be stable; leave --stability out, or fit with \
             --structure clusters, factor, graph, full or kernel"
        ),
        _ if fit.tasks().len() > MOST_PAIRED => format!("{} tasks have too many pairs for --stability; leave it out", fit.tasks().len()),
        _ => String::new(),
    };
    if !problem.is_empty() {
        return Err(Error::Arguments(problem));
    }
    let fold = stratified(rows, parts, (seed, 0));
    if fold.iter().all(Option::is_none) {
        return Err(Error::Arguments("every task has one row only, of which no part can be left out; leave --stability out".into()));
    }
    let refit =
        |seed: u64, keep: &dyn Fn(usize) -> bool| make(seed)?.intervals(Intervals::PlugIn).fit(&with_rows(rows.subset(keep), design)?);
    let parts_with_rows = (0..parts).filter(|k| fold.contains(&Some(*k)));
    let without = parts_with_rows.map(|k| refit(seed, &|i| fold[i] != Some(k))).collect::<Result<Vec<_>>>()?;
    let draws = matches!(fit.structure(), "clusters" | "graph");
    let others = (1..=if draws { parts as u64 } else { 0 }).map(|k| refit(seed.wrapping_add(k), &|_| true)).collect::<Result<Vec<_>>>()?;
    Ok(Stability { parts, rows: Moved::of(fit, &without), seeds: draws.then(|| Moved::of(fit, &others)) })
}

impl Moved {
    fn of(fit: &Fit, refits: &[Fit]) -> Self {
        let count = refits.len().max(1) as f64;
        let mean = |of: &dyn Fn(&Fit) -> f64| refits.iter().map(of).sum::<f64>() / count;
        let mut all = Moved {
            refits: refits.len(),
            moved: None,
            size: None,
            adjusted_rand: None,
            lowest_rand: None,
            edges: None,
            edges_kept: None,
            edges_new: None,
            pairs: Vec::new(),
        };
        if fit.memberships().is_some() {
            let agreement = |refit: &Fit| adjusted_rand(&clusters(fit, fit), &clusters(fit, refit));
            all.adjusted_rand = Some(mean(&agreement));
            all.lowest_rand = refits.iter().map(agreement).min_by(f64::total_cmp);
            return all;
        }
        if fit.structure() == "graph" {
            let own = edges(fit);
            all.edges = Some(own.len());
            all.edges_kept = Some(mean(&|refit| edges(refit).iter().filter(|edge| own.contains(edge)).count() as f64));
            all.edges_new = Some(mean(&|refit| edges(refit).iter().filter(|edge| !own.contains(edge)).count() as f64));
        }
        let (Some(own), each) = (fit.relatedness(), refits.iter().filter_map(|refit| in_order(fit, refit)).collect::<Vec<_>>()) else {
            return all;
        };
        if each.is_empty() {
            return all;
        }
        let (names, tasks) = (fit.tasks().names(), fit.tasks().len());
        let (mut squares, mut sizes) = (0.0, 0.0);
        for t in 0..tasks {
            for s in 0..t {
                let correlation = own[(s, t)];
                let values = each.iter().map(|all| all[(s, t)]);
                squares += values.clone().map(|value| (value - correlation).powi(2)).sum::<f64>();
                sizes += correlation * correlation;
                let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
                all.pairs.push(MovedPair { first: names[s].clone(), second: names[t].clone(), correlation, low, high });
            }
        }
        let pairs = all.pairs.len().max(1) as f64;
        all.moved = Some((squares / (pairs * each.len() as f64)).sqrt());
        all.size = Some((sizes / pairs).sqrt());
        all.pairs.sort_by(|a, b| b.correlation.abs().total_cmp(&a.correlation.abs()));
        all.pairs.truncate(MOST_LISTED);
        all
    }
}

/// The likeliest cluster of every task of the fit in the refit.
fn clusters(fit: &Fit, refit: &Fit) -> Vec<Option<usize>> {
    fit.tasks().names().iter().map(|name| refit.task_number(name).and_then(|t| refit.cluster_of(t))).collect()
}

/// The edges of the task graph by the names of their tasks.
fn edges(fit: &Fit) -> Vec<(String, String)> {
    let graph = fit.graph();
    let name = |t: usize| graph.node(t).task.clone();
    graph.edges().map(|(s, t, _)| (name(s), name(t))).map(|(a, b)| if a < b { (a, b) } else { (b, a) }).collect()
}

/// The correlations of a refit in the order of the tasks of the fit.
fn in_order(fit: &Fit, refit: &Fit) -> Option<DMatrix<f64>> {
    let all = refit.relatedness()?;
    let places = fit.tasks().names().iter().map(|name| refit.task_number(name)).collect::<Option<Vec<_>>>()?;
    Some(DMatrix::from_fn(places.len(), places.len(), |s, t| all[(places[s], places[t])]))
}

/// The adjusted Rand index of two partitions of the same things; 1 where both are the same, also where there is one part only.
fn adjusted_rand(first: &[Option<usize>], second: &[Option<usize>]) -> f64 {
    let pairs = |n: usize| (n * n.saturating_sub(1)) as f64 / 2.0;
    let parts = |of: &[Option<usize>]| -> Vec<Option<usize>> {
        let mut all = of.to_vec();
        all.sort_unstable();
        all.dedup();
        all
    };
    let (rows, columns) = (parts(first), parts(second));
    let size = |of: &[Option<usize>], part: &Option<usize>| of.iter().filter(|own| *own == part).count();
    let both = |a: &Option<usize>, b: &Option<usize>| first.iter().zip(second).filter(|(own, other)| *own == a && *other == b).count();
    let together: f64 = rows.iter().flat_map(|a| columns.iter().map(move |b| (a, b))).map(|(a, b)| pairs(both(a, b))).sum();
    let (own, other): (f64, f64) = (rows.iter().map(|a| pairs(size(first, a))).sum(), columns.iter().map(|b| pairs(size(second, b))).sum());
    let (chance, most) = (own * other / pairs(first.len()).max(1.0), 0.5 * (own + other));
    if most > chance { (together - chance) / (most - chance) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As counted pair by pair, and its ends.
    #[test]
    fn the_adjusted_rand_index_is_that_of_the_table() {
        let of = |parts: [usize; 10]| parts.map(Some).to_vec();
        let (first, second) = (of([0, 0, 0, 1, 1, 1, 2, 2, 2, 2]), of([0, 1, 0, 1, 1, 2, 2, 2, 0, 2]));
        let count = |of: &[Option<usize>], s: usize, t: usize| usize::from(of[s] == of[t]);
        let (mut together, mut own, mut other) = (0.0, 0.0, 0.0);
        for t in 0..10 {
            for s in 0..t {
                together += (count(&first, s, t) * count(&second, s, t)) as f64;
                own += count(&first, s, t) as f64;
                other += count(&second, s, t) as f64;
            }
        }
        let chance = own * other / 45.0;
        assert!((adjusted_rand(&first, &second) - (together - chance) / (0.5 * (own + other) - chance)).abs() < 1e-12);
        assert_eq!(adjusted_rand(&first, &of([7, 7, 7, 3, 3, 3, 9, 9, 9, 9])), 1.0);
        assert_eq!(adjusted_rand(&[Some(0); 4], &[None; 4]), 1.0);
    }
}
