//! The moments and slopes that M-steps ask of a posterior.

use super::apart::Apart;
use super::coupled::{Coupled, LIMIT_MB};
use super::{Engine, Posterior};
use crate::error::{Error, Result};
use crate::graph::TaskGraph;
use crate::linalg::{self, Operand, multiply_add, product};
use crate::prior::Mean;
use crate::quadratic::Quadratic;
use nalgebra::{DMatrix, DMatrixView, DVector};
use rayon::prelude::*;

impl Posterior<'_> {
    /// What the rows of a task said, without features that are free.
    pub(crate) fn quadratic(&self, task: usize) -> Quadratic {
        self.data().task(task)
    }

    /// Expected residual sum of squares of each task (unit precision): what the noise M-step needs.
    pub fn residuals(&self) -> Vec<f64> {
        match &self.engine {
            Engine::Block(block) => block.residuals().to_vec(),
            Engine::Coupled(coupled) => self.coupled_residuals(coupled),
            Engine::Apart(apart) => self.residuals_in_parts(apart),
            Engine::Mixed(mixed) => mixed.residuals(),
            Engine::LowRank(factors) => factors.residuals().to_vec(),
            Engine::Kronecker(_) | Engine::Tied(_) => self.residuals_task_by_task(),
        }
    }

    fn residuals_task_by_task(&self) -> Vec<f64> {
        let (data, p) = (self.data(), self.data().features());
        let own = |t: usize| {
            let spread = DMatrixView::from_slice(data.curvature(t), p, p).dot(&self.moment_covariance(t));
            data.residual(t, self.kept_coefficients(t).as_slice()) + spread
        };
        (0..self.tasks()).into_par_iter().map(own).collect()
    }

    /// sum_i E[e_i e_i'] over units on which every task was measured, T x T.
    pub(crate) fn residual_products(&self) -> Option<&DMatrix<f64>> {
        match &self.engine {
            Engine::Kronecker(kronecker) => Some(kronecker.residual_products()),
            _ => None,
        }
    }

    /// Cov(w_s, w_t) as moments have it, p x p.
    pub(crate) fn moment_covariance_between(&self, s: usize, t: usize) -> DMatrix<f64> {
        let (p, factor) = (self.data().features(), &self.inner.factor);
        let varying = &self.inner.varying;
        let mut all = DMatrix::zeros(p, p);
        linalg::place(&mut all, (varying, varying), &(factor * self.engine.covariance(s, t) * factor.transpose()));
        if matches!(self.inner.mean, Mean::Integrated) && !self.inner.mean_features.is_empty() {
            all += self.mean_map(s) * &self.mean_covariance * self.mean_map(t).transpose();
        }
        all
    }

    /// tr(J_t Cov(w_t)) by the rows of A A^-1 = I given the mean, as for related tasks, the unrelated directions among them.
    fn residuals_in_parts(&self, apart: &Apart) -> Vec<f64> {
        let (data, related) = (self.data(), apart.related());
        let mut spread: Vec<f64> =
            (0..self.tasks()).map(|t| (related.inner.factor.ncols() + apart.own_columns().len()) as f64 - apart.own_trace(t)).collect();
        if let Engine::LowRank(factors) = &related.engine {
            let directions = related.inner.factor.ncols() as f64;
            spread.par_iter_mut().enumerate().for_each(|(t, spread)| *spread += factors.seen(t) - directions);
        } else {
            for (s, t, value) in related.inner.relatedness.precision_elements(self.tasks()).expect("the E-step has factored it") {
                let tied = value * related.engine.covariance(s, t).trace();
                spread[t] -= tied;
                if s != t {
                    spread[s] -= tied;
                }
            }
        }
        let integrated = matches!(self.inner.mean, Mean::Integrated) && !self.inner.mean_features.is_empty();
        let root = linalg::semidefinite_factor(&self.mean_covariance);
        let each = (0..self.tasks()).into_par_iter().map(|t| {
            let mut spread = spread[t].max(0.0) / data.precision(t);
            if integrated {
                let moved = self.mean_map(t) * &root;
                let curvature = DMatrixView::from_slice(data.curvature(t), moved.nrows(), moved.nrows());
                spread += (curvature * &moved).dot(&moved).max(0.0);
            }
            data.residual(t, self.kept_coefficients(t).as_slice()) + spread
        });
        each.collect()
    }

    /// Cov(w_t) as moments have it: with the uncertainty of the mean where it is integrated.
    pub(super) fn moment_covariance(&self, task: usize) -> DMatrix<f64> {
        self.kept_covariance(task, &self.within(task), matches!(self.inner.mean, Mean::Integrated))
    }

    /// tr(J_t Cov(w_t)) without a product of two matrices for the part given the mean: with A = Omega (x) I + blockdiag(L' J_t L) the
    /// precision of b, the rows of A A^-1 = I give tr(L' J_t L Cov(b_t)) = r - sum_s Omega_ts tr Cov(b_s, b_t), and the same for how
    /// the mean moves b. O(T r m^2 + related pairs (r + r m)).
    fn coupled_residuals(&self, coupled: &Coupled) -> Vec<f64> {
        let (data, features) = (self.data(), &self.inner.mean_features);
        let integrated = matches!(self.inner.mean, Mean::Integrated) && !features.is_empty();
        let root = linalg::semidefinite_factor(&self.mean_covariance);
        let moved = self.moved_by_mean();
        let omega = self.inner.relatedness.precision_elements(self.tasks()).expect("the E-step has factored it");
        let estimated = coupled.is_estimated();
        let tied: Vec<f64> = omega
            .par_iter()
            .map(|(s, t, value)| {
                let own = if estimated { 0.0 } else { coupled.trace(*s, *t) };
                value * (own + moved.column(*s).dot(&moved.column(*t)))
            })
            .collect();
        let without = |t| if estimated { coupled.seen(t, &self.inner).trace() } else { self.inner.factor.ncols() as f64 };
        let mut spread: Vec<f64> = (0..self.tasks()).into_par_iter().map(without).collect();
        for ((s, t, _), value) in omega.iter().zip(tied) {
            spread[*t] -= value;
            if s != t {
                spread[*s] -= value;
            }
        }
        (0..self.tasks())
            .into_par_iter()
            .map(|t| {
                let mut spread = spread[t];
                if integrated {
                    let curvature = data.curvature(t);
                    let p = data.features();
                    let own =
                        features.iter().enumerate().flat_map(|(i, a)| features.iter().enumerate().map(move |(j, b)| (i, j, a * p + b)));
                    let within: f64 = own.map(|(i, j, place)| self.mean_covariance[(i, j)] * curvature[place]).sum();
                    let along = coupled.cross(t).select_columns(features) * &root;
                    spread += within * data.precision(t) - moved.column(t).dot(&DVector::from_column_slice(along.as_slice()));
                }
                data.residual(t, self.kept_coefficients(t).as_slice()) + spread.max(0.0) / data.precision(t)
            })
            .collect()
    }

    /// G = d log-likelihood / d K over the varying features (q x q, symmetric): the log-likelihood rises by tr(G dK). It is
    /// defined where K is singular too, so a variance at 0 whose element of G is positive does not belong there.
    ///
    /// G = 1/2 sum_st Sigma_st (s_s s_t' - P_st) with s_t = h_t - J_t E(w_t) and P the projected precision of the scores.
    /// Free from the engines of unrelated tasks and of factors; O(T^2 r^2 q) from the others.
    ///
    /// ```
    /// use cognate::{Mean, Posterior, Prior, Quadratic, Quadratics, Relatedness};
    /// use nalgebra::{DMatrix, DVector, dmatrix, dvector};
    /// let task = |h: f64| Quadratic { constant: 0.0, linear: dvector![h], curvature: dmatrix![1.0] };
    /// let quadratics = Quadratics::new(&[task(2.0), task(-2.0)])?;
    /// let prior = Prior::new(Mean::Given(dvector![0.0]), Relatedness::Identity, DMatrix::zeros(1, 1));
    /// // At K = 0 each task contributes (h^2 - J) / 2.
    /// assert_eq!(Posterior::given(&quadratics, &prior)?.covariance_slope()[(0, 0)], 3.0);
    /// # Ok::<(), cognate::Error>(())
    /// ```
    pub fn covariance_slope(&self) -> DMatrix<f64> {
        let coupled = match &self.engine {
            Engine::Block(block) => return block.slope().clone(),
            Engine::Coupled(coupled) => coupled,
            Engine::Apart(apart) => return self.slope_in_parts(apart),
            Engine::Mixed(mixed) => return mixed.slope(),
            Engine::Kronecker(kronecker) => return kronecker.slope(self.data(), &self.inner, (&self.mean, &self.mean_covariance)),
            Engine::Tied(tied) => return tied.slope(self.data(), &self.inner, (&self.mean, &self.mean_covariance), &self.deviations),
            Engine::LowRank(factors) => return factors.slope().clone(),
        };
        let (data, varying, features) = (self.data(), &self.inner.varying, &self.inner.mean_features);
        let (tasks, q) = (self.tasks(), varying.len());
        let sigma = self.inner.relatedness.covariance(tasks).expect("the E-step has factored it");
        let scores = self.scores();
        let mut slope = coupled.explained(&sigma, varying);
        let integrated = matches!(self.inner.mean, Mean::Integrated);
        let root = linalg::semidefinite_factor(&self.mean_covariance);
        let mut moved = DMatrix::zeros(q * root.ncols(), if integrated { tasks } else { 0 });
        for t in 0..tasks {
            let quadratic = data.task(t);
            let curvature = quadratic.curvature.select_rows(varying);
            slope -= curvature.select_columns(varying) * sigma[(t, t)];
            if integrated {
                let own =
                    &curvature.select_columns(features) - curvature.select_columns(varying) * &self.inner.factor * self.sensitivity(t);
                moved.column_mut(t).copy_from_slice((own * &root).as_slice());
            }
        }
        slope += &scores * &sigma * scores.transpose();
        if integrated {
            slope += contracted(&moved, &(&moved * &sigma), q);
        }
        slope *= 0.5;
        linalg::symmetrise(&mut slope);
        slope
    }

    /// s_t = h_t - J_t E[w_t] over the varying features, q x T.
    fn scores(&self) -> DMatrix<f64> {
        let (data, varying) = (self.data(), &self.inner.varying);
        let mut scores = DMatrix::zeros(varying.len(), self.tasks());
        for t in 0..self.tasks() {
            let task = data.task(t);
            scores.set_column(t, &(task.linear.select_rows(varying) - task.curvature.select_rows(varying) * self.kept_coefficients(t)));
        }
        scores
    }

    /// G where some features are unrelated, 0 between the two kinds: of the related ones by their own engine.
    fn slope_in_parts(&self, apart: &Apart) -> DMatrix<f64> {
        let q = self.inner.varying.len();
        let (related, own) = (self.inner.related_positions(), self.inner.unrelated_positions());
        let mut slope = DMatrix::zeros(q, q);
        linalg::place(&mut slope, (&related, &related), &apart.related().covariance_slope());
        linalg::place(&mut slope, (&own, &own), &self.unrelated_slope());
        slope
    }

    /// G over the unrelated features: 1/2 sum_t (s_t s_t' + J_t Cov(w_t) J_t - J_t), what independent noise on each w_t would gain.
    /// O(T p^3).
    fn unrelated_slope(&self) -> DMatrix<f64> {
        let (data, features) = (self.data(), &self.inner.unrelated);
        let each: Vec<DMatrix<f64>> = (0..self.tasks())
            .into_par_iter()
            .map(|t| {
                let quadratic = data.task(t);
                let curvature = quadratic.curvature.select_rows(features);
                let score = quadratic.linear.select_rows(features) - &curvature * self.kept_coefficients(t);
                let known = &curvature * self.moment_covariance(t) * curvature.transpose();
                &score * score.transpose() + known - curvature.select_columns(features)
            })
            .collect();
        let mut slope = each.into_iter().fold(DMatrix::zeros(features.len(), features.len()), |sum, part| sum + part) * 0.5;
        linalg::symmetrise(&mut slope);
        slope
    }

    /// What of w_t and of u_t follows from the uncertainty of the mean: maps (p x m) to be multiplied by a root of its covariance, and the
    /// covariance of u_t given the mean, spread over all features. For priors without free features.
    fn parts(&self, task: usize) -> (DMatrix<f64>, DMatrix<f64>, DMatrix<f64>) {
        let p = self.data().features();
        let mut within = DMatrix::zeros(p, p);
        linalg::place(&mut within, (&self.inner.varying, &self.inner.varying), &self.within(task));
        let (factor, sensitivity) = (&self.inner.factor, self.sensitivity(task));
        let mut of_deviation = DMatrix::zeros(p, sensitivity.ncols());
        let moved = if factor.ncols() > 0 { product(Operand::of(factor), Operand::of(&sensitivity)) } else { factor * &sensitivity };
        for (i, feature) in self.inner.varying.iter().enumerate() {
            (0..moved.ncols()).for_each(|j| of_deviation[(*feature, j)] = -moved[(i, j)]);
        }
        let mut of_parameters = of_deviation.clone();
        self.inner.mean_features.iter().enumerate().for_each(|(j, feature)| of_parameters[(*feature, j)] += 1.0);
        (within, of_parameters, of_deviation)
    }

    /// Inverse of the information that an average task's own rows have on the varying features; in directions in which they do not tell them apart as if each were alone.
    pub(crate) fn sampling_covariance(&self) -> DMatrix<f64> {
        let (data, p, varying) = (self.data(), self.data().features(), &self.inner.varying);
        let mut information = DMatrix::zeros(p, p);
        for t in 0..self.tasks() {
            information += DMatrixView::from_slice(data.curvature(t), p, p) * (data.precision(t) / self.tasks() as f64);
        }
        let own = information.select_rows(varying).select_columns(varying);
        const NOTHING: f64 = 1e-9;
        let units = own.diagonal().map(|own| if own > 0.0 { own.sqrt().recip() } else { 0.0 });
        let (values, vectors) = linalg::symmetric_eigen(&own.component_mul(&(&units * units.transpose())));
        let inverse = values.map(|value| if value > NOTHING { 1.0 / value } else { 1.0 });
        (&vectors * DMatrix::from_diagonal(&inverse) * vectors.transpose()).component_mul(&(&units * units.transpose()))
    }

    /// [`Posterior::covariance`] and that of [`Posterior::deviation`] of one task, with the root of [`Posterior::mean_root`]. For priors without free
    /// features. O(d^3).
    pub(crate) fn both_covariances(&self, task: usize, root: &DMatrix<f64>) -> (DMatrix<f64>, DMatrix<f64>) {
        if self.mixed().is_some() {
            return (self.covariance(task), self.deviation(task).1);
        }
        let (within, of_parameters, of_deviation) = self.parts(task);
        let with = |map: &DMatrix<f64>| {
            if root.is_empty() {
                return within.clone();
            }
            let half = product(Operand::of(map), Operand::of(root));
            let (mut all, half) = (within.clone(), Operand::of(&half));
            multiply_add(all.as_mut_slice(), 1.0, half, half.transpose());
            all
        };
        (self.seen.covariance(task, with(&of_parameters)), self.seen.deviation_covariance(task, with(&of_deviation)))
    }

    /// Posterior mean of u_t over all features. For priors without free features.
    pub(crate) fn mean_deviation(&self, task: usize) -> DVector<f64> {
        if let Some(mixed) = self.mixed() {
            return mixed.coefficients(task) - &self.mean;
        }
        let mut all = DVector::zeros(self.data().features());
        let own = &self.inner.factor * self.deviations.column(task);
        self.inner.varying.iter().zip(own.iter()).for_each(|(feature, value)| all[*feature] = *value);
        self.seen.deviation(task, all)
    }

    /// F = (1/T) sum_st Omega_st E[b_s b_t'] at the prior's own Omega, r x r: I + 2/T L'GL, the identity where K is at its optimum.
    /// Free from the block engine; O(edges r^2) from the others once the covariances along the task graph are known.
    pub(crate) fn feature_moment(&self) -> DMatrix<f64> {
        let factor = &self.inner.factor;
        let r = factor.ncols();
        match &self.engine {
            Engine::Block(_) | Engine::LowRank(_) | Engine::Mixed(_) => {
                DMatrix::identity(r, r) + factor.transpose() * self.covariance_slope() * factor * (2.0 / self.tasks() as f64)
            }
            Engine::Coupled(coupled) => {
                let omega = self.inner.relatedness.precision_elements(self.tasks()).expect("the E-step has factored it");
                if !coupled.is_estimated() {
                    return self.feature_moment_at(&omega);
                }
                let each: Vec<DMatrix<f64>> = (0..self.tasks()).into_par_iter().map(|t| coupled.seen(t, &self.inner)).collect();
                let tied = each.into_iter().fold(DMatrix::identity(r, r) * self.tasks() as f64, |sum, seen| sum - seen);
                self.moment_of(&omega, tied)
            }
            Engine::Apart(apart) => self.moment_in_parts(apart, &apart.related().feature_moment()),
            Engine::Kronecker(_) | Engine::Tied(_) => {
                self.feature_moment_at(&self.inner.relatedness.precision_elements(self.tasks()).expect("the E-step has factored it"))
            }
        }
    }

    /// F where some features are unrelated: that of the related directions given, of the others (1/T) sum_t E[b_t b_t'].
    fn moment_in_parts(&self, apart: &Apart, related: &DMatrix<f64>) -> DMatrix<f64> {
        let (columns, tasks) = (apart.own_columns(), self.tasks());
        let moved = self.moved_by_mean();
        let r = self.inner.factor.ncols();
        let each: Vec<DMatrix<f64>> = (0..tasks)
            .into_par_iter()
            .map(|t| {
                let deviation = self.deviations.column(t).select_rows(columns);
                let by_mean = DMatrix::from_column_slice(r, moved.nrows() / r.max(1), moved.column(t).as_slice()).select_rows(columns);
                let own = self.engine.covariance(t, t).select_rows(columns).select_columns(columns);
                own + &deviation * deviation.transpose() + &by_mean * by_mean.transpose()
            })
            .collect();
        let mut sum = each.into_iter().fold(DMatrix::zeros(columns.len(), columns.len()), |sum, part| sum + part);
        linalg::symmetrise(&mut sum);
        let mut moment = DMatrix::zeros(r, r);
        linalg::place(&mut moment, (columns, columns), &(sum / tasks as f64));
        linalg::place(&mut moment, (apart.related_columns(), apart.related_columns()), related);
        moment
    }

    /// As [`Posterior::feature_moment`] at another Omega, given by its elements (s, t, value) with s <= t.
    pub(crate) fn feature_moment_at(&self, omega: &[(usize, usize, f64)]) -> DMatrix<f64> {
        if let Engine::Apart(apart) = &self.engine {
            return self.moment_in_parts(apart, &apart.related().feature_moment_at(omega));
        }
        let r = self.inner.factor.ncols();
        if let Engine::Kronecker(kronecker) = &self.engine {
            return self.moment_of(omega, kronecker.tied(omega));
        }
        let tied = omega.iter().fold(DMatrix::zeros(r, r), |mut sum, (s, t, value)| {
            let block = self.engine.covariance(*s, *t);
            sum += &block * *value;
            if s != t {
                sum += block.transpose() * *value;
            }
            sum
        });
        self.moment_of(omega, tied)
    }

    /// F at that Omega, `tied` being sum_st Omega_st Cov(b_s, b_t) given the mean.
    fn moment_of(&self, omega: &[(usize, usize, f64)], tied: DMatrix<f64>) -> DMatrix<f64> {
        let (r, tasks) = (self.inner.factor.ncols(), self.tasks());
        let moved = self.moved_by_mean();
        let (mut weighted, mut weighted_moved) = (DMatrix::zeros(r, tasks), DMatrix::zeros(moved.nrows(), tasks));
        for (s, t, value) in omega {
            weighted.column_mut(*t).axpy(*value, &self.deviations.column(*s), 1.0);
            weighted_moved.column_mut(*t).axpy(*value, &moved.column(*s), 1.0);
            if s != t {
                weighted.column_mut(*s).axpy(*value, &self.deviations.column(*t), 1.0);
                weighted_moved.column_mut(*s).axpy(*value, &moved.column(*t), 1.0);
            }
        }
        let mut sum = tied + &self.deviations * weighted.transpose() + contracted(moved, &weighted_moved, r);
        linalg::symmetrise(&mut sum);
        sum / tasks as f64
    }

    /// How far a standard normal draw of the mean moves every task's b: (r m) x T, column t the r x m matrix of task t; without rows
    /// where the mean is not integrated.
    fn moved_by_mean(&self) -> &DMatrix<f64> {
        self.moved.get_or_init(|| {
            if !matches!(self.inner.mean, Mean::Integrated) || self.inner.mean_features.is_empty() {
                return DMatrix::zeros(0, self.tasks());
            }
            let root = linalg::semidefinite_factor(&self.mean_covariance);
            let size = self.inner.factor.ncols() * root.ncols();
            let mut moved = DMatrix::zeros(size, self.tasks());
            if size > 0 {
                moved.as_mut_slice().par_chunks_mut(size).enumerate().for_each(|(t, column)| {
                    column.copy_from_slice((self.sensitivity(t) * &root).as_slice());
                });
            }
            moved
        })
    }

    /// E[B B'] (T x T, summed over the r whitened directions): its expectation is r Sigma.
    pub(crate) fn task_moment(&self) -> DMatrix<f64> {
        let mut moment = self.task_moment_of_means();
        match &self.engine {
            Engine::Block(_) => (0..self.tasks()).for_each(|t| moment[(t, t)] += self.engine.covariance(t, t).trace()),
            Engine::LowRank(factors) => {
                let pairs = (0..self.tasks()).flat_map(|t| (0..self.tasks()).map(move |s| (s, t)));
                pairs.for_each(|(s, t)| moment[(s, t)] += factors.covariance(s, t).trace());
            }
            Engine::Coupled(coupled) => coupled.add_traces(&mut moment),
            Engine::Mixed(_) => unreachable!("clusters have no task covariance"),
            Engine::Apart(_) => unreachable!("asked of the related directions, which have an engine of their own"),
            Engine::Kronecker(kronecker) => kronecker.add_traces(&mut moment),
            Engine::Tied(tied) => tied.add_traces(&mut moment),
        }
        moment
    }

    /// The elements of [`Posterior::task_moment`] on the diagonal and then on the edges of `graph`, of which Sigma's own has all.
    /// O(edges (r^2 + r m)): neither a T x T matrix nor other covariances are made.
    pub(crate) fn task_moment_on_graph(&self, graph: &TaskGraph) -> Vec<f64> {
        let moved = self.moved_by_mean();
        let element = |(s, t): (usize, usize)| {
            let own = self.deviations.column(s).dot(&self.deviations.column(t)) + moved.column(s).dot(&moved.column(t));
            own + self.engine.trace(s, t)
        };
        places(graph).map(element).collect()
    }

    /// The same elements of r Sigma, the prior expectation of [`Posterior::task_moment`].
    pub(crate) fn prior_task_moment_on_graph(&self, graph: &TaskGraph) -> Vec<f64> {
        let r = self.inner.factor.ncols() as f64;
        places(graph).map(|(s, t)| r * self.engine.sigma(s, t)).collect()
    }

    /// Refuses where the covariances of all pairs of tasks, as [`Posterior::task_moment`] needs them, would not fit in memory.
    pub(crate) fn check_pairs(&self) -> Result<()> {
        let needed_mb = match &self.engine {
            Engine::Block(_) | Engine::Kronecker(_) | Engine::LowRank(_) | Engine::Tied(_) | Engine::Mixed(_) => 0,
            Engine::Coupled(coupled) => coupled.inverse_mb(),
            Engine::Apart(apart) => return apart.related().check_pairs(),
        };
        if needed_mb <= LIMIT_MB {
            return Ok(());
        }
        Err(Error::TooLarge {
            what: format!("the covariances of all pairs of {} tasks", self.tasks()),
            needed_mb,
            limit_mb: LIMIT_MB,
            remedy: "sample the edges with --edges pseudo-gibbs, or let fewer features vary".into(),
        })
    }

    /// The posterior means of the whitened deviations b_t, r x T.
    pub(crate) fn whitened_deviations(&self) -> &DMatrix<f64> {
        &self.deviations
    }

    /// The variances of the elements of b_t given the mean.
    pub(crate) fn whitened_variances(&self, task: usize) -> DVector<f64> {
        self.engine.covariance(task, task).diagonal()
    }

    /// As [`Posterior::task_moment`] without the posterior covariances given the mean: the moment of the posterior means.
    pub(crate) fn task_moment_of_means(&self) -> DMatrix<f64> {
        let mut moment = self.deviations.transpose() * &self.deviations;
        let moved = self.moved_by_mean();
        moment += moved.transpose() * moved;
        linalg::symmetrise(&mut moment);
        moment
    }
}

/// The places of the diagonal and then of the edges.
fn places(graph: &TaskGraph) -> impl Iterator<Item = (usize, usize)> {
    (0..graph.len()).map(|t| (t, t)).chain(graph.edges().map(|(s, t, _)| (s, t)))
}

/// sum_t A_t B_t' over the columns of `a` and `b`, each column a matrix of `rows` rows.
fn contracted(a: &DMatrix<f64>, b: &DMatrix<f64>, rows: usize) -> DMatrix<f64> {
    let mut sum = DMatrix::zeros(rows, rows);
    let inner = a.nrows() / rows.max(1);
    if inner > 0 {
        for t in 0..a.ncols() {
            let view = |matrix: &'_ DMatrix<f64>| DMatrix::from_column_slice(rows, inner, matrix.column(t).as_slice());
            sum += view(a) * view(b).transpose();
        }
    }
    sum
}
