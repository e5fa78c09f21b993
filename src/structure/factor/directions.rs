//! Which combinations of tasks vary together, and what each has for itself: loadings under a prior that leaves nothing of what chance would make.

use super::super::feature_covariance::{FactorSpace, FeatureCovariance};
use super::super::{Exchangeable, Setting, Smooth, Structure};
use super::Parts;
use crate::error::{Error, Result};
use crate::likelihood::Dispersion;
use crate::linalg;
use crate::posterior::Posterior;
use crate::prior::{Prior, Relatedness};
use nalgebra::{DMatrix, DVector};

/// Loadings per root of the uniqueness, h_t = lambda_t / sqrt(D_t), are N(0, V), V unknown and integrated: |I + H'H / c|^(-T/2), with c where the largest
/// factor that chance makes of unrelated tasks is worth nothing. Uniquenesses are inverse gamma about 1: -nu/2 (log D_t + 1 / D_t - 1).
#[derive(Clone, Debug)]
pub(super) struct Directions {
    space: FactorSpace,
    rank: usize,
    strength: f64,
    /// c.
    spread: f64,
    /// Whether the latest M-step was that of Sigma.
    of_tasks: bool,
}

impl Directions {
    pub(super) fn new(rank: usize, covariance: FeatureCovariance, strength: f64) -> Self {
        Directions { space: FactorSpace::new(covariance), rank, strength, spread: 1.0, of_tasks: false }
    }

    /// The leading directions of the posterior means: with B = U S V' (r x T) loadings V S / sqrt(r), and the rest as uniquenesses. O(T r^2).
    fn begun(&mut self, posterior: &Posterior) -> Prior {
        let related = posterior.related();
        let deviations = related.whitened_deviations();
        let (r, tasks) = deviations.shape();
        // Of noise alone the leading value of r S - r I is T + 2 sqrt(T r), with as many directions r as the tasks' own rows decide.
        self.spread = 1.0 / (1.0 + 2.0 * (related.effective_directions() / tasks as f64).sqrt());
        let (_, vectors) = linalg::symmetric_eigen(&(deviations * deviations.transpose()));
        let leading: Vec<usize> = (0..r).rev().take(self.rank).collect();
        let mut loadings = DMatrix::zeros(self.rank, tasks);
        let found = vectors.select_columns(&leading).tr_mul(deviations) / (r.max(1) as f64).sqrt();
        loadings.rows_mut(0, leading.len()).copy_from(&found);
        let uniquenesses = DVector::from_fn(tasks, |t, _| (1.0 - loadings.column(t).norm_squared()).max(0.2));
        self.of_tasks = false;
        Parts { loadings, uniquenesses }.prior(posterior.prior().clone())
    }

    /// T (c I + H'H)^-1, of which H times it is the fall of the log prior in H.
    fn tightness(&self, parts: &Parts) -> DMatrix<f64> {
        let (k, tasks) = parts.loadings.shape();
        let spread = parts.strengths() + DMatrix::identity(k, k) * self.spread;
        let root = linalg::cholesky(spread).expect("c is positive");
        linalg::inverse_of_cholesky(&root) * tasks as f64
    }
}

impl Structure for Directions {
    fn name(&self) -> &'static str {
        "factor"
    }

    fn feature_covariance(&self) -> Option<FeatureCovariance> {
        Some(self.space.kind)
    }

    fn base(&self) -> Option<Box<dyn Structure>> {
        Some(Box::new(Exchangeable::new(self.space.kind)))
    }

    fn start(&mut self, setting: &Setting) -> Result<(Prior, Option<Dispersion>)> {
        let (tasks, directions) = (setting.names.len(), setting.varying.len() - setting.unrelated.len());
        let most = directions.min(tasks.saturating_sub(1));
        if self.rank == 0 || self.rank > most {
            return Err(Error::Arguments(format!(
                "{tasks} tasks related in {directions} varying features have at most {most} factors, not {}; ask for another --rank",
                self.rank
            )));
        }
        let prior = setting.prior(setting.learned_mean(), Relatedness::Identity, self.space.start(setting));
        Ok((prior, None))
    }

    /// By turns of Sigma given K and of K given Sigma, each from the deviations (and the factors) at the latest prior of all.
    fn update(&mut self, posterior: &Posterior) -> Result<Prior> {
        let Some(parts) = Parts::of(posterior.prior()) else { return Ok(self.begun(posterior)) };
        self.of_tasks = !self.of_tasks;
        if !self.of_tasks {
            return Ok(self.space.step(posterior));
        }
        let related = posterior.related();
        let (moments, r) = (related.factor_moments(), related.prior().factor.ncols() as f64);
        let root = linalg::cholesky(moments.factors + self.tightness(&parts)).ok_or_else(|| Error::NotPositiveDefinite {
            matrix: "the moments of the factors".into(),
            remedy: "ask for fewer with --rank".into(),
        })?;
        let mut loadings = moments.cross.clone();
        linalg::solve_cholesky(&root, &mut loadings);
        let rest = |t: usize| (moments.squares[t] - moments.cross.column(t).dot(&loadings.column(t))).max(0.0);
        let uniquenesses = DVector::from_fn(loadings.ncols(), |t, _| (rest(t) + self.strength) / (r + self.strength));
        Ok(Parts { loadings, uniquenesses }.prior(posterior.prior().clone()))
    }

    fn log_prior(&self, prior: &Prior) -> f64 {
        let Some(parts) = Parts::of(prior) else { return 0.0 };
        let (k, tasks) = parts.loadings.shape();
        let scaled = parts.scaled();
        let spread = &scaled * scaled.transpose() / self.spread + DMatrix::identity(k, k);
        let Some(root) = linalg::cholesky(spread) else { return f64::NEG_INFINITY };
        parts.log_prior_of_uniquenesses(self.strength) - 0.5 * tasks as f64 * linalg::log_determinant(&root)
    }

    fn relates(&self) -> bool {
        true
    }

    fn parameters(&self, prior: &Prior) -> usize {
        let Some(parts) = Parts::of(prior) else { return self.space.len(prior) };
        let k = parts.loadings.row_iter().filter(|row| row.norm() > 0.0).count();
        self.space.len(prior) + parts.free(k)
    }

    fn smooth(&self) -> Option<&dyn Smooth> {
        Some(self)
    }
}

impl Smooth for Directions {
    /// Those of K, then of every task h_t and log sqrt(D_t).
    fn coordinates(&self, prior: &Prior) -> Vec<f64> {
        let mut point = self.space.coordinates(prior);
        if let Some(parts) = Parts::of(prior) {
            for (own, variance) in parts.scaled().column_iter().zip(parts.uniquenesses.iter()) {
                point.extend(own.iter());
                point.push(0.5 * variance.ln());
            }
        }
        point
    }

    fn at(&self, point: &[f64], like: &Prior) -> Option<Prior> {
        /// Largest logarithm of a root of a uniqueness.
        const FAR: f64 = 20.0;
        if Parts::of(like).is_none() {
            return Some(self.space.at(point, like));
        }
        let (own, rest) = point.split_at(self.space.len(like));
        let tasks = rest.len() / (self.rank + 1);
        let (mut loadings, mut uniquenesses) = (DMatrix::zeros(self.rank, tasks), DVector::zeros(tasks));
        for (t, of_task) in rest.chunks_exact(self.rank + 1).enumerate() {
            let log = of_task[self.rank];
            if log.abs() > FAR {
                return None;
            }
            (0..self.rank).for_each(|j| loadings[(j, t)] = of_task[j] * log.exp());
            uniquenesses[t] = (2.0 * log).exp();
        }
        Some(Parts { loadings, uniquenesses }.prior(self.space.at(own, like)))
    }

    /// By Fisher's identity with the factors: (E[Z'b_t] - E[Z'Z] lambda_t) / D_t in lambda_t and so on.
    fn slope(&self, posterior: &Posterior) -> Vec<f64> {
        let mut slope = self.space.slope(posterior);
        let Some(parts) = Parts::of(posterior.prior()) else { return slope };
        let related = posterior.related();
        let (moments, r) = (related.factor_moments(), related.prior().factor.ncols() as f64);
        let fall = self.tightness(&parts) * parts.scaled();
        let explained = &moments.factors * &parts.loadings;
        for (t, variance) in parts.uniquenesses.iter().enumerate() {
            let root = variance.sqrt();
            let (cross, loading) = (moments.cross.column(t), parts.loadings.column(t));
            slope.extend((0..self.rank).map(|j| (cross[j] - explained[(j, t)]) / root - fall[(j, t)]));
            let own = (moments.squares[t] - loading.dot(&cross)) / variance - r;
            slope.push(own - self.strength * (1.0 - 1.0 / variance));
        }
        slope
    }

    fn of_features(&self) -> Option<&dyn Smooth> {
        Some(&self.space)
    }
}
