//! The engine of rows that tasks share in part: one dense system, for what one task's rows say depends on which others have them too.

use super::coupled::LIMIT_MB;
use super::{Engine, Outcome, Solved};
use crate::error::{Error, Result};
use crate::linalg::{self, Operand, product};
use crate::prior::{Mean, Prior};
use crate::quadratic::{Joint, Partial, Quadratics};
use nalgebra::{DMatrix, DVector};
use std::sync::OnceLock;

/// A = Omega (x) I + (L' J_st L) over all pairs of tasks, factored. O((T r)^3).
pub(crate) struct Tied {
    rank: usize,
    sigma: DMatrix<f64>,
    factor: DMatrix<f64>,
    inverse: OnceLock<DMatrix<f64>>,
    /// A^-1 stack(L' sum_s J_ts) over the mean features: (T r) x m.
    sensitivity: DMatrix<f64>,
}

impl Tied {
    pub(crate) fn solve(data: &Partial, quadratics: &Quadratics, prior: &Prior) -> Result<Outcome> {
        let (tasks, p, r) = (quadratics.len(), quadratics.features(), prior.factor.ncols());
        let (features, size) = (&prior.mean_features, tasks * r);
        let needed_mb = (size * size) as u64 * 8 * 4 / 1_000_000;
        if needed_mb > LIMIT_MB {
            return Err(Error::TooLarge {
                what: format!("the system of {tasks} tasks x {r} varying directions that share some rows"),
                needed_mb,
                limit_mb: LIMIT_MB,
                remedy: "keep only rows of which every task has a target, or let fewer features vary".into(),
            });
        }
        let refused = |matrix: &str, remedy: &str| Error::NotPositiveDefinite { matrix: matrix.into(), remedy: remedy.into() };
        let sigma = prior.relatedness.covariance(tasks).filter(|sigma| sigma.nrows() == tasks);
        let sigma = sigma.ok_or_else(|| refused("the task precision Omega", "raise --prior-strength"))?;
        let (root, omega) = match r {
            0 => (DMatrix::identity(tasks, tasks), DMatrix::identity(tasks, tasks)),
            _ => {
                let root = linalg::cholesky(sigma.clone()).ok_or_else(|| refused("the task covariance Sigma", "raise --prior-strength"))?;
                let omega = linalg::inverse_of_cholesky(&root);
                (root, omega)
            }
        };
        let mut system = DMatrix::zeros(size, size);
        let mut right = DMatrix::zeros(size, features.len() + 1);
        let (mut information, mut score) = (DMatrix::zeros(features.len(), features.len()), DVector::zeros(features.len()));
        for t in 0..tasks {
            let linear = data.linear.rows(t * p, p);
            score += linear.select_rows(features);
            right.view_mut((t * r, features.len()), (r, 1)).copy_from(&(prior.factor.transpose() * linear.select_rows(&prior.varying)));
            for s in 0..tasks {
                let block = data.curvature.view((s * p, t * p), (p, p));
                information += block.select_rows(features).select_columns(features);
                let along = product(Operand::of(&prior.factor).transpose(), Operand::of(&block.select_rows(&prior.varying)));
                let own = product(Operand::of(&along.select_columns(&prior.varying)), Operand::of(&prior.factor));
                system.view_mut((s * r, t * r), (r, r)).copy_from(&own);
                (0..r).for_each(|k| system[(s * r + k, t * r + k)] += omega[(s, t)]);
                let mut lead = right.view_mut((s * r, 0), (r, features.len()));
                lead += along.select_columns(features);
            }
        }
        let factor = linalg::cholesky(system).ok_or_else(|| refused("the joint posterior precision", "standardise the features"))?;
        let mut solved = right.clone();
        linalg::solve_cholesky(&factor, &mut solved);
        let Solved { mean, deviations, gradient, sensitivity } = Solved::new(prior, p, (&right, &solved), (information, score))?;
        let everywhere = DVector::from_fn(tasks * p, |i, _| mean.mean[i % p]);
        let log_likelihood = data.constant + data.linear.dot(&everywhere) - 0.5 * everywhere.dot(&(&data.curvature * &everywhere))
            + 0.5 * (gradient.dot(&deviations) - linalg::log_determinant(&factor) - r as f64 * linalg::log_determinant(&root));
        let engine = Engine::Tied(Tied { rank: r, sigma, factor, inverse: OnceLock::new(), sensitivity });
        let deviations = DMatrix::from_column_slice(r, tasks, deviations.as_slice());
        Ok(Outcome { mean, deviations, log_likelihood, log_likelihood_error: 0.0, engine })
    }

    fn inverse(&self) -> &DMatrix<f64> {
        self.inverse.get_or_init(|| linalg::inverse_of_cholesky(&self.factor))
    }

    pub(crate) fn covariance(&self, s: usize, t: usize) -> DMatrix<f64> {
        let r = self.rank;
        self.inverse().view((s * r, t * r), (r, r)).into_owned()
    }

    pub(crate) fn add_traces(&self, moment: &mut DMatrix<f64>) {
        let (r, inverse) = (self.rank, self.inverse());
        for t in 0..moment.nrows() {
            (0..moment.nrows()).for_each(|s| moment[(s, t)] += (0..r).map(|k| inverse[(s * r + k, t * r + k)]).sum::<f64>());
        }
    }

    pub(crate) fn sigma(&self, s: usize, t: usize) -> f64 {
        self.sigma[(s, t)]
    }

    pub(crate) fn sensitivity(&self, task: usize) -> DMatrix<f64> {
        self.sensitivity.rows(task * self.rank, self.rank).into_owned()
    }

    pub(crate) fn draw(&self, normal: DVector<f64>) -> DMatrix<f64> {
        let (r, tasks) = (self.rank, self.sigma.nrows());
        let drawn = self.factor.transpose().solve_upper_triangular(&normal).expect("a Cholesky factor has no zero pivot");
        DMatrix::from_column_slice(r, tasks, drawn.as_slice())
    }

    /// G = 1/2 sum_st Sigma_st (s_s s_t' - P_st), P = J - J Cov(W) J. O((T q)^3).
    pub(crate) fn slope(
        &self,
        quadratics: &Quadratics,
        prior: &Prior,
        (mean, mean_covariance): (&DVector<f64>, &DMatrix<f64>),
        deviations: &DMatrix<f64>,
    ) -> DMatrix<f64> {
        let Some(Joint::Partial(data)) = quadratics.joint() else { unreachable!("this engine is made from such rows") };
        let (tasks, p, q, r) = (self.sigma.nrows(), quadratics.features(), prior.varying.len(), self.rank);
        let rows: Vec<usize> = (0..tasks).flat_map(|t| prior.varying.iter().map(move |feature| t * p + feature)).collect();
        let own = data.curvature.select_rows(&rows);
        let within = own.select_columns(&rows);
        let mut moves = DMatrix::zeros(tasks * q, tasks * r);
        (0..tasks).for_each(|t| moves.view_mut((t * q, t * r), (q, r)).copy_from(&prior.factor));
        let mut explained = product(Operand::of(&moves).transpose(), Operand::of(&within));
        linalg::solve_lower_matrix(&self.factor, &mut explained);
        let projected = within - product(Operand::of(&explained).transpose(), Operand::of(&explained));
        let mut parameters = DVector::from_fn(tasks * p, |i, _| mean[i % p]);
        let moved = &prior.factor * deviations;
        rows.iter().zip(moved.iter()).for_each(|(row, value)| parameters[*row] += value);
        let scores = data.linear.select_rows(&rows) - &own * parameters;
        let mut along = DMatrix::from_column_slice(q, tasks, scores.as_slice());
        let mut slope = &along * &self.sigma * along.transpose();
        for t in 0..tasks {
            (0..tasks).for_each(|s| slope -= projected.view((s * q, t * q), (q, q)) * self.sigma[(s, t)]);
        }
        if matches!(prior.mean, Mean::Integrated) && !prior.mean_features.is_empty() {
            // How a standard normal draw of the mean moves the scores.
            let mut map = DMatrix::zeros(tasks * p, prior.mean_features.len());
            (0..tasks).for_each(|t| prior.mean_features.iter().enumerate().for_each(|(j, feature)| map[(t * p + feature, j)] = 1.0));
            let back = &moves * &self.sensitivity;
            rows.iter().enumerate().for_each(|(i, row)| {
                let rest = map.row(*row) - back.row(i);
                map.row_mut(*row).copy_from(&rest);
            });
            let moved = own * map * linalg::semidefinite_factor(mean_covariance);
            for column in moved.column_iter() {
                along.copy_from_slice(column.as_slice());
                slope += &along * &self.sigma * along.transpose();
            }
        }
        slope *= 0.5;
        linalg::symmetrise(&mut slope);
        slope
    }
}

#[cfg(test)]
mod tests {
    use crate::posterior::Posterior;
    use crate::prior::{Mean, Prior, Relatedness};
    use crate::quadratic::{Complete, Joint, Partial, Quadratic, Quadratics, Sums};
    use nalgebra::{DMatrix, DVector};

    const TASKS: usize = 4;
    const P: usize = 3;
    const UNITS: usize = 15;

    fn uneven(i: usize) -> f64 {
        ((i * 37 + i * i * 11) % 97) as f64 / 48.0 - 1.0
    }

    fn spd(n: usize, seed: usize) -> DMatrix<f64> {
        let root = DMatrix::from_fn(n, n, |i, j| uneven(seed + 13 * i + 29 * j) + f64::from(u8::from(i == j)));
        &root * root.transpose() + DMatrix::identity(n, n) * 0.2
    }

    /// Features (p x n) and targets (T x n).
    fn data() -> (DMatrix<f64>, DMatrix<f64>) {
        let x = DMatrix::from_fn(P, UNITS, |k, i| if k == 0 { 1.0 } else { uneven(7 * i + 3 * k) });
        (x, DMatrix::from_fn(TASKS, UNITS, |t, i| 2.0 * uneven(5 * i + 17 * t)))
    }

    fn own(x: &DMatrix<f64>) -> Quadratics {
        let each = Quadratic { constant: 0.0, linear: DVector::zeros(P), curvature: x * x.transpose() };
        Quadratics::new(&vec![each; TASKS]).unwrap()
    }

    fn complete(x: &DMatrix<f64>, y: &DMatrix<f64>, noise: &DMatrix<f64>) -> Quadratics {
        let normal = UNITS as f64 * (TASKS as f64 * (2.0 * std::f64::consts::PI).ln() + noise.determinant().ln());
        let squares = y * y.transpose();
        let constant = -0.5 * (normal + (noise.clone().try_inverse().unwrap() * &squares).trace());
        let sums = Sums::new(x * x.transpose(), x * y.transpose(), squares);
        let joint = Complete { constant, noise: noise.clone(), sums: std::sync::Arc::new(sums) };
        own(x).with_joint(Joint::Complete(joint))
    }

    fn partial(x: &DMatrix<f64>, y: &DMatrix<f64>, noise: &DMatrix<f64>) -> Quadratics {
        let Some(Joint::Complete(all)) = complete(x, y, noise).joint().cloned() else { unreachable!() };
        let precision = noise.clone().try_inverse().unwrap();
        let linear = &all.sums.cross * &precision;
        let joint = Partial {
            constant: all.constant,
            linear: DVector::from_column_slice(linear.as_slice()),
            curvature: precision.kronecker(&all.sums.curvature),
        };
        own(x).with_joint(Joint::Partial(joint))
    }

    fn priors() -> Vec<Prior> {
        let factor = DMatrix::from_row_slice(2, 2, &[0.9, 0.0, 0.3, 0.7]);
        let means = [Mean::Profiled, Mean::Integrated, Mean::Given(DVector::from_vec(vec![0.3, -0.2, 0.5]))];
        means
            .into_iter()
            .map(|mean| Prior {
                mean_features: vec![0, 1, 2],
                varying: vec![0, 2],
                ..Prior::new(mean, Relatedness::Dense(spd(TASKS, 3)), factor.clone())
            })
            .collect()
    }

    /// The log density of all targets with means and deviations integrated out, by their dense covariance.
    fn dense(x: &DMatrix<f64>, y: &DMatrix<f64>, noise: &DMatrix<f64>, prior: &Prior) -> f64 {
        let n = TASKS * UNITS;
        let sigma = prior.relatedness.covariance(TASKS).unwrap();
        let varying = x.select_rows(&prior.varying);
        let within = varying.transpose() * prior.feature_covariance() * &varying;
        let covariance = DMatrix::from_fn(n, n, |a, b| {
            let ((s, i), (t, j)) = ((a / UNITS, a % UNITS), (b / UNITS, b % UNITS));
            sigma[(s, t)] * within[(i, j)] + if i == j { noise[(s, t)] } else { 0.0 }
        });
        let inverse = covariance.clone().try_inverse().unwrap();
        let log_determinant = 2.0 * covariance.cholesky().unwrap().l().diagonal().map(f64::ln).sum();
        let design = DMatrix::from_fn(n, P, |a, k| x[(k, a % UNITS)]);
        let targets = DVector::from_fn(n, |a, _| y[(a / UNITS, a % UNITS)]);
        let information = design.transpose() * &inverse * &design;
        let estimate = information.clone().try_inverse().unwrap() * design.transpose() * &inverse * &targets;
        let mean = if let Mean::Given(mean) = &prior.mean { mean.clone() } else { estimate };
        let rest = &targets - &design * mean;
        let log_2_pi = (2.0 * std::f64::consts::PI).ln();
        let value = -0.5 * (n as f64 * log_2_pi + log_determinant + rest.dot(&(&inverse * &rest)));
        match prior.mean {
            Mean::Integrated => value + 0.5 * (P as f64 * log_2_pi - information.determinant().ln()),
            _ => value,
        }
    }

    #[test]
    fn both_engines_of_shared_rows_agree_with_each_other_and_with_the_dense_density() {
        let ((x, y), noise) = (data(), spd(TASKS, 40));
        for prior in priors() {
            let (one, other) = (complete(&x, &y, &noise), partial(&x, &y, &noise));
            let (one, other) = (Posterior::given(&one, &prior).unwrap(), Posterior::given(&other, &prior).unwrap());
            let truth = dense(&x, &y, &noise, &prior);
            assert!((one.log_likelihood() - truth).abs() < 1e-8, "{} for {truth}", one.log_likelihood());
            assert!((other.log_likelihood() - truth).abs() < 1e-8);
            assert!((one.mean() - other.mean()).amax() < 1e-9);
            assert!((one.mean_covariance() - other.mean_covariance()).amax() < 1e-9);
            assert!((one.covariance_slope() - other.covariance_slope()).amax() < 1e-7);
            assert!((one.feature_moment() - other.feature_moment()).amax() < 1e-9);
            assert!((one.task_moment() - other.task_moment()).amax() < 1e-9);
            for t in 0..TASKS {
                assert!((one.coefficients(t) - other.coefficients(t)).amax() < 1e-9);
                assert!((one.covariance(t) - other.covariance(t)).amax() < 1e-9);
                for s in 0..TASKS {
                    assert!((one.moment_covariance_between(s, t) - other.moment_covariance_between(s, t)).amax() < 1e-9);
                }
            }
            // The products of the errors, row by row.
            let products = one.residual_products().unwrap();
            for s in 0..TASKS {
                for t in 0..TASKS {
                    let residual = |t: usize| y.row(t).transpose() - x.tr_mul(&other.coefficients(t));
                    let spread = (other.moment_covariance_between(s, t) * &x * x.transpose()).trace();
                    assert!((products[(s, t)] - residual(s).dot(&residual(t)) - spread).abs() < 1e-8);
                }
            }
        }
    }

    #[test]
    fn slopes_in_the_feature_covariance_are_those_of_the_dense_density() {
        let ((x, y), noise) = (data(), spd(TASKS, 40));
        for prior in priors() {
            let quadratics = complete(&x, &y, &noise);
            let slope = Posterior::given(&quadratics, &prior).unwrap().covariance_slope();
            for (a, b) in [(0, 0), (0, 1), (1, 1)] {
                let moved = |step: f64| {
                    let mut covariance = prior.feature_covariance();
                    covariance[(a, b)] += step;
                    if a != b {
                        covariance[(b, a)] += step;
                    }
                    dense(&x, &y, &noise, &Prior { factor: covariance.cholesky().unwrap().l(), ..prior.clone() })
                };
                let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                let own = slope[(a, b)] * if a == b { 1.0 } else { 2.0 };
                assert!((difference - own).abs() < 1e-5 * (1.0 + own.abs()), "{a} {b}: {difference} for {own}");
            }
        }
    }
}
