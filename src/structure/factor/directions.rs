//! Which combinations of tasks vary together, and what each has for itself: loadings under a prior that leaves nothing of what chance would make.

use super::super::feature_covariance::{FactorSpace, FeatureCovariance};
use super::super::{Exchangeable, Information, Setting, Smooth, Structure};
use super::Parts;
use crate::error::{Error, Result};
use crate::likelihood::Dispersion;
use crate::linalg::{self, lanes::triangle};
use crate::posterior::Posterior;
use crate::prior::{Mean, Prior, Relatedness};
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
    /// M-steps since factors have begun.
    steps: usize,
}

impl Directions {
    pub(super) fn new(rank: usize, covariance: FeatureCovariance, strength: f64) -> Self {
        Directions { space: FactorSpace::new(covariance), rank, strength, spread: 1.0, steps: 0 }
    }

    /// The leading directions of the posterior means: with B = U S V' (r x T) loadings V S / sqrt(r) and the rest as uniquenesses, in the size that the prior
    /// gives such factors. O(T r^2).
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
        self.steps = 0;
        let parts = Parts { loadings, uniquenesses };
        let directions = DMatrix::identity(self.rank, self.rank) * r as f64;
        levelled(self.sized(parts, &directions, r as f64), posterior.prior().clone())
    }

    /// Lambda A with the k x k matrix A at which log prior and log density of the factors Z A^-T, N(0, I), together are highest, E[Z'Z] given: what tasks have of
    /// factors stays as it is. With A = C diag(u)^(1/2), C'E[Z'Z]^-1 C = I and C'H'H C = diag(g), r u_j solves a quadratic equation by itself. So factors are
    /// principal ones too.
    fn sized(&self, parts: Parts, moment: &DMatrix<f64>, r: f64) -> Parts {
        let Some(root) = linalg::cholesky(moment.clone()) else { return parts };
        let (tasks, c) = (parts.loadings.ncols() as f64, self.spread);
        let (sizes, turns) = linalg::symmetric_eigen(&(root.tr_mul(&parts.strengths()) * &root));
        let mut turned = root * turns;
        for (mut column, g) in turned.column_iter_mut().zip(sizes.iter().map(|g| g.max(0.0))) {
            // -(r + T) g u^2 + (g - r c) u + c = 0.
            let (half, rest) = (r * c - g, (g - r * c).hypot(2.0 * ((r + tasks) * g * c).sqrt()));
            let size = if half > 0.0 { 2.0 * c / (half + rest) } else { (rest - half) / (2.0 * (r + tasks) * g) };
            column *= size.sqrt();
        }
        parts.times(&turned)
    }

    /// The loadings of highest expected log posterior given the factors, what each task has for itself integrated out, then in the size that the prior gives
    /// them; none where the engine does not know what rows say of loadings.
    fn stepped(&self, parts: &Parts, posterior: &Posterior) -> Option<Parts> {
        let related = posterior.related();
        let (moments, r) = (related.factor_moments(), related.prior().factor.ncols() as f64);
        let information = moments.information.as_ref()?;
        let (tightness, explained) = (self.tightness(parts), &moments.factors * &parts.loadings);
        let mut moved = parts.clone();
        for t in 0..parts.loadings.ncols() {
            let own = parts.uniquenesses[t];
            let loading = parts.loadings.column(t);
            let mut rise = (moments.cross.column(t) - explained.column(t) - &tightness * loading) / own;
            let known =
                DMatrix::from_fn(self.rank, self.rank, |i, j| information[(triangle(i.max(j)) + i.min(j), t)] + tightness[(i, j)] / own);
            let root = linalg::cholesky(known)?;
            linalg::solve_lower(root.as_slice(), self.rank, rise.as_mut_slice());
            linalg::solve_lower_transpose(root.as_slice(), self.rank, rise.as_mut_slice());
            moved.loadings.column_mut(t).axpy(1.0, &rise, 1.0);
        }
        Some(self.sized(moved, &moments.factors, r))
    }

    /// T (c I + H'H)^-1, of which H times it is the fall of the log prior in H.
    fn tightness(&self, parts: &Parts) -> DMatrix<f64> {
        let (k, tasks) = parts.loadings.shape();
        let spread = parts.strengths() + DMatrix::identity(k, k) * self.spread;
        let root = linalg::cholesky(spread).expect("c is positive");
        linalg::inverse_of_cholesky(&root) * tasks as f64
    }
}

/// A prior with that Sigma, in the scale that Sigma shares with K and the likelihood does not see where uniquenesses are likeliest.
fn levelled(parts: Parts, like: Prior) -> Prior {
    let scale = parts.uniquenesses.iter().map(|own| 1.0 / own).sum::<f64>() / parts.uniquenesses.len() as f64;
    parts.prior(like).with_sigma_times(scale)
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

    /// By turns of loadings, of Sigma and of K, each from the deviations (and the factors) at the latest prior of all.
    fn update(&mut self, posterior: &Posterior) -> Result<Prior> {
        let Some(parts) = Parts::of(posterior.prior()) else { return Ok(self.begun(posterior)) };
        self.steps += 1;
        if self.steps.is_multiple_of(3) {
            return Ok(self.space.step(posterior));
        }
        if self.steps % 3 == 1
            && let Some(moved) = self.stepped(&parts, posterior)
        {
            return Ok(levelled(moved, posterior.prior().clone()));
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
        Ok(levelled(Parts { loadings, uniquenesses }, posterior.prior().clone()))
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
    /// Those of K, then of every task lambda_t and log sqrt(D_t), of which rows speak all but apart.
    fn coordinates(&self, prior: &Prior) -> Vec<f64> {
        let mut point = self.space.coordinates(prior);
        if let Some(parts) = Parts::of(prior) {
            for (own, variance) in parts.loadings.column_iter().zip(parts.uniquenesses.iter()) {
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
            return self.space.at(point, like);
        }
        let (own, rest) = point.split_at(self.space.len(like));
        let tasks = rest.len() / (self.rank + 1);
        let (mut loadings, mut uniquenesses) = (DMatrix::zeros(self.rank, tasks), DVector::zeros(tasks));
        for (t, of_task) in rest.chunks_exact(self.rank + 1).enumerate() {
            let log = of_task[self.rank];
            if log.abs() > FAR {
                return None;
            }
            loadings.column_mut(t).copy_from_slice(&of_task[..self.rank]);
            uniquenesses[t] = (2.0 * log).exp();
        }
        Some(Parts { loadings, uniquenesses }.prior(self.space.at(own, like)?))
    }

    /// By Fisher's identity with the factors: (E[Z'b_t] - E[Z'Z] lambda_t) / D_t in lambda_t and so on.
    fn slope(&self, posterior: &Posterior) -> Vec<f64> {
        let mut slope = self.space.slope(posterior);
        let Some(parts) = Parts::of(posterior.prior()) else { return slope };
        let related = posterior.related();
        let (moments, r) = (related.factor_moments(), related.prior().factor.ncols() as f64);
        let (fall, explained) = (self.tightness(&parts) * &parts.loadings, &moments.factors * &parts.loadings);
        for (t, variance) in parts.uniquenesses.iter().enumerate() {
            let (cross, loading) = (moments.cross.column(t), parts.loadings.column(t));
            let (explained, fall) = (explained.column(t), fall.column(t));
            slope.extend((0..self.rank).map(|j| (cross[j] - explained[j] - fall[j]) / variance));
            let own = (moments.squares[t] + loading.dot(&(explained + fall)) - 2.0 * loading.dot(&cross)) / variance - r;
            slope.push(own - self.strength * (1.0 - 1.0 / variance));
        }
        slope
    }

    /// Of lambda_t what rows say of it and the prior, of log sqrt(D_t) the prior's and 2 r s_t^2 with s_t the share of the task's own part that its rows decide.
    /// Less is known of what the factors, the mean or K would take back: Lambda A, what all loadings have in common, and the scale that Sigma shares with K.
    fn information(&self, posterior: &Posterior) -> Option<Information> {
        let mut all = self.space.information(posterior)?;
        let prior = posterior.prior();
        let Some(parts) = Parts::of(prior) else { return Some(all) };
        let related = posterior.related();
        let (moments, r) = (related.factor_moments(), related.prior().factor.ncols() as f64);
        let (tightness, information) = (self.tightness(&parts), moments.information.as_ref()?);
        let (before, k, tasks) = (all.each.len(), self.rank, parts.uniquenesses.len());
        for (t, own) in parts.uniquenesses.iter().enumerate() {
            let known: Vec<f64> = (0..k).map(|j| information[(triangle(j) + j, t)]).collect();
            let share = (own * known.iter().sum::<f64>() / moments.factors.trace()).min(1.0);
            all.each.extend(known.iter().enumerate().map(|(j, known)| known + tightness[(j, j)] / own));
            all.each.push(2.0 * (r * share * share + self.strength / own));
        }
        let step = |of_k: &[f64], of_task: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
            of_k.iter().copied().chain((0..tasks).flat_map(|t| (0..=k).map(move |j| of_task(t, j)))).collect()
        };
        let (strengths, still) = (parts.strengths(), vec![0.0; before]);
        let spread = |j: usize| self.spread + strengths[(j, j)];
        for j in 0..k {
            for i in 0..k {
                let own = moments.factors[(j, j)] + tasks as f64 * self.spread * strengths[(i, i)] / (spread(i) * spread(j));
                let along = |t: usize, place: usize| if place == j { parts.loadings[(i, t)] } else { 0.0 };
                all.along.push((step(&still, &along), if i == j { 2.0 * own } else { own }));
            }
        }
        let of_uniquenesses: f64 = parts.uniquenesses.iter().map(|own| 1.0 / own).sum();
        if prior.mean == Mean::Integrated && prior.related_features().all(|feature| prior.mean_features.contains(&feature)) {
            let shifts = (0..k).map(|j| (step(&still, &|_, place| f64::from(place == j)), tightness[(j, j)] * of_uniquenesses));
            all.along.extend(shifts);
        }
        let scale = |t: usize, place: usize| if place == k { 0.5 } else { 0.5 * parts.loadings[(place, t)] };
        let of_k: Vec<f64> = self.space.coordinates(prior).into_iter().map(|own| -0.5 * own).collect();
        if prior.unrelated.is_empty() && !prior.groups.are_several() {
            all.along.push((step(&of_k, &scale), 0.5 * self.strength * of_uniquenesses));
        }
        Some(all)
    }

    fn of_features(&self) -> Option<&dyn Smooth> {
        Some(&self.space)
    }
}
