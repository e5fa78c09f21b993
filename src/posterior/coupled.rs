//! The engine of related tasks: one joint system, dense or along the task graph.

use super::elimination::Elimination;
use super::iterative::Iterative;
use super::sparse::Sparse;
use super::{Engine, Outcome, Solved};
use crate::error::{Error, Result};
use crate::graph::TaskGraph;
use crate::linalg::{self, Operand, multiply_add};
use crate::prior::{Prior, Relatedness};
use crate::quadratic::Quadratics;
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;
use std::sync::OnceLock;

/// Memory one joint system may take.
pub(super) const LIMIT_MB: u64 = 2_000;

/// Seed of the iterative system's draws: the same for all priors, so that neighbouring ones differ smoothly.
const SEED: u64 = 0;

/// Of every task L' J_t,v: and L' J_t L; the system of a task graph and log |Omega|.
type Along = fn(&TaskGraph, &[(DMatrix<f64>, DMatrix<f64>)]) -> Result<(System, f64)>;

/// Whether the factor of the joint system of r directions would not fit in memory.
pub(super) fn is_too_large(graph: &TaskGraph, r: usize) -> bool {
    Elimination::of(graph).needed_mb(r) > LIMIT_MB
}

/// L' J_v,: (r x p) and L' J_vv L (r x r) of a task.
pub(super) fn whitened(quadratics: &Quadratics, prior: &Prior, diagonal: Option<&[f64]>, task: usize) -> (DMatrix<f64>, DMatrix<f64>) {
    let (p, r, weight) = (quadratics.features(), prior.factor.ncols(), quadratics.precision(task));
    let curvature = quadratics.curvature(task);
    match diagonal {
        Some(l) => {
            let cross = DMatrix::from_fn(r, p, |k, j| weight * l[k] * curvature[j * p + prior.varying[k]]);
            let block = DMatrix::from_fn(r, r, |k, j| cross[(k, prior.varying[j])] * l[j]);
            (cross, block)
        }
        None => {
            let curvature = DMatrix::from_column_slice(p, p, curvature) * weight;
            let cross = prior.factor.transpose() * curvature.select_rows(&prior.varying);
            let block = cross.select_columns(&prior.varying) * &prior.factor;
            (cross, block)
        }
    }
}

pub(crate) struct Coupled {
    rank: usize,
    system: System,
    /// L' J_t,v: of every task, r x p.
    crosses: Vec<DMatrix<f64>>,
    /// A^-1 stack(L' J_v,m): (T r) x m.
    sensitivity: DMatrix<f64>,
}

/// A = Omega (x) I + blockdiag(L' J_t L), factored.
enum System {
    Dense {
        factor: DMatrix<f64>,
        inverse: OnceLock<DMatrix<f64>>,
    },
    /// Also Omega alone, a 1 x 1 block a task.
    Sparse {
        joint: Sparse,
        omega: Sparse,
    },
    /// The joint system not factored, for it fills in.
    Iterative {
        joint: Iterative,
        omega: Sparse,
    },
}

impl Coupled {
    pub(crate) fn solve(quadratics: &Quadratics, prior: &Prior) -> Result<Outcome> {
        Self::solve_along(quadratics, prior, System::of_graph)
    }

    /// With that way to make the system along a task graph.
    fn solve_along(quadratics: &Quadratics, prior: &Prior, along: Along) -> Result<Outcome> {
        let (tasks, r, p) = (quadratics.len(), prior.factor.ncols(), quadratics.features());
        let features = &prior.mean_features;
        let m = features.len();
        let related = match &prior.relatedness {
            Relatedness::Dense(sigma) => sigma.nrows(),
            Relatedness::Graph(graph) => graph.len(),
            _ => tasks,
        };
        if related != tasks {
            return Err(Error::Shape { what: "the relatedness".into(), found: related, expected: tasks });
        }
        let diagonal = prior.diagonal();
        let parts: Vec<(DMatrix<f64>, DMatrix<f64>)> =
            (0..tasks).into_par_iter().map(|t| whitened(quadratics, prior, diagonal.as_deref(), t)).collect();
        let (system, log_precision) = match &prior.relatedness {
            Relatedness::Dense(sigma) => System::dense(sigma, &parts)?,
            Relatedness::Graph(graph) => along(graph, &parts)?,
            _ => unreachable!("the block engine handles unrelated tasks"),
        };
        let mut right = DMatrix::zeros(tasks * r, m + 1);
        let (mut information, mut score) = (DMatrix::zeros(m, m), DVector::zeros(m));
        for t in 0..tasks {
            let (precision, linear) = (quadratics.precision(t), DVector::from_column_slice(quadratics.linear(t)));
            let curvature = DMatrix::from_column_slice(p, p, quadratics.curvature(t)) * precision;
            information += curvature.select_rows(features).select_columns(features);
            score += linear.select_rows(features) * precision;
            right.view_mut((t * r, 0), (r, m)).copy_from(&parts[t].0.select_columns(features));
            let own = prior.factor.transpose() * linear.select_rows(&prior.varying) * precision;
            right.view_mut((t * r, m), (r, 1)).copy_from(&own);
        }
        let mut solved = right.clone();
        system.solve(&mut solved, r)?;
        system.prepare();
        let Solved { mean, deviations, gradient, sensitivity } = Solved::new(prior, p, (&right, &solved), (information, score))?;
        let (log_determinant, error) = system.log_determinant();
        // Without relations the estimate is exact.
        let error = if error > 1e-9 * log_determinant.abs() { error } else { 0.0 };
        let mut log_likelihood = 0.5 * (gradient.dot(&deviations) - log_determinant + r as f64 * log_precision);
        for t in 0..tasks {
            log_likelihood += quadratics.task(t).value(&mean.mean);
        }
        let crosses = parts.into_iter().map(|(cross, _)| cross).collect();
        let engine = Engine::Coupled(Coupled { rank: r, system, crosses, sensitivity });
        let deviations = DMatrix::from_column_slice(r, tasks, deviations.as_slice());
        Ok(Outcome { mean, deviations, log_likelihood, log_likelihood_error: 0.5 * error, engine })
    }

    pub(crate) fn covariance(&self, s: usize, t: usize) -> DMatrix<f64> {
        let r = self.rank;
        match &self.system {
            System::Dense { factor, inverse } => {
                let inverse = whole_inverse(factor, inverse);
                inverse.view((s * r, t * r), (r, r)).into_owned()
            }
            System::Sparse { joint, .. } => joint.covariance(s, t, r),
            System::Iterative { joint, .. } => joint.covariance(s, t),
        }
    }

    /// Cov(b_s, b_t) for every s, by r columns of the joint system: (T r) x r.
    pub(crate) fn column(&self, t: usize) -> Result<DMatrix<f64>> {
        let r = self.rank;
        if let System::Dense { factor, inverse } = &self.system {
            return Ok(whole_inverse(factor, inverse).columns(t * r, r).into_owned());
        }
        let mut solved = DMatrix::zeros(self.crosses.len() * r, r);
        (0..r).for_each(|k| solved[(t * r + k, k)] = 1.0);
        self.system.solve(&mut solved, r)?;
        Ok(solved)
    }

    /// Covariance of sum_t weight_t b_t, by r columns of the joint system.
    pub(crate) fn combined(&self, weights: &[(usize, f64)]) -> DMatrix<f64> {
        let r = self.rank;
        let mut solved = DMatrix::zeros(self.crosses.len() * r, r);
        for (t, weight) in weights {
            (0..r).for_each(|k| solved[(t * r + k, k)] += weight);
        }
        self.system.solve(&mut solved, r).expect("the system has been solved for the means");
        let mut all = DMatrix::zeros(r, r);
        weights.iter().for_each(|(t, weight)| all += solved.rows(t * r, r) * *weight);
        linalg::symmetrise(&mut all);
        all
    }

    /// tr Cov(b_s, b_t).
    pub(crate) fn trace(&self, s: usize, t: usize) -> f64 {
        let r = self.rank;
        match &self.system {
            System::Dense { factor, inverse } => {
                let inverse = whole_inverse(factor, inverse);
                (0..r).map(|k| inverse[(s * r + k, t * r + k)]).sum()
            }
            System::Sparse { joint, .. } => joint.trace(s, t),
            System::Iterative { joint, .. } => joint.trace(s, t),
        }
    }

    /// Whether the covariances are estimates.
    pub(crate) fn is_estimated(&self) -> bool {
        matches!(self.system, System::Iterative { .. })
    }

    /// L' J_t L Cov(b_t): by A A^-1 = I it is I - sum_s Omega_ts Cov(b_s, b_t), but where the data say little an error in the covariance is
    /// little of it, and all of that sum.
    pub(crate) fn seen(&self, task: usize, prior: &Prior) -> DMatrix<f64> {
        self.crosses[task].select_columns(&prior.varying) * &prior.factor * self.covariance(task, task)
    }

    /// L' J_t over the varying features and all: r x p.
    pub(crate) fn cross(&self, task: usize) -> &DMatrix<f64> {
        &self.crosses[task]
    }

    pub(crate) fn sensitivity(&self, task: usize) -> DMatrix<f64> {
        self.sensitivity.rows(task * self.rank, self.rank).into_owned()
    }

    /// sum_st Sigma_st B_s' Cov(b_s, b_t) B_t with B_t = L' J_t,vv: what the posterior covariances take from the slope's
    /// curvature, q x q. O(T^2 r^2 q) over the pairs that are related.
    pub(crate) fn explained(&self, sigma: &DMatrix<f64>, varying: &[usize]) -> DMatrix<f64> {
        if let System::Sparse { joint, .. } = &self.system {
            joint.prepare_all();
        }
        let (r, q) = (self.rank, varying.len());
        let crosses: Vec<DMatrix<f64>> = self.crosses.iter().map(|cross| cross.select_columns(varying)).collect();
        let each: Vec<DMatrix<f64>> = (0..crosses.len())
            .into_par_iter()
            .map(|t| {
                let mut gathered = DMatrix::zeros(r, q);
                for (s, cross) in crosses.iter().enumerate().filter(|(s, _)| sigma[(*s, t)] != 0.0) {
                    let block = self.covariance(t, s);
                    multiply_add(gathered.as_mut_slice(), sigma[(s, t)], Operand::of(&block), Operand::of(cross));
                }
                crosses[t].transpose() * gathered
            })
            .collect();
        each.into_iter().fold(DMatrix::zeros(q, q), |sum, part| sum + part)
    }

    /// Adds tr(Cov(b_s, b_t)) to every element.
    pub(crate) fn add_traces(&self, moment: &mut DMatrix<f64>) {
        match &self.system {
            System::Dense { .. } | System::Iterative { .. } => {
                for t in 0..moment.nrows() {
                    (0..moment.nrows()).for_each(|s| moment[(s, t)] += self.trace(s, t));
                }
            }
            System::Sparse { joint, .. } => joint.add_traces(moment),
        }
    }

    /// Sigma along the task graph.
    pub(crate) fn sigma(&self, s: usize, t: usize) -> f64 {
        match &self.system {
            System::Dense { .. } => unreachable!("a dense Sigma is at hand in the prior"),
            System::Sparse { omega, .. } | System::Iterative { omega, .. } => omega.covariance(s, t, 1)[(0, 0)],
        }
    }

    /// Memory that the covariances of all pairs of tasks take beyond those along the task graph.
    pub(crate) fn inverse_mb(&self) -> u64 {
        match &self.system {
            System::Dense { .. } => 0,
            System::Sparse { joint, .. } => joint.inverse_mb(),
            System::Iterative { .. } => ((self.crosses.len() * self.rank).pow(2) * 8 / 1_000_000) as u64,
        }
    }

    pub(crate) fn draw(&self, normal: DVector<f64>, tasks: usize) -> Result<DMatrix<f64>> {
        let r = self.rank;
        let mut draw = DMatrix::from_column_slice(normal.len(), 1, normal.as_slice());
        match &self.system {
            System::Dense { factor, .. } => {
                linalg::solve_lower_transpose(factor.as_slice(), factor.nrows(), draw.as_mut_slice());
            }
            System::Sparse { joint, .. } => joint.solve_transpose(&mut draw, r),
            System::Iterative { joint, .. } => draw = joint.draw(&draw)?,
        }
        Ok(DMatrix::from_column_slice(r, tasks, draw.as_slice()))
    }
}

fn whole_inverse<'a>(factor: &DMatrix<f64>, inverse: &'a OnceLock<DMatrix<f64>>) -> &'a DMatrix<f64> {
    inverse.get_or_init(|| linalg::inverse_of_cholesky(factor))
}

impl System {
    /// The dense system and log |Omega|.
    fn dense(sigma: &DMatrix<f64>, parts: &[(DMatrix<f64>, DMatrix<f64>)]) -> Result<(System, f64)> {
        let (tasks, r) = (parts.len(), parts.first().map_or(0, |part| part.1.nrows()));
        let size = tasks * r;
        let needed_mb = (size * size) as u64 * 8 * 4 / 1_000_000;
        if needed_mb > LIMIT_MB {
            return Err(Error::TooLarge {
                what: format!("the dense system of {tasks} tasks x {r} varying directions"),
                needed_mb,
                limit_mb: LIMIT_MB,
                remedy: "let fewer features vary, or use --structure exchangeable".into(),
            });
        }
        let root = linalg::cholesky(sigma.clone()).ok_or_else(|| Error::NotPositiveDefinite {
            matrix: "the task covariance Sigma".into(),
            remedy: "raise --prior-strength".into(),
        })?;
        let omega = linalg::inverse_of_cholesky(&root);
        let mut system = DMatrix::zeros(size, size);
        for t in 0..tasks {
            for s in 0..tasks {
                (0..r).for_each(|k| system[(s * r + k, t * r + k)] = omega[(s, t)]);
            }
            let mut block = system.view_mut((t * r, t * r), (r, r));
            block += &parts[t].1;
        }
        let factor = linalg::cholesky(system).ok_or_else(|| Error::NotPositiveDefinite {
            matrix: "the joint posterior precision".into(),
            remedy: "standardise the features with --standardise both".into(),
        })?;
        Ok((System::Dense { factor, inverse: OnceLock::new() }, -linalg::log_determinant(&root)))
    }

    /// Factored where the factor fits in memory.
    fn of_graph(graph: &TaskGraph, parts: &[(DMatrix<f64>, DMatrix<f64>)]) -> Result<(System, f64)> {
        let elimination = Elimination::of(graph);
        if elimination.needed_mb(parts.first().map_or(0, |part| part.1.nrows())) > LIMIT_MB {
            return Self::iterative(&elimination, graph, parts);
        }
        let (omega, log_determinant) = Self::omega(&elimination, graph)?;
        let blocks: Vec<&DMatrix<f64>> = parts.iter().map(|part| &part.1).collect();
        Ok((System::Sparse { joint: Sparse::along(&elimination, graph, &blocks)?, omega }, log_determinant))
    }

    /// With the joint system not factored.
    fn iterative(elimination: &Elimination, graph: &TaskGraph, parts: &[(DMatrix<f64>, DMatrix<f64>)]) -> Result<(System, f64)> {
        let (omega, log_determinant) = Self::omega(elimination, graph)?;
        let blocks: Vec<&DMatrix<f64>> = parts.iter().map(|part| &part.1).collect();
        Ok((System::Iterative { joint: Iterative::new(graph, &blocks, SEED)?, omega }, log_determinant))
    }

    /// Omega factored, and log |Omega|.
    fn omega(elimination: &Elimination, graph: &TaskGraph) -> Result<(Sparse, f64)> {
        let nothing = DMatrix::zeros(1, 1);
        let omega = Sparse::along(elimination, graph, &vec![&nothing; graph.len()])?;
        let log_determinant = omega.log_determinant();
        Ok((omega, log_determinant))
    }

    /// Makes the covariances of the joined tasks now, in parallel: begun by one of several workers that ask for them, the others could wait
    /// for it while it waits for them.
    fn prepare(&self) {
        match self {
            System::Dense { .. } => {}
            System::Sparse { joint, .. } => joint.prepare(),
            System::Iterative { joint, .. } => joint.prepare(),
        }
    }

    fn solve(&self, right: &mut DMatrix<f64>, r: usize) -> Result<()> {
        match self {
            System::Dense { factor, .. } => linalg::solve_cholesky(factor, right),
            System::Sparse { joint, .. } => joint.solve(right, r),
            System::Iterative { joint, .. } => return joint.solve(right),
        }
        Ok(())
    }

    /// log |A| and its standard error.
    fn log_determinant(&self) -> (f64, f64) {
        match self {
            System::Dense { factor, .. } => (linalg::log_determinant(factor), 0.0),
            System::Sparse { joint, .. } => (joint.log_determinant(), 0.0),
            System::Iterative { joint, .. } => joint.log_determinant(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prior::Mean;
    use crate::quadratic::Quadratic;

    /// Without a factor: means, sensitivities and the mean's information to rounding, the log-likelihood and covariances within
    /// their Monte Carlo errors.
    #[test]
    fn the_iterative_system_agrees_with_the_factored_one() {
        let (tasks, p) = (60, 4);
        let uneven = |i: usize| ((i * 37 + i * i * 11) % 97) as f64 / 48.0 - 1.0;
        let quadratics: Vec<Quadratic> = (0..tasks)
            .map(|t| {
                let rows = DMatrix::from_fn(6, p, |i, j| uneven(t * 31 + i * 7 + j));
                Quadratic {
                    constant: 0.0,
                    linear: DVector::from_fn(p, |i, _| 3.0 * uneven(t * 13 + i)),
                    curvature: rows.transpose() * &rows,
                }
            })
            .collect();
        let quadratics = Quadratics::new(&quadratics).unwrap();
        let names: Vec<String> = (0..tasks).map(|t| t.to_string()).collect();
        let mut graph = TaskGraph::empty(&names);
        for (s, t) in (0..tasks).flat_map(|t| [(t, (t + 1) % tasks), (t, (t + 7) % tasks)]) {
            graph.connect(s, t, 0.22 * uneven(s + 3 * t), None);
        }
        for mean in [Mean::Integrated, Mean::Given(DVector::from_element(p, 0.2))] {
            let factor = DMatrix::from_row_slice(3, 3, &[0.9, 0.0, 0.0, 0.3, 0.7, 0.0, 0.1, -0.2, 1.1]);
            let prior = Prior::new(mean, Relatedness::Graph(graph.clone()), factor);
            let prior = Prior { mean_features: (0..p).collect(), varying: vec![0, 1, 3], ..prior };
            let exact = Coupled::solve(&quadratics, &prior).unwrap();
            let found =
                Coupled::solve_along(&quadratics, &prior, |graph, parts| System::iterative(&Elimination::of(graph), graph, parts)).unwrap();
            assert!(exact.log_likelihood_error == 0.0 && found.log_likelihood_error > 0.0);
            assert!((&exact.mean.mean - &found.mean.mean).amax() < 1e-9);
            assert!((&exact.mean.covariance - &found.mean.covariance).amax() < 1e-9);
            assert!((&exact.deviations - &found.deviations).amax() < 1e-9);
            assert!((exact.log_likelihood - found.log_likelihood).abs() < 4.0 * found.log_likelihood_error);
            assert!(found.log_likelihood_error < 1.0, "{}", found.log_likelihood_error);
            let mut squares = 0.0;
            for t in 0..tasks {
                assert!(
                    (exact.engine.sensitivity(&quadratics, &prior, t) - found.engine.sensitivity(&quadratics, &prior, t)).amax() < 1e-9
                );
                for s in [t, (t + 1) % tasks, (t + 7) % tasks] {
                    assert!((exact.engine.sigma(s, t) - found.engine.sigma(s, t)).abs() < 1e-12);
                    let (a, b) = (exact.engine.covariance(s, t), found.engine.covariance(s, t));
                    let size = exact.engine.covariance(t, t).norm();
                    squares += ((a - b).norm() / size).powi(2);
                }
            }
            assert!((squares / (3 * tasks) as f64).sqrt() < 0.05, "{}", (squares / (3 * tasks) as f64).sqrt());
            // Where the data say little, errors are small beside what they say, which decides the slope of K and of the noise.
            let weak = Prior { factor: &prior.factor * 0.03, ..prior };
            let exact = Coupled::solve(&quadratics, &weak).unwrap();
            let found =
                Coupled::solve_along(&quadratics, &weak, |graph, parts| System::iterative(&Elimination::of(graph), graph, parts)).unwrap();
            let (Engine::Coupled(exact), Engine::Coupled(found)) = (&exact.engine, &found.engine) else { unreachable!() };
            // Columns are solved for, so that they are exact where single covariances are averages over draws.
            for (t, s) in (0..tasks).flat_map(|t| [(t, 0), (t, t), (t, tasks - 1)]) {
                let truth = exact.covariance(s, t);
                for column in [exact.column(t).unwrap(), found.column(t).unwrap()] {
                    assert!((column.rows(3 * s, 3) - &truth).amax() < 1e-9 * (1.0 + truth.amax()));
                }
            }
            for t in 0..tasks {
                let tied = std::iter::once(t).chain(graph.neighbours(t)).fold(DMatrix::identity(3, 3), |sum, s| {
                    let precision = if s == t { graph.node(t).precision } else { graph.edge(s, t).unwrap().precision };
                    sum - exact.covariance(s, t) * precision
                });
                assert!((exact.seen(t, &weak) - &tied).norm() < 1e-9);
                assert!((found.seen(t, &weak) - &tied).norm() < 0.1 * tied.norm());
            }
        }
    }
}
