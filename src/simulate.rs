//! Tables drawn from a prior with the truth beside them, for studies and tests.

use crate::error::{Error, Result};
use crate::graph::TaskGraph;
use crate::linalg::{self, normal};
use crate::posterior::{draw_along, trace_along};
use crate::prior::{Mean, Prior, Relatedness};
use crate::quadratic::Quadratics;
use crate::tasks::{Coordinates, Design, Rows};
use nalgebra::DMatrix;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;
use std::ops::Range;

/// Most tasks whose covariance is made to draw from it.
const MOST_DENSE: usize = 2_000;

/// Rows and what they were drawn from.
#[derive(Clone, Debug)]
pub struct Simulated {
    /// The table.
    pub rows: Rows,
    /// The true parameters, T x d.
    pub parameters: DMatrix<f64>,
    /// Standard deviation of the noise.
    pub noise_sd: f64,
}

/// How noisy the targets are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoiseLevel {
    /// Standard deviation of the noise.
    Sd(f64),
    /// noise / signal = tr(K^+ mean_t Cov(estimate of task t)) / r: the sampling variance of a task's own least-squares
    /// estimate over its prior variance, of an average direction.
    Ratio(f64),
}

/// Which tasks are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Every task with the next.
    Chain,
    /// So many pairs at random.
    Random {
        /// How many.
        edges: usize,
    },
    /// Every sixth task with the five after it.
    Hubs,
}

/// A task graph whose partial correlations have a size in `strength` and either sign, with the same precision on the diagonal
/// everywhere, such that tr Sigma = T: a task's variance is 1 on average, and less given its neighbours. The same for the same seed. An edge that would let the precision matrix of the tasks within four steps have an eigenvalue below .1 is drawn
/// again: else some combination of tasks may vary a hundred times as much as a task does given its neighbours.
///
/// ```
/// use cognate::simulate::{Layout, task_graph};
/// let graph = task_graph(Layout::Random { edges: 8 }, &["a", "b", "c", "d", "e", "f", "g", "h"], 0.25..0.5, 1)?;
/// assert_eq!(graph.edges().count(), 8);
/// # Ok::<(), cognate::Error>(())
/// ```
///
/// # Errors
/// [`Error::Arguments`] for strengths outside (0, 1) and where no matrix with so many and so strong edges is found.
pub fn task_graph<S: AsRef<str>>(layout: Layout, tasks: &[S], strength: Range<f64>, seed: u64) -> Result<TaskGraph> {
    const TRIES: usize = 200;
    let sizes_hold = strength.start > 0.0 && strength.start < strength.end && strength.end <= 1.0;
    if !sizes_hold {
        return Err(Error::Arguments(format!(
            "partial correlations of {} to {} are none; give two different numbers in (0, 1), the smaller first",
            strength.start, strength.end
        )));
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let n = tasks.len();
    let most = n * n.saturating_sub(1) / 2;
    if let Layout::Random { edges } = layout
        && edges > most
    {
        return Err(Error::Arguments(format!("{n} tasks have {most} pairs, not {edges}; ask for fewer edges")));
    }
    let pairs: Vec<(usize, usize)> = match layout {
        Layout::Chain => (1..n).map(|t| (t - 1, t)).collect(),
        Layout::Hubs => (0..n).filter(|t| t % 6 != 0).map(|t| (t - t % 6, t)).collect(),
        Layout::Random { edges } => vec![(0, 0); edges],
    };
    let mut graph = TaskGraph::empty(tasks);
    for (s, t) in pairs {
        let mut placed = false;
        for _ in 0..TRIES {
            let (s, t) = match layout {
                Layout::Random { .. } if n > 1 => (random.random_range(0..n), random.random_range(0..n)),
                _ => (s, t),
            };
            if s == t || graph.edge(s, t).is_some() {
                continue;
            }
            let size = random.random_range(strength.clone());
            graph.connect(s, t, if random.random() { size } else { -size }, None);
            if is_sound_around(&graph, s) && is_sound_around(&graph, t) {
                placed = true;
                break;
            }
            graph.disconnect(s, t);
        }
        if !placed {
            return Err(Error::Arguments(format!(
                "no precision matrix of {n} tasks has so many edges of that strength; ask for fewer or weaker edges"
            )));
        }
    }
    match trace_along(&graph) {
        Some(trace) => Ok(graph.scaled(trace / n.max(1) as f64)),
        None => Err(Error::NotPositiveDefinite {
            matrix: "the precision matrix of the simulated tasks".into(),
            remedy: "ask for fewer or weaker edges, or another seed".into(),
        }),
    }
}

/// Whether the precision of the tasks within four steps of `t` has no eigenvalue below .1.
fn is_sound_around(graph: &TaskGraph, t: usize) -> bool {
    const LEAST: f64 = 0.1;
    let mut near = BTreeSet::from([t]);
    for _ in 0..4 {
        let further: Vec<usize> = near.iter().flat_map(|s| graph.neighbours(*s)).collect();
        near.extend(further);
    }
    let tasks: Vec<usize> = near.into_iter().collect();
    let element = |i: usize, j: usize| match (tasks[i], tasks[j]) {
        (s, t) if s == t => graph.node(s).precision - LEAST,
        (s, t) => graph.edge(s, t).map_or(0.0, |edge| edge.precision),
    };
    linalg::cholesky(DMatrix::from_fn(tasks.len(), tasks.len(), element)).is_some()
}

/// Draws parameters of `tasks` tasks from `prior` (its mean must be given) and `rows` rows of each, features x1..xd standard
/// normal without an intercept, with Gaussian noise; the same for the same seed.
///
/// ```
/// use cognate::simulate::{NoiseLevel, gaussian};
/// use cognate::{Mean, Prior, Relatedness};
/// use nalgebra::{DMatrix, DVector};
/// let prior = Prior::new(Mean::Given(DVector::zeros(2)), Relatedness::Identity, DMatrix::identity(2, 2));
/// let drawn = gaussian(&prior, 3, 10, NoiseLevel::Sd(1.0), 7)?;
/// assert_eq!((drawn.rows.len(), drawn.parameters.nrows()), (30, 3));
/// # Ok::<(), cognate::Error>(())
/// ```
///
/// # Errors
/// [`Error::Arguments`] without a given mean or for a noise level that cannot be had, [`Error::NotPositiveDefinite`] for a
/// relatedness that is no covariance.
pub fn gaussian(prior: &Prior, tasks: usize, rows: usize, noise: NoiseLevel, seed: u64) -> Result<Simulated> {
    let d = prior.mean_features.iter().chain(&prior.varying).copied().max().map_or(0, |last| last + 1);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let parameters = draw_parameters(prior, tasks, d, &mut random)?;
    let features: Vec<String> = (1..=d).map(|k| format!("x{k}")).collect();
    // Features and noise, row by row.
    let mut bare = Rows::new("y", &features);
    let mut noises = Vec::with_capacity(tasks * rows);
    for t in 0..tasks {
        let name = format!("t{}", t + 1);
        for _ in 0..rows {
            let x: Vec<f64> = (0..d).map(|_| normal(&mut random)).collect();
            bare.push(&name, &x, 0.0, 1.0)?;
            noises.push(normal(&mut random));
        }
    }
    let design = Design::varying(&features).without_intercept();
    let coordinates = Coordinates::identity(&design);
    with_targets(prior, &bare, &design, &coordinates, parameters, &noises, noise)
}

/// The rows of a table with new targets drawn from `prior`, which is over the fitted `coordinates` and has its mean given; the
/// same for the same seed. Parameters and noise are in fitted coordinates.
///
/// # Errors
/// As for [`gaussian`].
pub fn targets(prior: &Prior, rows: &Rows, design: &Design, coordinates: &Coordinates, noise: NoiseLevel, seed: u64) -> Result<Simulated> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let parameters = draw_parameters(prior, rows.names().len(), design.len(), &mut random)?;
    let noises: Vec<f64> = (0..rows.len()).map(|_| normal(&mut random)).collect();
    with_targets(prior, rows, design, coordinates, parameters, &noises, noise)
}

pub(crate) fn draw_parameters<R: Rng + ?Sized>(prior: &Prior, tasks: usize, d: usize, random: &mut R) -> Result<DMatrix<f64>> {
    let Mean::Given(mean) = &prior.mean else {
        return Err(Error::Arguments("to simulate, give the prior a mean".into()));
    };
    let z = DMatrix::from_fn(tasks, prior.factor.ncols(), |_, _| normal(random));
    let mut whitened = match &prior.relatedness {
        // No T x T matrix of so many.
        Relatedness::Identity => z.clone(),
        Relatedness::Graph(graph) if graph.len() == tasks && tasks > MOST_DENSE => draw_along(graph, z.clone())?,
        Relatedness::LowRank { loadings, uniquenesses } if loadings.nrows() == tasks && uniquenesses.len() == tasks => {
            let mut whitened = loadings * DMatrix::from_fn(loadings.ncols(), z.ncols(), |_, _| normal(random));
            z.column_iter().enumerate().for_each(|(k, own)| whitened.column_mut(k).cmpy(1.0, &uniquenesses.map(f64::sqrt), &own, 1.0));
            whitened
        }
        other => {
            let sigma = other.covariance(tasks).ok_or_else(|| Error::NotPositiveDefinite {
                matrix: "the task precision".into(),
                remedy: "make its edges weaker".into(),
            })?;
            linalg::semidefinite_factor(&sigma) * &z
        }
    };
    let related = prior.related_columns();
    (0..z.ncols()).filter(|k| !related.contains(k)).for_each(|k| whitened.set_column(k, &z.column(k)));
    let deviations = whitened * prior.factor.transpose();
    let mut parameters = DMatrix::zeros(tasks, d);
    for t in 0..tasks {
        prior.mean_features.iter().zip(mean.iter()).for_each(|(f, value)| parameters[(t, *f)] += value);
        prior.varying.iter().enumerate().for_each(|(k, f)| parameters[(t, *f)] += deviations[(t, k)]);
    }
    Ok(parameters)
}

fn with_targets(
    prior: &Prior,
    bare: &Rows,
    design: &Design,
    coordinates: &Coordinates,
    parameters: DMatrix<f64>,
    noises: &[f64],
    noise: NoiseLevel,
) -> Result<Simulated> {
    let noise_sd = match noise {
        NoiseLevel::Sd(sd) => sd,
        NoiseLevel::Ratio(ratio) => (ratio / ratio_of_unit_noise(prior, &bare.tasks(design).quadratics(coordinates))?).sqrt(),
    };
    if !(noise_sd >= 0.0 && noise_sd.is_finite()) {
        return Err(Error::Arguments("the noise is no number from 0 upwards; give one, such as 1".into()));
    }
    let mut rows = Rows::new(bare.target(), bare.features());
    for i in 0..bare.len() {
        let fitted = coordinates.features(bare.x(i)).dot(&parameters.row(bare.task(i)).transpose());
        let y = coordinates.target(fitted + noise_sd * noises[i] / bare.weight(i).sqrt());
        rows.push(&bare.names()[bare.task(i)], bare.x(i), y, bare.weight(i))?;
    }
    Ok(Simulated { rows, parameters, noise_sd })
}

/// noise / signal at a noise variance of 1.
fn ratio_of_unit_noise(prior: &Prior, data: &Quadratics) -> Result<f64> {
    let refused = || {
        Error::Arguments(
            "a noise ratio needs varying features and, in every task, more rows than features; give the noise sd, or more rows".into(),
        )
    };
    let r = prior.factor.ncols();
    let inverse =
        linalg::cholesky(prior.factor.transpose() * &prior.factor).map(|root| linalg::inverse_of_cholesky(&root)).ok_or_else(refused)?;
    // K^+ = P P' with P = L (L'L)^-1.
    let whitening = &prior.factor * inverse;
    let mut sum = 0.0;
    for t in 0..data.len() {
        let own = linalg::cholesky(data.task(t).curvature).map(|root| linalg::inverse_of_cholesky(&root)).ok_or_else(refused)?;
        sum += (whitening.transpose() * own.select_rows(&prior.varying).select_columns(&prior.varying) * &whitening).trace();
    }
    if r == 0 || data.is_empty() { Err(refused()) } else { Ok(sum / (r * data.len()) as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::DVector;

    fn prior(tasks: usize) -> Prior {
        let names: Vec<String> = (0..tasks).map(|t| t.to_string()).collect();
        let graph = task_graph(Layout::Chain, &names, 0.3..0.4, 1).unwrap();
        let mean = Mean::Given(DVector::from_vec(vec![1.0, -2.0, 0.0]));
        let prior = Prior::new(mean, Relatedness::Graph(graph), DMatrix::from_row_slice(2, 2, &[2.0, 0.0, 0.5, 1.0]));
        Prior { mean_features: vec![0, 1, 2], varying: vec![0, 2], ..prior }
    }

    /// The ratio is measured on what was drawn: squared errors of least squares, whitened by K, against their number.
    #[test]
    fn least_squares_errs_by_the_ratio_asked() {
        let (tasks, ratio) = (400, 0.7);
        let prior = prior(tasks);
        let drawn = gaussian(&prior, tasks, 12, NoiseLevel::Ratio(ratio), 5).unwrap();
        let design = Design::varying(drawn.rows.features()).without_intercept();
        let data = drawn.rows.tasks(&design).quadratics(&Coordinates::identity(&design));
        let inverse = (&prior.factor * prior.factor.transpose()).try_inverse().unwrap();
        let mut sum = 0.0;
        for t in 0..tasks {
            let error = data.task(t).maximiser().unwrap() - drawn.parameters.row(t).transpose();
            let own = DVector::from_vec(vec![error[0], error[2]]);
            sum += own.dot(&(&inverse * &own));
        }
        let found = sum / (2 * tasks) as f64;
        assert!((found - ratio).abs() < 0.1, "{found}");
    }

    #[test]
    fn layouts_join_what_they_say_and_stay_definite() {
        let names: Vec<String> = (0..60).map(|t| t.to_string()).collect();
        for (layout, edges) in [(Layout::Chain, 59), (Layout::Hubs, 50), (Layout::Random { edges: 60 }, 60)] {
            let graph = task_graph(layout, &names, 0.25..0.45, 3).unwrap();
            assert_eq!(graph.edges().count(), edges);
            assert!(linalg::cholesky(graph.precision()).is_some());
            assert!(graph.edges().all(|(_, _, e)| (0.25..0.45).contains(&e.partial_correlation.abs())));
        }
        assert!(task_graph(Layout::Random { edges: 40 }, &names[..10], 0.5..0.9, 3).is_err());
    }

    #[test]
    fn new_targets_keep_the_rows() {
        let prior = prior(3);
        let drawn = gaussian(&prior, 3, 6, NoiseLevel::Sd(0.5), 2).unwrap();
        let design = Design::varying(drawn.rows.features()).without_intercept();
        let again = targets(&prior, &drawn.rows, &design, &Coordinates::identity(&design), NoiseLevel::Sd(0.0), 9).unwrap();
        for i in 0..18 {
            assert_eq!(again.rows.x(i), drawn.rows.x(i));
            let fitted = DVector::from_column_slice(again.rows.x(i)).dot(&again.parameters.row(again.rows.task(i)).transpose());
            assert!((again.rows.y(i) - fitted).abs() < 1e-12);
        }
    }
}
