//! The engine of related tasks: one joint system, dense or along the task graph.

use super::sparse::Sparse;
use super::{Engine, MeanEstimate, Outcome};
use crate::error::{Error, Result};
use crate::linalg::{self, Operand, multiply_add};
use crate::prior::{Prior, Relatedness};
use crate::quadratic::Quadratics;
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;
use std::sync::OnceLock;

/// Memory one joint system may take.
pub(super) const LIMIT_MB: u64 = 2_000;

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
}

impl Coupled {
    pub(crate) fn solve(quadratics: &Quadratics, prior: &Prior) -> Result<Outcome> {
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
        // L' J_v,: (r x p) and L' J_vv L (r x r) of every task.
        let parts: Vec<(DMatrix<f64>, DMatrix<f64>)> = (0..tasks)
            .into_par_iter()
            .map(|t| {
                let weight = quadratics.precision(t);
                let curvature = quadratics.curvature(t);
                match &diagonal {
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
            })
            .collect();
        let (system, log_precision) = match &prior.relatedness {
            Relatedness::Dense(sigma) => System::dense(sigma, &parts)?,
            Relatedness::Graph(graph) => System::sparse(graph, &parts)?,
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
        system.solve(&mut solved, r);
        let cross = right.columns(0, m).transpose() * &solved;
        information -= cross.columns(0, m);
        score -= cross.column(m);
        linalg::symmetrise(&mut information);
        let mean = MeanEstimate::solve(prior, p, information, score)?;
        let own_mean = mean.mean.select_rows(features);
        let deviations = solved.column(m) - solved.columns(0, m) * &own_mean;
        let gradient = right.column(m) - right.columns(0, m) * &own_mean;
        let mut log_likelihood = 0.5 * (gradient.dot(&deviations) - system.log_determinant() + r as f64 * log_precision);
        for t in 0..tasks {
            log_likelihood += quadratics.task(t).value(&mean.mean);
        }
        let crosses = parts.into_iter().map(|(cross, _)| cross).collect();
        let engine = Engine::Coupled(Coupled { rank: r, system, crosses, sensitivity: solved.columns(0, m).into_owned() });
        Ok(Outcome { mean, deviations: DMatrix::from_column_slice(r, tasks, deviations.as_slice()), log_likelihood, engine })
    }

    pub(crate) fn covariance(&self, s: usize, t: usize) -> DMatrix<f64> {
        let r = self.rank;
        match &self.system {
            System::Dense { factor, inverse } => {
                let inverse = whole_inverse(factor, inverse);
                inverse.view((s * r, t * r), (r, r)).into_owned()
            }
            System::Sparse { joint, .. } => joint.covariance(s, t, r),
        }
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
        }
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
            System::Dense { .. } => {
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
            System::Sparse { omega, .. } => omega.covariance(s, t, 1)[(0, 0)],
        }
    }

    /// Memory that the covariances of all pairs of tasks take beyond those along the task graph.
    pub(crate) fn inverse_mb(&self) -> u64 {
        match &self.system {
            System::Dense { .. } => 0,
            System::Sparse { joint, .. } => joint.inverse_mb(),
        }
    }

    pub(crate) fn draw(&self, normal: DVector<f64>, tasks: usize) -> DMatrix<f64> {
        let r = self.rank;
        let mut draw = DMatrix::from_column_slice(normal.len(), 1, normal.as_slice());
        match &self.system {
            System::Dense { factor, .. } => {
                let upper = factor.transpose();
                draw = upper.solve_upper_triangular(&draw).expect("a Cholesky factor has no zero pivot");
            }
            System::Sparse { joint, .. } => joint.solve_transpose(&mut draw, r),
        }
        DMatrix::from_column_slice(r, tasks, draw.as_slice())
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

    fn sparse(graph: &crate::graph::TaskGraph, parts: &[(DMatrix<f64>, DMatrix<f64>)]) -> Result<(System, f64)> {
        let blocks: Vec<&DMatrix<f64>> = parts.iter().map(|part| &part.1).collect();
        let unit = DMatrix::zeros(1, 1);
        let omega = Sparse::factorise(graph, &vec![&unit; parts.len()])?;
        let log_determinant = omega.log_determinant();
        Ok((System::Sparse { joint: Sparse::factorise(graph, &blocks)?, omega }, log_determinant))
    }

    fn solve(&self, right: &mut DMatrix<f64>, r: usize) {
        match self {
            System::Dense { factor, .. } => linalg::solve_cholesky(factor, right),
            System::Sparse { joint, .. } => joint.solve(right, r),
        }
    }

    fn log_determinant(&self) -> f64 {
        match self {
            System::Dense { factor, .. } => linalg::log_determinant(factor),
            System::Sparse { joint, .. } => joint.log_determinant(),
        }
    }
}
