//! Whether hyperparameters that were learned from old rows still fit when new rows have come: a score test that knows how uncertain they were.

use crate::linalg;
use crate::model::Fit;
use crate::posterior::Posterior;
use crate::prior::Relatedness;
use crate::tasks::Tasks;
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;
use statrs::distribution::{ChiSquared, ContinuousCDF};

/// The test that the noise variance (where tasks share it) and how far tasks vary in each feature are what they were.
///
/// With s the slope of the log-likelihood of all rows in the logarithms of these at the fit, less that of the old rows (0 at a maximum), and I_old and I_all the Fisher
/// information on them in the old rows and in all, s has mean 0 and variance I_new + I_new I_old^-1 I_new with I_new = I_all - I_old if nothing has changed: the second part
/// is what the old rows had left open. The statistic is s' (that)^-1 s, a Wald test of what the new rows say against what the old ones said. A likelihood ratio of a refit
/// would be s' I_all^-1 s, which is large without any drift where old rows are few, and small with it where new ones are.
#[derive(Clone, Debug, PartialEq)]
pub struct Drift {
    /// Chi-squared if nothing has changed.
    pub statistic: f64,
    /// Degrees of freedom: the directions of hyperparameters of which both old and new rows say something.
    pub freedom: usize,
    /// Probability of a statistic as large by chance.
    pub p_value: f64,
    /// About how much a refit would gain in log-likelihood, s' I_all^-1 s / 2.
    pub gain: f64,
    /// Each hyperparameter, in the order of the features, the noise last.
    pub hyperparameters: Vec<Move>,
}

/// Where a hyperparameter would move.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// The feature in which tasks vary (`all features` where K is scalar), or `noise`.
    pub name: String,
    /// About how many times as large as now a refit would make the standard deviation between tasks, or of the noise.
    pub ratio: f64,
    /// The slope in its logarithm over its standard deviation if nothing has changed; 0 where the new rows say nothing of it.
    pub z: f64,
}

/// Share of the information that must be in the old rows and in the new ones for a direction to be tested.
const LEAST_SHARE: f64 = 1e-3;

/// Most whitened parameters of related tasks whose information is worked out.
const MOST_JOINT: usize = 1_500;

/// Probability that a chi-squared variable is as large.
pub(super) fn p_value(statistic: f64, freedom: usize) -> f64 {
    if freedom == 0 {
        return 1.0;
    }
    ChiSquared::new(freedom as f64).map_or(1.0, |chi| chi.sf(statistic.max(0.0)))
}

/// At the hyperparameters of a Gaussian fit, from the posteriors of the old rows and of `all`; the reason in words where it is not tested.
pub(super) fn between(fit: &Fit, (old, new): (&Posterior, &Posterior), all: &Tasks) -> Result<Drift, String> {
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
    let coordinates = Coordinates::of(fit);
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
    let score = coordinates.score(fit, new, all) - coordinates.score(fit, old, fit.tasks());
    let [before, after] =
        [(old, fit.tasks()), (new, all)].map(|(posterior, tasks)| coordinates.information(fit, posterior, tasks, joint.as_ref()));
    Ok(coordinates.test(&score, &before, &after))
}

/// Logarithms of the standard deviation of the tasks in each varying feature (of all of them at once where K is scalar), and of that of the noise.
struct Coordinates {
    names: Vec<String>,
    scalar: bool,
    /// Varying features.
    q: usize,
    noise: bool,
}

impl Coordinates {
    fn of(fit: &Fit) -> Self {
        let varying = &fit.prior().varying;
        let scalar = fit.feature_covariance_kind() == Some(crate::structure::FeatureCovariance::Scalar) && varying.len() > 1;
        let mut names: Vec<String> = match scalar {
            true => vec!["all features".into()],
            false => varying.iter().map(|f| fit.tasks().design().features()[*f].clone()).collect(),
        };
        let noise = !fit.noise_is_known() && !fit.dispersion().is_each();
        names.extend(noise.then(|| "noise".to_string()));
        Coordinates { names, scalar, q: varying.len(), noise }
    }

    /// Adds what is known of single features up where K is scalar.
    fn folded(&self, each: DMatrix<f64>) -> DMatrix<f64> {
        if !self.scalar {
            return each;
        }
        let mut fold = DMatrix::zeros(each.nrows(), self.names.len());
        (0..self.q).for_each(|a| fold[(a, 0)] = 1.0);
        if self.noise {
            fold[(self.q, 1)] = 1.0;
        }
        fold.tr_mul(&(each * &fold))
    }

    /// The slope of the log-likelihood: 2 (G K)_aa, and sum of squared residuals over the noise variance less rows.
    fn score(&self, fit: &Fit, posterior: &Posterior, tasks: &Tasks) -> DVector<f64> {
        let moved = posterior.covariance_slope() * fit.prior().feature_covariance();
        let mut score: Vec<f64> = (0..self.q).map(|a| 2.0 * moved[(a, a)]).collect();
        if self.scalar {
            score = vec![score.iter().sum()];
        }
        if self.noise {
            let residuals = posterior.residuals();
            let of = |t: usize| residuals[t] / fit.dispersion().variance(t) - tasks.statistics(t).rows() as f64;
            score.push((0..tasks.len()).map(of).sum());
        }
        DVector::from_vec(score)
    }

    /// Fisher's information about them, 1/2 tr(V^-1 dV V^-1 dV') over the rows' covariance V given the mean. With P = X'V^-1X, S the prior covariance of the deviations
    /// and E_a the projection on feature a it is tr(E_a S P E_b S P) + tr(E_a P E_b S P S), 2 tr(E_a S X'V^-2X) variance for the noise, and 2 tr(V^-2) variance^2 of it.
    fn information(&self, fit: &Fit, posterior: &Posterior, tasks: &Tasks, joint: Option<&DMatrix<f64>>) -> DMatrix<f64> {
        let (q, size) = (self.q, self.q + usize::from(self.noise));
        let (varying, prior) = (&fit.prior().varying, fit.prior());
        let curvature = |t: usize| posterior.quadratic(t).curvature.select_rows(varying).select_columns(varying);
        let rows = |t: usize| tasks.statistics(t).rows() as f64;
        let of = |a: DMatrix<f64>, s: &DMatrix<f64>, rows: f64| {
            let n = a.nrows();
            let root = linalg::semidefinite_factor(s);
            let r = root.ncols();
            let right = root.tr_mul(&a);
            let mut inner = &right * &root;
            (0..r).for_each(|k| inner[(k, k)] += 1.0);
            let factor = linalg::cholesky(inner).expect("1 was added to a semidefinite matrix");
            let inverse = linalg::inverse_of_cholesky(&factor);
            let p = &a - right.tr_mul(&(&inverse * &right));
            let (sp, sps) = (s * &p, s * &p * s);
            let mut own = DMatrix::zeros(size, size);
            for j in 0..n {
                for i in 0..n {
                    own[(i % q, j % q)] += sp[(i, j)] * sp[(j, i)] + p[(i, j)] * sps[(i, j)];
                }
            }
            if self.noise {
                // S (P - P S P) is S X'V^-2X times the variance.
                let crossed = &sp - &sp * &sp;
                for i in 0..n {
                    own[(i % q, q)] += 2.0 * crossed[(i, i)];
                    own[(q, i % q)] += 2.0 * crossed[(i, i)];
                }
                own[(q, q)] += 2.0 * (rows - r as f64 + inverse.norm_squared());
            }
            own
        };
        let zero = || DMatrix::zeros(size, size);
        let k = prior.feature_covariance();
        let each = match joint {
            _ if q == 0 => {
                let mut own = zero();
                if self.noise {
                    own[(0, 0)] = 2.0 * tasks.rows() as f64;
                }
                own
            }
            None => {
                let scale = |t: usize| match &prior.relatedness {
                    Relatedness::Diagonal(own) => own[t],
                    Relatedness::Zero => 0.0,
                    _ => 1.0,
                };
                let all: Vec<DMatrix<f64>> =
                    (0..tasks.len()).into_par_iter().map(|t| of(curvature(t), &(&k * scale(t)), rows(t))).collect();
                all.into_iter().fold(zero(), |sum, own| sum + own)
            }
            Some(sigma) => {
                let n = tasks.len() * q;
                let mut a = DMatrix::zeros(n, n);
                (0..tasks.len()).for_each(|t| a.view_mut((t * q, t * q), (q, q)).copy_from(&curvature(t)));
                of(a, &sigma.kronecker(&k), tasks.rows() as f64)
            }
        };
        self.folded(each)
    }

    /// In coordinates in which all rows' information is 1 and that of the new ones lambda_i, the variance of the score is lambda_i / (1 - lambda_i).
    fn test(&self, score: &DVector<f64>, before: &DMatrix<f64>, after: &DMatrix<f64>) -> Drift {
        let unit: Vec<f64> = after.diagonal().iter().map(|own| if *own > 1e-8 { own.sqrt().recip() } else { 0.0 }).collect();
        let kept: Vec<usize> = (0..unit.len()).filter(|k| unit[*k] > 0.0).collect();
        let scaled = |matrix: &DMatrix<f64>| {
            DMatrix::from_fn(kept.len(), kept.len(), |i, j| unit[kept[i]] * unit[kept[j]] * matrix[(kept[i], kept[j])])
        };
        let (all, old) = (scaled(after), scaled(before));
        let (values, axes) = linalg::symmetric_eigen(&all);
        // Hyperparameters that rows cannot tell apart are one direction.
        let told: Vec<usize> = (0..values.len()).filter(|k| values[*k] > 1e-6).collect();
        let whiten = DMatrix::from_fn(kept.len(), told.len(), |i, k| axes[(i, told[k])] / values[told[k]].sqrt());
        let (shares, turns) = linalg::symmetric_eigen(&whiten.tr_mul(&((&all - old) * &whiten)));
        let map = whiten * turns;
        let own = DVector::from_fn(kept.len(), |i, _| score[kept[i]] * unit[kept[i]]);
        let along = map.tr_mul(&own);
        let variance = |k: usize| (shares[k] > LEAST_SHARE && shares[k] < 1.0 - LEAST_SHARE).then(|| shares[k] / (1.0 - shares[k]));
        let tested: Vec<(usize, f64)> = (0..shares.len()).filter_map(|k| Some((k, variance(k)?))).collect();
        let statistic = tested.iter().map(|(k, variance)| along[*k].powi(2) / variance).sum();
        let step = &map * &along;
        // The score is (map')^-1 of that along the axes: all' * map with all = 1 in these.
        let back = &all * &map;
        let of = |k: usize| {
            let Some(place) = kept.iter().position(|own| *own == k) else { return (1.0, 0.0) };
            let own: f64 = tested.iter().map(|(axis, _)| back[(place, *axis)] * along[*axis]).sum();
            let spread: f64 = tested.iter().map(|(axis, variance)| back[(place, *axis)].powi(2) * variance).sum();
            ((step[place] * unit[k]).exp(), if spread > 0.0 { own / spread.sqrt() } else { 0.0 })
        };
        let hyperparameters = self.names.iter().enumerate().map(|(k, name)| {
            let (ratio, z) = of(k);
            Move { name: name.clone(), ratio, z }
        });
        let freedom = tested.len();
        Drift {
            statistic,
            freedom,
            p_value: p_value(statistic, freedom),
            gain: 0.5 * along.norm_squared(),
            hyperparameters: hyperparameters.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::likelihood::Gaussian;
    use crate::model::Model;
    use crate::structure::{Exchangeable, FeatureCovariance, Full, Structure};
    use crate::tasks::{Design, Rows};

    /// Tasks of four rows each.
    fn rows(tasks: usize) -> Rows {
        let mut rows = Rows::new("y", &["x"]);
        for i in 0..4 * tasks {
            let (t, x) = (i % tasks, (i / tasks) as f64 - 1.5);
            let y = (t * t % 7) as f64 + (0.5 + (t % 3) as f64) * x + (i * i % 11) as f64 * 0.3;
            rows.push(&format!("{t}"), &[x], y, 1.0).unwrap();
        }
        rows
    }

    fn fitted(structure: impl Structure + 'static, design: &Design, rows: &Rows) -> Fit {
        Model::new(Gaussian::default(), structure).restricted(true).fit(&rows.tasks(design)).unwrap()
    }

    /// Of one intercept a task, V has one eigenvalue noise + n K and n - 1 of noise.
    #[test]
    fn information_of_one_way_tasks_is_known() {
        let rows = rows(9);
        let design = Design::varying(rows.features()).with_varying(|name| name == "(Intercept)");
        let fit = fitted(Exchangeable::new(FeatureCovariance::Diagonal), &design, &rows);
        let posterior = Posterior::given(&fit.quadratics().unwrap(), fit.prior())
            .map(|own| Coordinates::of(&fit).information(&fit, &own, fit.tasks(), None));
        let found = posterior.unwrap();
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
            fitted(Exchangeable::new(FeatureCovariance::Full), &design, &rows),
            fitted(Exchangeable::new(FeatureCovariance::Scalar), &design, &rows),
            fitted(Full::new(FeatureCovariance::Diagonal), &design, &rows),
        ];
        for fit in fits {
            let coordinates = Coordinates::of(&fit);
            let sigma = fit.prior().relatedness.covariance(6).unwrap();
            let (k, noise) = (fit.prior().feature_covariance(), fit.dispersion().variance(0));
            let n = rows.len();
            let x: Vec<DVector<f64>> = (0..n).map(|i| fit.coordinates().features(rows.x(i))).collect();
            let covariance = |steps: &[f64]| {
                let own = |a: usize| steps[if coordinates.scalar { 0 } else { a }].exp();
                let k = DMatrix::from_fn(2, 2, |a, b| own(a) * own(b) * k[(a, b)]);
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
            let posterior = Posterior::given(&fit.quadratics().unwrap(), fit.prior())
                .map(|own| coordinates.information(&fit, &own, fit.tasks(), joint));
            let found = posterior.unwrap();
            assert!((&found - &expected).amax() < 1e-5 * expected.amax(), "{}: {found} {expected}", fit.structure());
        }
    }

    /// In one coordinate the statistic is s^2 / (I_new + I_new^2 / I_old).
    #[test]
    fn the_statistic_knows_how_uncertain_hyperparameters_were() {
        let one = Coordinates { names: vec!["noise".into()], scalar: false, q: 0, noise: true };
        let found = one.test(&DVector::from_element(1, 3.0), &DMatrix::from_element(1, 1, 8.0), &DMatrix::from_element(1, 1, 10.0));
        let variance = 2.0 + 2.0 * 2.0 / 8.0;
        assert!((found.statistic - 9.0 / variance).abs() < 1e-12 && found.freedom == 1);
        assert!((found.gain - 0.5 * 9.0 / 10.0).abs() < 1e-12);
        assert!((found.hyperparameters[0].ratio - 0.3f64.exp()).abs() < 1e-12);
        assert!((found.hyperparameters[0].z - 3.0 / variance.sqrt()).abs() < 1e-12);
        // Two that are seen apart add up, in whatever units.
        let two = Coordinates { names: vec!["x".into(), "noise".into()], scalar: false, q: 1, noise: true };
        let (old, all) = (nalgebra::dmatrix![4.0, 1.0; 1.0, 50.0], nalgebra::dmatrix![6.0, 1.5; 1.5, 90.0]);
        let score = nalgebra::dvector![1.5, -8.0];
        let new: DMatrix<f64> = &all - &old;
        let variance = &new + &new * old.clone().try_inverse().unwrap() * &new;
        let expected = score.dot(&(variance.clone().try_inverse().unwrap() * &score));
        let found = two.test(&score, &old, &all);
        assert!((found.statistic - expected).abs() < 1e-9 * expected && found.freedom == 2);
        for k in 0..2 {
            assert!((found.hyperparameters[k].z - score[k] / variance[(k, k)].sqrt()).abs() < 1e-9);
        }
    }
}
