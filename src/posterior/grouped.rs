//! Groups of tasks with means and scales of their own, and scales of single tasks: quadratics over (u_t, the means of all groups) in the place of w_t.

use crate::prior::{Groups, Prior};
use crate::quadratic::Quadratics;
use nalgebra::{DMatrix, DVector};

/// A coordinate that moves a task: its place, the feature and by how much.
type Place = (usize, usize, f64);

/// The quadratics in those coordinates, and the way back: w_t = A_t (u_t, means) with A_t = (s_t I, the mean features of group g), s_t
/// the scale of the group times that of the task.
pub(crate) struct Grouped {
    quadratics: Quadratics,
    groups: Groups,
    scales: Vec<f64>,
    features: usize,
    with_mean: Vec<usize>,
}

impl Grouped {
    /// Expands the quadratics by the groups of the prior, whose mean features are then a block a group.
    pub(crate) fn new(all: &Quadratics, prior: &mut Prior) -> Self {
        let own = prior.task_scales.take();
        let groups = std::mem::take(&mut prior.groups);
        let scale = |t: usize| groups.scale(t) * own.as_ref().map_or(1.0, |scales| scales.values[t]);
        let scales: Vec<f64> = (0..all.len()).map(scale).collect();
        let (features, with_mean) = (all.features(), std::mem::take(&mut prior.mean_features));
        let size = features + groups.len() * with_mean.len();
        prior.mean_features = (features..size).collect();
        let quadratics = Quadratics::build(all.len(), size, |t, linear, curvature| {
            let (h, j) = (all.linear(t), all.curvature(t));
            let places = places((features, &with_mean), groups.of(t), scales[t]);
            for (a, feature, scale) in &places {
                linear[*a] = scale * h[*feature];
                for (b, other, factor) in &places {
                    curvature[b * size + a] = scale * factor * j[other * features + feature];
                }
            }
            all.squares(t)
        });
        let each = 0..all.len();
        let (precision, constant) = (each.clone().map(|t| all.precision(t)).collect(), each.map(|t| all.constant(t)).collect());
        Grouped { quadratics: quadratics.with(precision, constant), groups, scales, features, with_mean }
    }

    pub(crate) fn quadratics(&self) -> &Quadratics {
        &self.quadratics
    }

    /// How many features a task has.
    pub(crate) fn features(&self) -> usize {
        self.features
    }

    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The place of the mean of a feature in a group; none where it has no mean.
    pub(crate) fn mean_place(&self, group: usize, feature: usize) -> Option<usize> {
        let own = self.with_mean.iter().position(|with| *with == feature)?;
        Some(self.features + group * self.with_mean.len() + own)
    }

    /// A_t z.
    pub(crate) fn parameters(&self, task: usize, z: &DVector<f64>) -> DVector<f64> {
        self.spread(&self.places(task), z)
    }

    /// A_t C A_s'.
    pub(crate) fn between(&self, (t, s): (usize, usize), of: &DMatrix<f64>) -> DMatrix<f64> {
        self.spread_covariance((&self.places(t), &self.places(s)), of)
    }

    /// A_t times the columns.
    pub(crate) fn moved(&self, task: usize, columns: &DMatrix<f64>) -> DMatrix<f64> {
        let mut all = DMatrix::zeros(self.features, columns.ncols());
        for (place, feature, scale) in self.places(task) {
            all.row_mut(feature).zip_apply(&columns.row(place), |cell, own| *cell += scale * own);
        }
        all
    }

    /// Both for a task without rows, of a group and with a scale of all.
    pub(crate) fn newcomer(&self, (group, scale): (usize, f64), z: &DVector<f64>, of: &DMatrix<f64>) -> (DVector<f64>, DMatrix<f64>) {
        let places = places((self.features, &self.with_mean), group, scale);
        (self.spread(&places, z), self.spread_covariance((&places, &places), of))
    }

    fn spread(&self, places: &[Place], z: &DVector<f64>) -> DVector<f64> {
        let mut w = DVector::zeros(self.features);
        places.iter().for_each(|(place, feature, scale)| w[*feature] += scale * z[*place]);
        w
    }

    fn spread_covariance(&self, (rows, columns): (&[Place], &[Place]), of: &DMatrix<f64>) -> DMatrix<f64> {
        let mut all = DMatrix::zeros(self.features, self.features);
        for (b, other, factor) in columns {
            rows.iter().for_each(|(a, feature, scale)| all[(*feature, *other)] += scale * factor * of[(*a, *b)]);
        }
        all
    }

    /// s_g u_t of z = (u_t, means).
    pub(crate) fn deviation(&self, task: usize, z: &DVector<f64>) -> DVector<f64> {
        z.rows(0, self.features) * self.scales[task]
    }

    /// The covariance of s_g u_t.
    pub(crate) fn deviation_covariance(&self, task: usize, of: &DMatrix<f64>) -> DMatrix<f64> {
        of.view((0, 0), (self.features, self.features)) * self.scales[task].powi(2)
    }

    fn places(&self, task: usize) -> Vec<Place> {
        places((self.features, &self.with_mean), self.groups.of(task), self.scales[task])
    }
}

/// The coordinates that move a task.
fn places((features, with_mean): (usize, &[usize]), group: usize, scale: f64) -> Vec<Place> {
    let first = features + group * with_mean.len();
    let deviations = (0..features).map(|feature| (feature, feature, scale));
    deviations.chain(with_mean.iter().enumerate().map(|(j, feature)| (first + j, *feature, 1.0))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posterior::Posterior;
    use crate::prior::{Mean, Relatedness, TaskScales};
    use crate::quadratic::Quadratic;
    use nalgebra::{dmatrix, dvector};

    fn quadratics() -> Quadratics {
        let task = |t: usize| {
            let root = DMatrix::from_fn(4, 3, |i, j| ((i * 5 + j * 3 + t * 7) % 11) as f64 / 5.0 - 1.0);
            let linear = DVector::from_fn(3, |i, _| ((i * 3 + t * 5) % 7) as f64 - 2.0);
            Quadratic { constant: 0.3, linear, curvature: root.transpose() * &root + DMatrix::identity(3, 3) * 0.2 }
        };
        Quadratics::new(&(0..5).map(task).collect::<Vec<_>>()).unwrap()
    }

    /// However the mean is treated and tasks are related, and where a feature has no mean or does not vary.
    fn priors() -> Vec<Prior> {
        let sigma = DMatrix::from_fn(5, 5, |s, t| 0.5f64.powi((s as i32 - t as i32).abs()));
        let given = Mean::Given(dvector![0.1, -0.2, 0.3, 0.4]);
        let mut all = Vec::new();
        for mean in [Mean::Profiled, Mean::Integrated, given] {
            for relatedness in [Relatedness::Identity, Relatedness::Dense(sigma.clone())] {
                let groups = Groups::new(vec![0, 1, 0, 1, 1], vec![1.0, 2.5]);
                let factor = dmatrix![0.8, 0.0; 0.3, 0.5];
                let prior = Prior::new(mean.clone(), relatedness, factor);
                let plain = Prior { mean_features: vec![0, 2], varying: vec![0, 1], groups, ..prior };
                let scales = TaskScales { values: vec![1.0, 0.5, 3.0, 1.2, 0.8], degrees_of_freedom: 3.0 };
                all.push(Prior { task_scales: Some(scales), ..plain.clone() });
                all.push(plain);
            }
        }
        all
    }

    /// J^-1 h are observations of w_t with covariance J^-1, so that everything has a closed form over all tasks.
    #[test]
    fn posteriors_of_groups_equal_the_dense_gaussian() {
        let data = quadratics();
        for prior in priors() {
            let (tasks, p, groups) = (data.len(), 3, prior.groups.len());
            let (sigma, k) = (prior.relatedness.covariance(tasks).unwrap(), prior.feature_covariance());
            let mut between = DMatrix::zeros(tasks * p, tasks * p);
            for (s, t) in (0..tasks).flat_map(|s| (0..tasks).map(move |t| (s, t))) {
                for (i, j) in (0..2).flat_map(|i| (0..2).map(move |j| (i, j))) {
                    let scale = |t: usize| prior.groups.scale(t) * prior.task_scales.as_ref().map_or(1.0, |own| own.values[t]);
                    let scales = scale(s) * scale(t);
                    between[(s * p + i, t * p + j)] = scales * sigma[(s, t)] * k[(i, j)];
                }
            }
            let mut seen = between.clone();
            let (mut y, mut constant) = (DVector::zeros(tasks * p), 0.0);
            let mut x = DMatrix::zeros(tasks * p, 2 * groups);
            for t in 0..tasks {
                let own = data.task(t);
                let inverse = own.curvature.clone().try_inverse().unwrap();
                y.rows_mut(t * p, p).copy_from(&(&inverse * &own.linear));
                let mut corner = seen.view_mut((t * p, t * p), (p, p));
                corner += &inverse;
                let volume = 0.5 * (p as f64 * (2.0 * std::f64::consts::PI).ln() - own.curvature.determinant().ln());
                constant += own.constant + 0.5 * own.linear.dot(&(&inverse * &own.linear)) + volume;
                for (j, feature) in [0, 2].into_iter().enumerate() {
                    x[(t * p + feature, 2 * prior.groups.of_task[t] + j)] = 1.0;
                }
            }
            let inverse = seen.clone().try_inverse().unwrap();
            let information = x.transpose() * &inverse * &x;
            let mean = match &prior.mean {
                Mean::Given(values) => values.clone(),
                _ => information.clone().try_inverse().unwrap() * x.transpose() * &inverse * &y,
            };
            let rest = &y - &x * &mean;
            let size = (tasks * p) as f64;
            let log_density = -0.5 * (size * (2.0 * std::f64::consts::PI).ln() + seen.determinant().ln() + rest.dot(&(&inverse * &rest)));
            let m = 2.0 * groups as f64;
            let volume = 0.5 * (m * (2.0 * std::f64::consts::PI).ln() - information.determinant().ln());
            let integrated = if prior.mean == Mean::Integrated { volume } else { 0.0 };
            let posterior = Posterior::given(&data, &prior).unwrap();
            assert!((posterior.log_likelihood() - (constant + log_density + integrated)).abs() < 1e-10);
            assert!((posterior.mean_values() - &mean).amax() < 1e-10);
            let deviations = &between * &inverse * &rest;
            let w = &x * &mean + &deviations;
            let map = &x - &between * &inverse * &x;
            let known = matches!(prior.mean, Mean::Given(_));
            let spread = if known { DMatrix::zeros(4, 4) } else { information.try_inverse().unwrap() };
            let covariance = &between - &between * &inverse * &between + &map * &spread * map.transpose();
            let moved = &between * &inverse * &x;
            let of_deviation = &between - &between * &inverse * &between + &moved * &spread * moved.transpose();
            let root = posterior.mean_root();
            for t in 0..tasks {
                let block = |of: &DMatrix<f64>| of.view((t * p, t * p), (p, p)).into_owned();
                assert!((posterior.coefficients(t) - w.rows(t * p, p)).amax() < 1e-10);
                assert!((posterior.covariance(t) - block(&covariance)).amax() < 1e-10);
                assert!((posterior.deviation(t).0 - deviations.rows(t * p, p)).amax() < 1e-10);
                assert!((posterior.deviation(t).1 - block(&of_deviation)).amax() < 1e-10);
                let both = posterior.both_covariances(t, &root);
                assert!((both.0 - block(&covariance)).amax() < 1e-10 && (both.1 - block(&of_deviation)).amax() < 1e-10);
            }
        }
    }

    #[test]
    fn slopes_in_the_scales_are_differences_of_the_log_likelihood() {
        const STEP: f64 = 1e-5;
        let data = quadratics();
        for prior in priors() {
            let at = |step: f64| {
                let point: Vec<f64> = prior.groups.coordinates().iter().map(|own| own + step).collect();
                Posterior::given(&data, &Prior { groups: prior.groups.at(&point), ..prior.clone() }).unwrap()
            };
            let slope = at(0.0).scale_slopes();
            let difference = (at(STEP).log_likelihood() - at(-STEP).log_likelihood()) / (2.0 * STEP);
            assert_eq!((slope.len(), prior.groups.scaled()), (1, vec![0]));
            assert!((slope[0].0 - difference).abs() < 1e-7 * (1.0 + difference.abs()), "{} and {difference}", slope[0].0);
        }
    }

    #[test]
    fn slopes_in_the_scales_of_tasks_are_differences_of_the_log_likelihood() {
        const STEP: f64 = 1e-5;
        let data = quadratics();
        for prior in priors() {
            let Some(scales) = &prior.task_scales else { continue };
            let at = |t: usize, step: f64| {
                let mut scales = scales.clone();
                scales.values[t] *= step.exp();
                Posterior::given(&data, &Prior { task_scales: Some(scales), ..prior.clone() }).unwrap()
            };
            for (t, slope) in at(0, 0.0).task_scale_slopes().into_iter().enumerate() {
                let difference = (at(t, STEP).log_likelihood() - at(t, -STEP).log_likelihood()) / (2.0 * STEP);
                assert!((slope - difference).abs() < 1e-7 * (1.0 + difference.abs()), "task {t}: {slope} and {difference}");
            }
        }
    }
}
