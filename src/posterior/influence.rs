//! What the parameters of different tasks have to do with each other once the rows are seen: the blocks of their joint covariance.

use super::Posterior;
use crate::error::Result;
use crate::linalg;
use crate::prior::Mean;
use crate::quadratic::Quadratics;
use nalgebra::{DMatrix, DVector};

/// The covariances of one task's parameters with those of every task.
pub(crate) struct Influence<'p> {
    posterior: &'p Posterior<'p>,
    task: usize,
    form: Form,
}

enum Form {
    /// Tasks are unrelated given what they share: what this task has of that, and its covariance.
    Shared(SharedMap, DMatrix<f64>),
    /// Cov(b_s, b_t) given the mean of every s, one below another.
    Column(DMatrix<f64>),
}

/// What a task has of the mean and whatever else tasks share, given which they are unrelated: Cov(w_t, w_s) = G_t V G_s' for s != t.
pub(crate) struct SharedMap {
    /// G_t, d E[w_t | what is shared] / d what is shared, over all features.
    pub map: DMatrix<f64>,
    /// G_t V.
    pub spread: DMatrix<f64>,
}

impl Posterior<'_> {
    /// Posterior covariance between the parameters of two tasks over all features (d x d, rows of `t` and columns of `s`), the uncertainty of the mean
    /// included: block (t, s) of the inverse of the joint precision of all w. [`Posterior::covariance`] is its diagonal. Fitted coordinates; O(d^3) once the
    /// covariances between tasks are known, an average over draws where the system of related tasks is too large to factor.
    ///
    /// With a flat mean E(w_t) = sum_s Cov(w_t, w_s) h_s, so that Cov(w_t, w_s) J_s is the weight of what task s says by itself (Robinson 1991 has the
    /// joint precision).
    ///
    /// ```
    /// use cognate::{Mean, Posterior, Prior, Quadratic, Quadratics, Relatedness};
    /// use nalgebra::{dmatrix, dvector};
    /// let task = |estimate: f64| Quadratic { constant: 0.0, linear: dvector![estimate], curvature: dmatrix![1.0] };
    /// let tasks = Quadratics::new(&[task(1.0), task(3.0), task(8.0)])?;
    /// let prior = Prior::new(Mean::Profiled, Relatedness::Identity, dmatrix![1.0]);
    /// let posterior = Posterior::given(&tasks, &prior)?;
    /// // Half of each task is its own, the other half the mean of all three.
    /// let weights: Vec<f64> = (0..3).map(|s| posterior.cross_covariance(0, s)[(0, 0)]).collect();
    /// assert!((weights[0] - (0.5 + 0.5 / 3.0)).abs() < 1e-12 && (weights[1] - 0.5 / 3.0).abs() < 1e-12);
    /// assert!((posterior.coefficients(0)[0] - (weights[0] * 1.0 + weights[1] * 3.0 + weights[2] * 8.0)).abs() < 1e-12);
    /// # Ok::<(), cognate::Error>(())
    /// ```
    pub fn cross_covariance(&self, t: usize, s: usize) -> DMatrix<f64> {
        if let Some(mixed) = self.mixed() {
            let moved = mixed.moved_between(&self.prior, (t, s));
            return if s == t { mixed.within(t) + moved } else { moved };
        }
        self.between((t, s), &self.engine.covariance(t, s), true)
    }

    /// Cov(w_t, w_s) from Cov(b_t, b_s) given the mean, with the uncertainty of the mean or without.
    fn between(&self, (t, s): (usize, usize), whitened: &DMatrix<f64>, of_mean_too: bool) -> DMatrix<f64> {
        let (p, factor, varying) = (self.data().features(), &self.inner.factor, &self.inner.varying);
        let mut all = DMatrix::zeros(p, p);
        linalg::place(&mut all, (varying, varying), &(factor * whitened * factor.transpose()));
        if of_mean_too && self.mean_is_uncertain() {
            all += self.mean_map(t) * &self.mean_covariance * self.mean_map(s).transpose();
        }
        self.seen.between((t, s), all)
    }

    fn mean_is_uncertain(&self) -> bool {
        !matches!(self.inner.mean, Mean::Given(_)) && !self.inner.mean_features.is_empty()
    }

    /// The quadratics that it was made from.
    pub(crate) fn quadratics(&self) -> &Quadratics {
        self.seen.given()
    }

    /// The covariances of a task's parameters with those of all, exact also where others are averages over draws. Not for unknown clusters.
    ///
    /// # Errors
    /// Where conjugate gradients do not reach the solution.
    pub(crate) fn influence(&self, task: usize) -> Result<Influence<'_>> {
        let form = match self.engine.shared() {
            Some(shared) => {
                let covariance = self.spread_of_shared(shared);
                Form::Shared(self.shared_map_by(task, &covariance), covariance)
            }
            None => Form::Column(self.engine.column(task, self.tasks())?),
        };
        Ok(Influence { posterior: self, task, form })
    }

    /// Cov(w_t) as [`Posterior::influence`] has it.
    pub(crate) fn exact_covariance(&self, task: usize) -> Result<DMatrix<f64>> {
        if self.engine.is_estimated() { Ok(self.influence(task)?.with(task)) } else { Ok(self.cross_covariance(task, task)) }
    }

    /// Whether covariances of other tasks than one are exact without much work.
    pub(crate) fn is_factored(&self) -> bool {
        !self.engine.is_estimated()
    }

    /// The covariance of what tasks share, the mean first, given which they are unrelated; none where there is nothing of the kind.
    pub(crate) fn shared_covariance(&self) -> Option<DMatrix<f64>> {
        self.engine.shared().map(|shared| self.spread_of_shared(shared))
    }

    fn spread_of_shared(&self, shared: DMatrix<f64>) -> DMatrix<f64> {
        let m = self.inner.mean_features.len();
        let mut all = DMatrix::zeros(m + shared.nrows(), m + shared.nrows());
        all.view_mut((m, m), shared.shape()).copy_from(&shared);
        if self.mean_is_uncertain() {
            all.view_mut((0, 0), (m, m)).copy_from(&self.mean_covariance);
        }
        all
    }

    /// What a task has of what tasks share, whose covariance is [`Posterior::shared_covariance`]. O(d^3).
    pub(crate) fn shared_map_by(&self, task: usize, covariance: &DMatrix<f64>) -> SharedMap {
        let (p, m) = (self.data().features(), self.inner.mean_features.len());
        let mut map = DMatrix::zeros(p, covariance.nrows());
        map.columns_mut(0, m).copy_from(&self.mean_map(task));
        if covariance.nrows() > m {
            let moved = &self.inner.factor * self.engine.shared_map(task);
            let columns: Vec<usize> = (m..covariance.nrows()).collect();
            linalg::place(&mut map, (&self.inner.varying, &columns), &moved);
        }
        let map = self.seen.moved(task, map);
        SharedMap { spread: &map * covariance, map }
    }

    /// d E(w_t | mean) / d mean over all features, of several groups one mean after another.
    pub(crate) fn parameters_by_mean(&self, task: usize) -> DMatrix<f64> {
        self.seen.moved(task, self.mean_map(task))
    }

    /// d (the mean that a task varies about) / d mean over all features: 0 and 1.
    pub(crate) fn mean_of_task(&self, task: usize) -> DMatrix<f64> {
        let mut map = DMatrix::zeros(self.data().features(), self.inner.mean_features.len());
        self.inner.mean_features.iter().enumerate().for_each(|(j, feature)| map[(*feature, j)] = 1.0);
        self.seen.of_mean(task, map)
    }

    /// The covariance of the mean; 0 where it is given.
    pub(crate) fn spread_of_mean(&self) -> DMatrix<f64> {
        let m = self.inner.mean_features.len();
        if self.mean_is_uncertain() { self.mean_covariance.clone() } else { DMatrix::zeros(m, m) }
    }

    /// The mean that a task varies about over all features, 0 for free ones.
    pub(crate) fn prior_mean(&self, task: usize) -> DVector<f64> {
        self.mean_of_task(task) * self.mean_values()
    }
}

impl Influence<'_> {
    /// Cov(w_t, w_s) over all features, the uncertainty of the mean included.
    pub(crate) fn with(&self, s: usize) -> DMatrix<f64> {
        self.block(s, true)
    }

    /// Cov(w_t, w_s) given the mean.
    pub(crate) fn given_mean(&self, s: usize) -> DMatrix<f64> {
        self.block(s, false)
    }

    fn block(&self, s: usize, of_mean_too: bool) -> DMatrix<f64> {
        let (posterior, t) = (self.posterior, self.task);
        match &self.form {
            Form::Column(column) => {
                let r = column.ncols();
                posterior.between((t, s), &column.rows(s * r, r).transpose(), of_mean_too)
            }
            Form::Shared(..) if s == t => posterior.between((t, t), &posterior.engine.covariance(t, t), of_mean_too),
            Form::Shared(own, covariance) => {
                let other = posterior.shared_map_by(s, covariance).map;
                let first = if of_mean_too { 0 } else { posterior.inner.mean_features.len() };
                own.spread.columns_range(first..) * other.columns_range(first..).transpose()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::TaskGraph;
    use crate::prior::{Groups, Prior, Relatedness, TaskScales};
    use crate::quadratic::Quadratic;
    use nalgebra::{dmatrix, dvector};

    const TASKS: usize = 4;

    fn quadratics() -> Quadratics {
        let task = |t: usize| {
            let root = DMatrix::from_fn(4, 3, |i, j| ((i * 5 + j * 3 + t * 7) % 11) as f64 / 5.0 - 1.0);
            let linear = DVector::from_fn(3, |i, _| ((i * 3 + t * 5) % 7) as f64 - 2.0);
            Quadratic { constant: 0.3, linear, curvature: root.transpose() * &root + DMatrix::identity(3, 3) * 0.2 }
        };
        Quadratics::new(&(0..TASKS).map(task).collect::<Vec<_>>()).unwrap()
    }

    /// Every storage form of Sigma, with all features related or some, in groups with scales, and with a free feature.
    fn priors() -> Vec<Prior> {
        let sigma = DMatrix::from_fn(TASKS, TASKS, |s, t| 0.5f64.powi((s as i32 - t as i32).abs()));
        let mut graph = TaskGraph::empty(&["a", "b", "c", "d"]);
        [(0, 1), (1, 2)].iter().for_each(|(s, t)| graph.connect(*s, *t, -0.3, None));
        let low_rank = Relatedness::LowRank {
            loadings: dmatrix![0.9, 0.0; -0.4, 0.5; 0.0, 0.0; 0.7, 1.1],
            uniquenesses: dvector![0.3, 0.0, 1.0, 0.5],
        };
        let forms = [
            Relatedness::Identity,
            Relatedness::Diagonal(dvector![0.5, 1.0, 0.0, 2.0]),
            Relatedness::Dense(sigma),
            Relatedness::Graph(graph),
            low_rank,
        ];
        let mut all = Vec::new();
        for relatedness in forms {
            let is_learned = relatedness.is_learned();
            for mean in [Mean::Profiled, Mean::Integrated] {
                let prior = Prior::new(mean, relatedness.clone(), dmatrix![0.8, 0.0, 0.0; 0.3, 0.5, 0.0; 0.0, 0.0, 0.4]);
                let groups = Groups::new(vec![0, 1, 0, 1], vec![1.0, 2.5]);
                let scales = TaskScales { values: vec![1.0, 0.5, 3.0, 1.2], degrees_of_freedom: 3.0 };
                all.push(Prior { groups, task_scales: Some(scales), ..prior.clone() });
                let factor = prior.factor.view((0, 0), (2, 2)).into_owned();
                all.push(Prior { mean_features: vec![0, 1], varying: vec![0, 1], free: vec![2], factor, ..prior.clone() });
                if is_learned {
                    all.push(Prior { unrelated: vec![2], ..prior.clone() });
                }
                all.push(prior);
            }
        }
        all
    }

    /// However it is found, and given the mean what a posterior with that mean says.
    #[test]
    fn influences_are_the_blocks_of_the_joint_covariance() {
        let data = quadratics();
        for prior in priors() {
            let posterior = Posterior::given(&data, &prior).unwrap();
            let known = Prior { mean: Mean::Given(posterior.mean_values()), ..prior.clone() };
            let given = Posterior::given(&data, &known).unwrap();
            let mean = posterior.spread_of_mean();
            for t in 0..TASKS {
                let influence = posterior.influence(t).unwrap();
                for s in 0..TASKS {
                    let (truth, apart) = (posterior.cross_covariance(t, s), given.cross_covariance(t, s));
                    assert!((influence.with(s) - &truth).amax() < 1e-12, "{prior:?}");
                    assert!((influence.given_mean(s) - &apart).amax() < 1e-12, "{prior:?}");
                    let through = posterior.parameters_by_mean(t) * &mean * posterior.parameters_by_mean(s).transpose();
                    assert!((truth - apart - through).amax() < 1e-12, "{prior:?}");
                }
                assert!((posterior.cross_covariance(t, t) - posterior.covariance(t)).amax() < 1e-12);
                assert!(prior.free.iter().all(|feature| posterior.prior_mean(t)[*feature] == 0.0));
            }
            // E[w_t] = sum_s Cov(w_t, w_s) h_s.
            for t in 0..TASKS {
                let sum = (0..TASKS).fold(DVector::zeros(3), |sum, s| sum + posterior.cross_covariance(t, s) * data.task(s).linear);
                assert!((sum - posterior.coefficients(t)).amax() < 1e-11, "{prior:?}");
            }
        }
    }
}
