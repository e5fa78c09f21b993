//! Whether hyperparameters that were learned from old rows still fit when new rows have come: a score test that knows how uncertain they
//! were.

use crate::likelihood::{Dispersion, Gaussian, Observations};
use crate::linalg;
use crate::model::Fit;
use crate::posterior::Posterior;
use crate::prior::{Prior, Relatedness};
use crate::structure::FeatureCovariance;
use crate::tasks::Tasks;
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;
use serde::Serialize;
use statrs::distribution::{ChiSquared, ContinuousCDF};

/// The test that the noise variance (where tasks share it) and how far tasks vary in each feature are what they were.
///
/// Near the hyperparameters most likely for all rows the slope of the log-likelihood over the Fisher information, in their logarithms, says
/// where the old rows put them, x_old, and where the new ones do, x_new, with I_new = I_all - I_old; if nothing has changed x_new - x_old
/// has mean 0 and variance I_old^-1 + I_new^-1, and the statistic is its square over that. A likelihood ratio of a refit would be large
/// without any drift where old rows are few, and small with it where new ones are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drift {
    /// Chi-squared if nothing has changed.
    pub statistic: f64,
    /// Degrees of freedom: the directions of hyperparameters of which both old and new rows say something.
    pub freedom: usize,
    /// Probability of a statistic as large by chance.
    pub p_value: f64,
    /// How much a few steps of a refit gain in log-likelihood.
    pub gain: f64,
    /// Each hyperparameter, in the order of the features, the noise last.
    pub hyperparameters: Vec<Move>,
}

/// Where a hyperparameter would move.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Move {
    /// The feature in which tasks vary (`all features` where K is scalar), or `noise`.
    pub name: String,
    /// How many times as large as now these steps make the standard deviation between tasks, or of the noise; infinite where it was 0.
    pub ratio: f64,
    /// x_new - x_old over its standard deviation if nothing has changed; 0 where old or new rows say nothing of it.
    pub z: f64,
}

/// Share of the information that must be in the old rows and in the new ones for a direction to be tested.
const LEAST_SHARE: f64 = 0.02;

/// Most deviations of related tasks of which the information is worked out.
const MOST_JOINT: usize = 700;

/// Most steps towards the hyperparameters most likely for all rows, and the largest in a logarithm.
const STEPS: usize = 6;
const LARGEST: f64 = 1.0;

/// Gain in log-likelihood below which no step is taken.
const LITTLE: f64 = 1e-3;

/// Probability that a chi-squared variable is as large.
pub(super) fn p_value(statistic: f64, freedom: usize) -> f64 {
    if freedom == 0 {
        return 1.0;
    }
    ChiSquared::new(freedom as f64).map_or(1.0, |chi| chi.sf(statistic.max(0.0)))
}

/// Of a Gaussian fit with `all` rows in the place of its own; the reason in words where it is not tested.
pub(super) fn of(fit: &Fit, all: &Tasks) -> Result<Drift, String> {
    let prior = fit.prior();
    if !prior.free.is_empty() || fit.structure() == "independent" {
        return Err(format!("the structure '{}' leaves every task hyperparameters of its own", fit.structure()));
    }
    if prior.mixture.is_some() || prior.task_scales.is_some() || !prior.unrelated.is_empty() || prior.groups.are_several() {
        return Err("the hyperparameters of clusters, robust scales, graph features and groups of tasks are not tested".into());
    }
    if !fit.converged() {
        return Err("the fit did not converge".into());
    }
    let joint = match &prior.relatedness {
        Relatedness::Zero | Relatedness::Identity | Relatedness::Diagonal(_) => None,
        related if fit.tasks().len() * prior.varying.len() <= MOST_JOINT => {
            Some(related.covariance(fit.tasks().len()).ok_or("the task graph has no covariance")?)
        }
        _ => {
            let size = fit.tasks().len() * prior.varying.len();
            return Err(format!("{size} parameters of related tasks are too many to work out what rows say of the hyperparameters"));
        }
    };
    let [old, all] = [fit.tasks(), all].map(|tasks| Observations::new(tasks, fit.coordinates()));
    let start = Point { prior: prior.clone(), dispersion: fit.dispersion().clone() };
    moved(fit, start, (&old, &all), joint.as_ref()).map_err(|error| error.to_string())
}

fn moved(fit: &Fit, start: Point, (old, all): (&Observations, &Observations), joint: Option<&DMatrix<f64>>) -> crate::Result<Drift> {
    let mut point = start.clone();
    let mut here = point.place(fit, all, joint)?;
    let before = here.log_likelihood;
    for _ in 0..STEPS {
        let Some(step) = here.step() else { break };
        let tried = [1.0, 0.5, 0.25].into_iter().find_map(|share| {
            let there = point.moved(&here.coordinates, &(&step * share));
            let place = there.place(fit, all, joint).ok()?;
            (place.log_likelihood > here.log_likelihood).then_some((there, place))
        });
        let Some((there, place)) = tried else { break };
        (point, here) = (there, place);
    }
    let then = point.place(fit, old, joint)?;
    let mut drift = here.against(&then);
    drift.gain = here.log_likelihood - before;
    let size = |at: &Point, name: usize| -> f64 {
        let coordinates = &here.coordinates;
        if coordinates.noise && name + 1 == coordinates.names.len() {
            return at.dispersion.variance(0).sqrt();
        }
        let k = at.prior.feature_covariance();
        if coordinates.scalar { k.trace().sqrt() } else { k[(name, name)].sqrt() }
    };
    for (name, own) in drift.hyperparameters.iter_mut().enumerate() {
        let (now, then) = (size(&point, name), size(&start, name));
        own.ratio = if now == then { 1.0 } else { now / then };
    }
    Ok(drift)
}

/// Hyperparameters.
#[derive(Clone)]
struct Point {
    prior: Prior,
    dispersion: Dispersion,
}

impl Point {
    /// What rows say there.
    fn place(&self, fit: &Fit, data: &Observations, joint: Option<&DMatrix<f64>>) -> crate::Result<Place> {
        let coordinates = Coordinates::of(fit, &self.prior);
        let posterior = Posterior::owning(Gaussian::default().quadratics(data, &self.dispersion), &self.prior)?;
        let score = coordinates.score(self, &posterior, data);
        let information = coordinates.information(self, &posterior, data, joint);
        Ok(Place { log_likelihood: posterior.log_likelihood(), coordinates, score, information })
    }

    fn moved(&self, coordinates: &Coordinates, step: &DVector<f64>) -> Point {
        let each = coordinates.spread() * step;
        let q = coordinates.still.len();
        let mut prior = self.prior.clone();
        (0..q).filter(|k| !coordinates.still[*k]).for_each(|k| prior.factor.row_mut(k).scale_mut(each[k].exp()));
        if (0..q).any(|k| coordinates.still[k] && each[k] > 0.0) {
            let mut k = prior.feature_covariance();
            (0..q).filter(|own| coordinates.still[*own]).for_each(|own| k[(own, own)] += each[own].max(0.0));
            prior.factor = linalg::semidefinite_factor(&k);
        }
        let mut dispersion = self.dispersion.clone();
        if coordinates.noise {
            dispersion.values.iter_mut().chain(&mut dispersion.common).for_each(|own| *own *= (2.0 * each[q]).exp());
        }
        Point { prior, dispersion }
    }
}

/// What rows say of hyperparameters at a point.
struct Place {
    coordinates: Coordinates,
    log_likelihood: f64,
    score: DVector<f64>,
    information: DMatrix<f64>,
}

impl Place {
    /// Columns in which the information is 1, of the hyperparameters that rows tell apart.
    fn whitened(&self) -> DMatrix<f64> {
        let unit = self.information.diagonal().map(|own| if own > 1e-8 { own.sqrt().recip() } else { 0.0 });
        let n = unit.len();
        let (values, axes) = linalg::symmetric_eigen(&DMatrix::from_fn(n, n, |i, j| unit[i] * unit[j] * self.information[(i, j)]));
        let told: Vec<usize> = (0..n).filter(|k| values[*k] > 1e-6).collect();
        DMatrix::from_fn(n, told.len(), |i, k| unit[i] * axes[(i, told[k])] / values[told[k]].sqrt())
    }

    /// A step of Fisher's scoring; none where it promises little.
    fn step(&self) -> Option<DVector<f64>> {
        let map = self.whitened();
        let mut step = &map * map.tr_mul(&self.score);
        for (k, own) in step.iter_mut().enumerate() {
            *own = if self.coordinates.is_still(k) { own.max(0.0) } else { own.clamp(-LARGEST, LARGEST) };
        }
        (0.5 * step.dot(&self.score) > LITTLE).then_some(step)
    }

    /// The new rows of these against the old rows alone. In coordinates in which all information is 1 and that of the new rows lambda,
    /// x_new - x_old is s_new / lambda - s_old / (1 - lambda), of variance 1 / (lambda (1 - lambda)).
    fn against(&self, old: &Place) -> Drift {
        let map = self.whitened();
        let (shares, turns) = linalg::symmetric_eigen(&map.tr_mul(&((&self.information - &old.information) * &map)));
        let map = map * turns;
        let (of_old, of_new) = (map.tr_mul(&old.score), map.tr_mul(&(&self.score - &old.score)));
        let z = |k: usize| (of_new[k] / shares[k] - of_old[k] / (1.0 - shares[k])) * (shares[k] * (1.0 - shares[k])).sqrt();
        let tested: Vec<(usize, f64)> =
            (0..shares.len()).filter(|k| (LEAST_SHARE..1.0 - LEAST_SHARE).contains(&shares[*k])).map(|k| (k, z(k))).collect();
        let statistic = tested.iter().map(|(_, z)| z * z).sum();
        let of = |name: usize| {
            // x along the axes back in the hyperparameter, where each has that spread.
            let spread = |k: usize| map[(name, k)] / (shares[k] * (1.0 - shares[k])).sqrt();
            let moved: f64 = tested.iter().map(|(k, z)| spread(*k) * z).sum();
            let variance: f64 = tested.iter().map(|(k, _)| spread(*k).powi(2)).sum();
            Move { name: self.coordinates.names[name].clone(), ratio: 1.0, z: if variance > 0.0 { moved / variance.sqrt() } else { 0.0 } }
        };
        let freedom = tested.len();
        let hyperparameters = (0..self.coordinates.names.len()).map(of).collect();
        Drift { statistic, freedom, p_value: p_value(statistic, freedom), gain: 0.0, hyperparameters }
    }
}

/// Logarithms of the standard deviation of the tasks in each varying feature (of all of them at once where K is scalar; where it is 0 the
/// variance itself), and of that of the noise.
struct Coordinates {
    names: Vec<String>,
    scalar: bool,
    /// Of every varying feature whether the tasks do not vary in it.
    still: Vec<bool>,
    noise: bool,
}

/// With A = X'X / noise over the deviations, S their prior covariance and C = (I + S A)^-1, V^-1 dV of n deviations and the rows beyond
/// them is C (dS A + 2 e I), where the logarithm of the noise changes by e, and 2 e.
struct Part {
    curvature: DMatrix<f64>,
    prior: DMatrix<f64>,
    sigma: DMatrix<f64>,
    shrunk: DMatrix<f64>,
    rows: f64,
}

impl Part {
    fn new(curvature: DMatrix<f64>, sigma: DMatrix<f64>, k: &DMatrix<f64>, rows: f64) -> Self {
        let n = curvature.nrows();
        let prior = sigma.kronecker(k);
        let root = linalg::semidefinite_factor(&prior);
        let right = root.tr_mul(&curvature);
        let mut inner = &right * &root;
        (0..inner.nrows()).for_each(|k| inner[(k, k)] += 1.0);
        let factor = linalg::cholesky(inner).expect("1 was added to a semidefinite matrix");
        let shrunk = DMatrix::identity(n, n) - root * linalg::inverse_of_cholesky(&factor) * right;
        Part { curvature, prior, sigma, shrunk, rows }
    }

    /// dS where the features change by these steps.
    fn change(&self, steps: &[f64], still: &[bool]) -> DMatrix<f64> {
        let q = steps.len();
        let mut change = self.prior.clone();
        for j in 0..change.ncols() {
            for i in 0..change.nrows() {
                change[(i, j)] *= steps[i % q] + steps[j % q];
                if i % q == j % q && still[i % q] {
                    change[(i, j)] = steps[i % q] * self.sigma[(i / q, j / q)];
                }
            }
        }
        change
    }

    /// V^-1 dV over the deviations.
    fn relative(&self, steps: &[f64], still: &[bool], noise: f64) -> DMatrix<f64> {
        let mut change = self.change(steps, still) * &self.curvature;
        (0..change.nrows()).for_each(|k| change[(k, k)] += 2.0 * noise);
        &self.shrunk * change
    }

    /// Fisher's information 1/2 tr(V^-1 dV V^-1 dV') over the features and the noise.
    fn information(&self, still: &[bool]) -> DMatrix<f64> {
        let q = still.len();
        let unit = |k: usize| (0..q).map(|own| f64::from(u8::from(own == k))).collect::<Vec<_>>();
        let each: Vec<DMatrix<f64>> = (0..=q).map(|k| self.relative(&unit(k), still, f64::from(u8::from(k == q)))).collect();
        let turned: Vec<DMatrix<f64>> = each.iter().map(|own| own.transpose()).collect();
        let mut own = DMatrix::from_fn(q + 1, q + 1, |i, j| if i <= j { 0.5 * turned[i].dot(&each[j]) } else { 0.0 });
        own.fill_lower_triangle_with_upper_triangle();
        own[(q, q)] += 2.0 * (self.rows - self.curvature.nrows() as f64);
        own
    }
}

impl Coordinates {
    fn of(fit: &Fit, prior: &Prior) -> Self {
        let varying: &[usize] = if matches!(prior.relatedness, Relatedness::Zero) { &[] } else { &prior.varying };
        let scalar = fit.feature_covariance_kind() == Some(FeatureCovariance::Scalar) && varying.len() > 1;
        let mut names: Vec<String> = match scalar {
            true => vec!["all features".into()],
            false => varying.iter().map(|f| fit.tasks().design().features()[*f].clone()).collect(),
        };
        let noise = !fit.noise_is_known() && !fit.dispersion().is_each();
        names.extend(noise.then(|| "noise".to_string()));
        let variances = prior.feature_covariance().diagonal();
        Coordinates { names, scalar, still: (0..varying.len()).map(|k| variances[k] <= 0.0).collect(), noise }
    }

    /// Whether a coordinate is a variance that is 0.
    fn is_still(&self, name: usize) -> bool {
        !(self.noise && name + 1 == self.names.len()) && self.still[name]
    }

    /// How coordinates move the features and, last, the noise.
    fn spread(&self) -> DMatrix<f64> {
        let q = self.still.len();
        let mut spread = DMatrix::zeros(q + 1, self.names.len());
        (0..q).for_each(|k| spread[(k, if self.scalar { 0 } else { k })] = 1.0);
        if self.noise {
            spread[(q, self.names.len() - 1)] = 1.0;
        }
        spread
    }

    /// The slope of the log-likelihood: 2 (G K)_kk, G_kk where tasks do not vary, and the sum of squared residuals over the noise variance
    /// less rows.
    fn score(&self, point: &Point, posterior: &Posterior, data: &Observations) -> DVector<f64> {
        let q = self.still.len();
        let mut score = DVector::zeros(q + 1);
        if q > 0 {
            let slope = posterior.covariance_slope();
            let moved = &slope * point.prior.feature_covariance();
            (0..q).for_each(|k| score[k] = if self.still[k] { slope[(k, k)] } else { 2.0 * moved[(k, k)] });
        }
        if self.noise {
            let of = |(t, residual): (usize, &f64)| residual / point.dispersion.variance(t) - data.rows[t];
            score[q] = posterior.residuals().iter().enumerate().map(of).sum();
        }
        self.spread().tr_mul(&score)
    }

    /// What rows say given the mean: of each task by itself, or of all together where they are related by `joint`.
    fn information(&self, point: &Point, posterior: &Posterior, data: &Observations, joint: Option<&DMatrix<f64>>) -> DMatrix<f64> {
        let (prior, q, tasks) = (&point.prior, self.still.len(), data.rows.len());
        let varying = &prior.varying[..q];
        let k = if q > 0 { prior.feature_covariance() } else { DMatrix::zeros(0, 0) };
        let curvature = |t: usize| posterior.quadratic(t).curvature.select_rows(varying).select_columns(varying);
        let each: Vec<DMatrix<f64>> = match joint {
            Some(sigma) => {
                let mut all = DMatrix::zeros(tasks * q, tasks * q);
                (0..tasks).for_each(|t| all.view_mut((t * q, t * q), (q, q)).copy_from(&curvature(t)));
                vec![Part::new(all, sigma.clone(), &k, data.total_rows()).information(&self.still)]
            }
            None => {
                let variance = |t: usize| if let Relatedness::Diagonal(own) = &prior.relatedness { own[t] } else { 1.0 };
                let part = |t: usize| Part::new(curvature(t), DMatrix::from_element(1, 1, variance(t)), &k, data.rows[t]);
                (0..tasks).into_par_iter().map(|t| part(t).information(&self.still)).collect()
            }
        };
        let spread = self.spread();
        spread.tr_mul(&(each.into_iter().fold(DMatrix::zeros(q + 1, q + 1), |sum, own| sum + own) * &spread))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;
    use crate::structure::{Exchangeable, Full, Structure};
    use crate::tasks::{Design, Rows};

    /// Tasks of four rows each.
    fn rows(tasks: usize) -> Rows {
        let mut rows = Rows::new("y", &["x", "even"]);
        for i in 0..4 * tasks {
            let (t, x, even) = (i % tasks, (i / tasks) as f64 - 1.5, [1.0, -1.0, -1.0, 1.0][i / tasks]);
            let noise = [0.3, -0.3, 0.2, -0.2, 0.1][(i / tasks + 2 * t) % 5];
            rows.push(&format!("{t}"), &[x, even], (t * t % 7) as f64 + (0.5 + (t % 3) as f64) * x + 0.4 * even + noise, 1.0).unwrap();
        }
        rows
    }

    fn fitted(structure: impl Structure + 'static, design: &Design, rows: &Rows) -> Fit {
        Model::new(Gaussian::default(), structure).restricted(true).fit(&rows.tasks(design)).unwrap()
    }

    fn place(fit: &Fit, joint: Option<&DMatrix<f64>>) -> Place {
        let point = Point { prior: fit.prior().clone(), dispersion: fit.dispersion().clone() };
        point.place(fit, &Observations::new(fit.tasks(), fit.coordinates()), joint).unwrap()
    }

    /// Of one intercept a task, V has one eigenvalue noise + n K and n - 1 of noise.
    #[test]
    fn information_of_one_way_tasks_is_known() {
        let rows = rows(9);
        let design = Design::varying(rows.features()).with_varying(|name| name == "(Intercept)");
        let fit = fitted(Exchangeable::new(FeatureCovariance::Diagonal), &design, &rows);
        let found = place(&fit, None).information;
        let (k, noise) = (fit.prior().feature_covariance()[(0, 0)], fit.dispersion().variance(0));
        let whole = noise + 4.0 * k;
        let [a, b] = [2.0 * 4.0 * k / whole, 2.0 * noise / whole];
        let expected = nalgebra::dmatrix![0.5 * a * a, 0.5 * a * b; 0.5 * a * b, 0.5 * (3.0 * 4.0 + b * b)] * 9.0;
        assert!((&found - &expected).amax() < 1e-9, "{found} {expected}");
    }

    /// Against 1/2 tr(V^-1 dV V^-1 dV') with V of all rows written out, tasks unrelated and related.
    #[test]
    fn information_is_that_of_the_covariance_of_all_rows() {
        const STEP: f64 = 1e-5;
        let rows = rows(6);
        let design = Design::varying(rows.features());
        let fits = [
            fitted(Exchangeable::new(FeatureCovariance::Diagonal), &design, &rows),
            fitted(Exchangeable::new(FeatureCovariance::Full), &design, &rows),
            fitted(Exchangeable::new(FeatureCovariance::Scalar), &design, &rows),
            fitted(Full::new(FeatureCovariance::Diagonal), &design, &rows),
        ];
        assert_eq!(Coordinates::of(&fits[0], fits[0].prior()).still, [false, false, true]);
        for fit in fits {
            let coordinates = Coordinates::of(&fit, fit.prior());
            let q = coordinates.still.len();
            let sigma = fit.prior().relatedness.covariance(6).unwrap();
            let (k, noise) = (fit.prior().feature_covariance(), fit.dispersion().variance(0));
            let n = rows.len();
            let x: Vec<DVector<f64>> = (0..n).map(|i| fit.coordinates().features(rows.x(i))).collect();
            let covariance = |steps: &[f64]| {
                let own = |a: usize| steps[if coordinates.scalar { 0 } else { a }];
                let k = DMatrix::from_fn(q, q, |a, b| match a == b && coordinates.still[a] {
                    true => own(a),
                    false => (own(a) + own(b)).exp() * k[(a, b)],
                });
                let of = |i: usize, j: usize| {
                    let shared = sigma[(rows.task(i), rows.task(j))] * x[i].dot(&(&k * &x[j]));
                    shared + if i == j { noise * (2.0 * steps[coordinates.names.len() - 1]).exp() } else { 0.0 }
                };
                DMatrix::from_fn(n, n, of)
            };
            let count = coordinates.names.len();
            let inverse = covariance(&vec![0.0; count]).try_inverse().unwrap();
            let moved = |c: usize| {
                let at = |step: f64| covariance(&(0..count).map(|k| if k == c { step } else { 0.0 }).collect::<Vec<_>>());
                &inverse * (at(STEP) - at(-STEP)) / (2.0 * STEP)
            };
            let each: Vec<DMatrix<f64>> = (0..count).map(moved).collect();
            let expected = DMatrix::from_fn(count, count, |a, b| 0.5 * (&each[a] * &each[b]).trace());
            let joint = (fit.structure() == "full").then_some(&sigma);
            let found = place(&fit, joint).information;
            assert!((&found - &expected).amax() < 1e-5 * expected.amax(), "{}: {found} {expected}", fit.structure());
        }
    }

    /// Slopes and moves against differences of the log-likelihood.
    #[test]
    fn slopes_are_differences_of_the_log_likelihood_along_moves() {
        const STEP: f64 = 1e-5;
        let rows = rows(6);
        let fit = fitted(Exchangeable::new(FeatureCovariance::Full), &Design::varying(rows.features()), &rows);
        let data = Observations::new(fit.tasks(), fit.coordinates());
        let start = Point { prior: fit.prior().clone(), dispersion: fit.dispersion().clone() };
        let coordinates = Coordinates::of(&fit, fit.prior());
        let away = start.moved(&coordinates, &DVector::from_element(coordinates.names.len(), 0.3));
        let here = away.place(&fit, &data, None).unwrap();
        for k in 0..coordinates.names.len() {
            let at = |step: f64| {
                let step = DVector::from_fn(coordinates.names.len(), |own, _| if own == k { step } else { 0.0 });
                away.moved(&here.coordinates, &step).place(&fit, &data, None).unwrap().log_likelihood
            };
            let difference = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            assert!((here.score[k] - difference).abs() < 1e-6 * (1.0 + difference.abs()), "{k}: {} {difference}", here.score[k]);
        }
    }

    /// Of the old rows alone at their maximum the statistic is s' (I_new + I_new I_old^-1 I_new)^-1 s, s the slope of all rows.
    #[test]
    fn the_statistic_knows_how_uncertain_hyperparameters_were() {
        let two = || Coordinates { names: vec!["x".into(), "noise".into()], scalar: false, still: vec![false], noise: true };
        let place = |score: DVector<f64>, information: DMatrix<f64>| Place { coordinates: two(), log_likelihood: 0.0, score, information };
        let (old, all) = (nalgebra::dmatrix![4.0, 1.0; 1.0, 50.0], nalgebra::dmatrix![6.0, 1.5; 1.5, 90.0]);
        let score = nalgebra::dvector![1.5, -8.0];
        let new: DMatrix<f64> = &all - &old;
        let variance = &new + &new * old.clone().try_inverse().unwrap() * &new;
        let expected = score.dot(&(variance.try_inverse().unwrap() * &score));
        let found = place(score.clone(), all.clone()).against(&place(DVector::zeros(2), old.clone()));
        assert!((found.statistic - expected).abs() < 1e-9 * expected && found.freedom == 2);
        // x_new - x_old of each, wherever it is looked for.
        let apart = new.clone().try_inverse().unwrap() * &score;
        let spread = new.try_inverse().unwrap() + old.clone().try_inverse().unwrap();
        let there = nalgebra::dvector![0.2, -0.03];
        let moved = place(&score - &all * &there, all.clone()).against(&place(-(&old * &there), old));
        assert!((found.statistic - moved.statistic).abs() < 1e-9 * expected);
        for k in 0..2 {
            assert!((found.hyperparameters[k].z - apart[k] / spread[(k, k)].sqrt()).abs() < 1e-9);
            assert!((moved.hyperparameters[k].z - found.hyperparameters[k].z).abs() < 1e-9);
        }
    }
}
