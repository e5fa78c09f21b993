//! The engine of tasks that are related in some directions only: the others are integrated out of the quadratics first.

use super::{Engine, MeanEstimate, Outcome, Posterior};
use crate::error::{Error, Result};
use crate::linalg;
use crate::prior::{Prior, Relatedness};
use crate::quadratic::{Quadratic, Quadratics};
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

/// With u_t = L b_t and L block-diagonal, the unrelated part of b_t is N(0, I) in every task by itself. Given the mean and the
/// related part of u_t it is N(base - slope (mean + u_t), M^-1) with M = I + L' J_t L over its own features, and integrating over it
/// leaves a quadratic in the mean and the related part: a posterior of its own, by whichever engine.
pub(crate) struct Apart {
    related: Box<Posterior<'static>>,
    /// Columns of L of either kind.
    related_columns: Vec<usize>,
    own_columns: Vec<usize>,
    /// Of the directions of own columns in every task.
    own: Vec<Own>,
}

struct Own {
    /// M^-1 L' h.
    base: DVector<f64>,
    /// M^-1 L' J over all features.
    slope: DMatrix<f64>,
    /// d E[own part] / d related part, with the sign changed.
    pull: DMatrix<f64>,
    /// Cholesky factor of M.
    root: DMatrix<f64>,
    covariance: DMatrix<f64>,
}

impl Apart {
    /// O(T p^3) beside the engine of the related directions.
    pub(crate) fn solve(quadratics: &Quadratics, prior: &Prior) -> Result<Outcome> {
        if matches!(prior.relatedness, Relatedness::Zero | Relatedness::Diagonal(_)) {
            return Err(Error::Arguments("tasks that share no spread have no directions in which to be unrelated; leave these out".into()));
        }
        let (p, r) = (quadratics.features(), prior.factor.ncols());
        let positions = prior.related_positions();
        let features: Vec<usize> = positions.iter().map(|k| prior.varying[*k]).collect();
        let related_columns = prior.related_columns();
        let own_columns: Vec<usize> = (0..r).filter(|k| !related_columns.contains(k)).collect();
        let own_positions = prior.unrelated_positions();
        if own_positions.iter().any(|a| related_columns.iter().any(|k| prior.factor[(*a, *k)] != 0.0)) {
            return Err(Error::Arguments(
                "the feature covariance joins features in whose directions tasks are related with others; make it block-diagonal".into(),
            ));
        }
        // Over all features, as the quadratics are.
        let mut spread = DMatrix::zeros(p, own_columns.len());
        for (j, k) in own_columns.iter().enumerate() {
            own_positions.iter().for_each(|a| spread[(prior.varying[*a], j)] = prior.factor[(*a, *k)]);
        }
        let factor = prior.factor.select_rows(&positions).select_columns(&related_columns);
        let each = (0..quadratics.len()).into_par_iter().map(|t| Own::of(quadratics, t, &spread, (&features, &factor)));
        let (own, rests): (Vec<Own>, Vec<Quadratic>) = each.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        let reduced = Quadratics::new(&rests)?;
        let inner = Prior { varying: features, unrelated: Vec::new(), factor, ..prior.clone() };
        let related = Box::new(Posterior::owning(reduced, &inner)?);
        let mut deviations = DMatrix::zeros(r, quadratics.len());
        for (t, own) in own.iter().enumerate() {
            let there = &own.base - &own.slope * related.kept_coefficients(t);
            related_columns.iter().enumerate().for_each(|(i, k)| deviations[(*k, t)] = related.deviations[(i, t)]);
            own_columns.iter().enumerate().for_each(|(i, k)| deviations[(*k, t)] = there[i]);
        }
        let mean = MeanEstimate { mean: related.mean.clone(), covariance: related.mean_covariance.clone(), log_volume: 0.0 };
        let (log_likelihood, log_likelihood_error) = (related.log_likelihood, related.log_likelihood_error);
        let engine = Engine::Apart(Apart { related, related_columns, own_columns, own });
        Ok(Outcome { mean, deviations, log_likelihood, log_likelihood_error, engine })
    }

    /// The posterior of the related directions.
    pub(crate) fn related(&self) -> &Posterior<'static> {
        &self.related
    }

    pub(crate) fn related_columns(&self) -> &[usize] {
        &self.related_columns
    }

    pub(crate) fn own_columns(&self) -> &[usize] {
        &self.own_columns
    }

    /// tr Cov of the unrelated directions of a task, given the mean.
    pub(crate) fn own_trace(&self, task: usize) -> f64 {
        let own = &self.own[task];
        own.covariance.trace() + (&own.pull * self.related.engine.covariance(task, task)).dot(&own.pull)
    }

    fn size(&self) -> usize {
        self.related_columns.len() + self.own_columns.len()
    }

    pub(crate) fn covariance(&self, s: usize, t: usize) -> DMatrix<f64> {
        self.joined((s, t), &self.related.engine.covariance(s, t))
    }

    /// As [`Engine::column`].
    pub(crate) fn column(&self, t: usize, tasks: usize) -> Result<DMatrix<f64>> {
        let (size, related) = (self.size(), self.related.engine.column(t, tasks)?);
        let mut all = DMatrix::zeros(tasks * size, size);
        for s in 0..tasks {
            let both = related.rows(s * related.ncols(), related.ncols()).into_owned();
            all.rows_mut(s * size, size).copy_from(&self.joined((s, t), &both));
        }
        Ok(all)
    }

    /// Cov(b_s, b_t) from that of the related directions.
    fn joined(&self, (s, t): (usize, usize), both: &DMatrix<f64>) -> DMatrix<f64> {
        let (first, second) = (&self.own[s], &self.own[t]);
        let left = -&first.pull * both;
        let mut corner = -&left * second.pull.transpose();
        if s == t {
            corner += &first.covariance;
        }
        let mut all = DMatrix::zeros(self.size(), self.size());
        let (related, own) = (&self.related_columns, &self.own_columns);
        linalg::place(&mut all, (related, related), both);
        linalg::place(&mut all, (own, related), &left);
        linalg::place(&mut all, (related, own), &(-both * second.pull.transpose()));
        linalg::place(&mut all, (own, own), &corner);
        all
    }

    pub(crate) fn sigma(&self, s: usize, t: usize) -> f64 {
        self.related.engine.sigma(s, t)
    }

    pub(crate) fn sensitivity(&self, task: usize) -> DMatrix<f64> {
        let features = &self.related.inner.mean_features;
        let both = self.related.sensitivity(task);
        let own = &self.own[task];
        let there = own.slope.select_columns(features) - &own.pull * &both;
        let mut all = DMatrix::zeros(self.size(), features.len());
        let columns: Vec<usize> = (0..features.len()).collect();
        linalg::place(&mut all, (&self.related_columns, &columns), &both);
        linalg::place(&mut all, (&self.own_columns, &columns), &there);
        all
    }

    /// How many standard normal numbers a draw of so many elements takes.
    pub(crate) fn normals(&self, elements: usize) -> usize {
        let related = self.related.deviations.len();
        elements - related + self.related.engine.normals(related)
    }

    pub(crate) fn draw(&self, normal: DVector<f64>, tasks: usize) -> Result<DMatrix<f64>> {
        let k = self.own_columns.len();
        let before = self.related.engine.normals(self.related.deviations.len());
        let related = self.related.engine.draw(normal.rows(0, before).into_owned(), tasks)?;
        let mut all = DMatrix::zeros(self.size(), tasks);
        for t in 0..tasks {
            let own = &self.own[t];
            let mut noise = normal.rows(before + t * k, k).into_owned();
            linalg::solve_lower_transpose(own.root.as_slice(), k, noise.as_mut_slice());
            noise -= &own.pull * related.column(t);
            self.related_columns.iter().enumerate().for_each(|(i, place)| all[(*place, t)] = related[(i, t)]);
            self.own_columns.iter().enumerate().for_each(|(i, place)| all[(*place, t)] = noise[i]);
        }
        Ok(all)
    }
}

impl Own {
    /// Also the task's quadratic without the unrelated part. By a root of its curvature, J = B' B, of B L = G and of
    /// S = I + G G' = R R': what is left is (R^-1 B)' (R^-1 B). The difference J - J L M^-1 L' J is the same and loses all its digits
    /// where the rows decide a direction a hundred million times better than the prior.
    fn of(quadratics: &Quadratics, t: usize, spread: &DMatrix<f64>, related: (&[usize], &DMatrix<f64>)) -> Result<(Own, Quadratic)> {
        let task = quadratics.task(t);
        let refused = || Error::NotPositiveDefinite {
            matrix: format!("the posterior precision of the features in which task number {} varies by itself", t + 1),
            remedy: "the features all but determine the target: leave features out, or use --standardise both".into(),
        };
        let (lower, pivots) = linalg::pivoted_root(&task.curvature);
        let mut rest = task.linear;
        let mut target = DVector::zeros(pivots.len());
        for (k, pivot) in pivots.into_iter().enumerate() {
            target[k] = rest[pivot] / lower[(pivot, k)];
            rest.axpy(-target[k], &lower.column(k), 1.0);
        }
        let design = lower.transpose() * spread;
        let mut outer = &design * design.transpose();
        let mut inner = linalg::gram(&design);
        [&mut outer, &mut inner].into_iter().for_each(|matrix| (0..matrix.nrows()).for_each(|k| matrix[(k, k)] += 1.0));
        let (scale, root) = linalg::cholesky(outer).zip(linalg::cholesky(inner)).ok_or_else(refused)?;
        let solved = |mut right: DMatrix<f64>| {
            linalg::solve_lower_matrix(&scale, &mut right);
            right
        };
        let (left, along) = (solved(lower.transpose()), solved(design));
        let seen = solved(DMatrix::from_column_slice(target.len(), 1, target.as_slice())).column(0).into_owned();
        let constant = task.constant + 0.5 * (target.norm_squared() - seen.norm_squared() - linalg::log_determinant(&root));
        let rest = Quadratic { constant, linear: left.tr_mul(&seen), curvature: linalg::gram(&left) };
        let slope = along.tr_mul(&left);
        let pull = slope.select_columns(related.0) * related.1;
        Ok((Own { base: along.tr_mul(&seen), slope, pull, covariance: linalg::inverse_of_cholesky(&root), root }, rest))
    }
}
