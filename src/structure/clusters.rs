//! Unknown clusters of tasks: a mixture of exchangeable groups, each with a mean and a scale of its own, and of tasks that belong to none.

use super::feature_covariance::{FactorSpace, FeatureCovariance};
use super::{Exchangeable, Setting, Sharing, Smooth, Structure};
use crate::error::{Error, Result};
use crate::likelihood::Dispersion;
use crate::linalg;
use crate::posterior::Posterior;
use crate::prior::{Mean, Mixture, Prior, Relatedness};
use nalgebra::{DMatrix, DVector};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Tasks that a prior on the shares counts in each cluster, and in none.
const COUNTED: (f64, f64) = (1.0, 0.5);

/// Standard deviation of the logarithm of a cluster's scale.
const SCALES: f64 = 0.5;

/// Most and fewest starts, and the tasks that they look at together.
const STARTS: (usize, usize, usize) = (20, 4, 20_000);

/// w_t = mean + S a_c + s_c u_t for a task of cluster c ([`Mixture`]), S S' the covariance of the tasks' own estimates: that of exchangeable tasks and
/// the sampling variance of an average one. By maximum posterior density: a_c ~ N(0, I),
/// log s_c ~ N(0, 1/4), and shares as if each cluster had one task more and none half a one. From the best of several starts, by
/// k-means of the exchangeable tasks.
///
/// ```
/// use cognate::{Clusters, Design, FeatureCovariance, Gaussian, Model, Rows};
/// let mut rows = Rows::new("y", &["x"]);
/// for i in 0..240 {
///     let (t, x) = (i % 12, f64::from(i / 12) / 5.0 - 2.0);
///     let (level, slope) = if t < 5 { (1.0, 2.0) } else { (3.0, -1.0) };
///     rows.push(&t.to_string(), &[x], level + 0.1 * f64::from(t % 3) + slope * x + f64::from(i * 7 % 11) * 0.05, 1.0)?;
/// }
/// let tasks = rows.tasks(&Design::varying(rows.features()));
/// let fit = Model::new(Gaussian::default(), Clusters::new(FeatureCovariance::Diagonal, 2)).fit(&tasks)?;
/// let probabilities = fit.memberships().unwrap();
/// let of = |t: usize| usize::from(probabilities[(1, t)] > 0.99);
/// assert!((0..12).all(|t| (of(t) == of(0)) == (t < 5)));
/// # Ok::<(), cognate::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Clusters {
    space: FactorSpace,
    count: usize,
    seed: u64,
    /// Coordinates of (common mean, positions): value = base + root point.
    natural: Option<(DVector<f64>, DMatrix<f64>)>,
}

impl Clusters {
    /// With so many clusters, and K of that shape.
    pub fn new(covariance: FeatureCovariance, count: usize) -> Self {
        Clusters { space: FactorSpace::new(covariance), count, seed: 0, natural: None }
    }

    /// With the seed of the starts.
    pub fn with_seed(self, seed: u64) -> Self {
        Clusters { seed, ..self }
    }

    /// What is believed of tasks whose whitened deviations from the common mean have these centres.
    fn prior_at(&self, like: &Prior, spread: &DMatrix<f64>, deviations: &DMatrix<f64>, nearest: &[usize]) -> Prior {
        let (r, tasks) = deviations.shape();
        let mut centres = DMatrix::zeros(r, self.count);
        let mut sizes = vec![0.0; self.count];
        for (t, c) in nearest.iter().enumerate() {
            sizes[*c] += 1.0;
            let mut centre = centres.column_mut(*c);
            centre += deviations.column(t);
        }
        sizes.iter().enumerate().filter(|(_, size)| **size > 0.0).for_each(|(c, size)| centres.column_mut(c).unscale_mut(*size));
        // What of each direction is left within the clusters.
        let within = DVector::from_fn(r, |k, _| {
            let (inside, all) = nearest.iter().enumerate().fold((0.0, 0.0), |(inside, all), (t, c)| {
                let own = deviations[(k, t)];
                (inside + (own - centres[(k, *c)]).powi(2), all + own * own)
            });
            if all > 0.0 { (inside / all).max(0.1).sqrt() } else { 1.0 }
        });
        let total = tasks as f64 + COUNTED.0 * self.count as f64 + COUNTED.1;
        let shares = sizes.iter().map(|size| (size + COUNTED.0) / total).chain([COUNTED.1 / total]).collect();
        let own = &like.factor * DMatrix::from_diagonal(&within);
        let nowhere = DMatrix::zeros(r, self.count);
        let positions = spread.clone().lu().solve(&(&like.factor * centres)).unwrap_or(nowhere);
        let mixture = Mixture { shares, scales: vec![1.0; self.count], positions, spread: spread.clone() };
        Prior { factor: self.space.of(&(&own * own.transpose())), mixture: Some(mixture), ..like.clone() }
    }

    /// The common mean and the positions.
    fn means(prior: &Prior, mixture: &Mixture) -> DVector<f64> {
        let own: &[f64] = match &prior.mean {
            Mean::Given(values) | Mean::Estimated(values) => values.as_slice(),
            _ => &[],
        };
        DVector::from_iterator(own.len() + mixture.positions.len(), own.iter().chain(mixture.positions.iter()).copied())
    }

    fn with_means(prior: Prior, means: &[f64]) -> Prior {
        let (own, positions) = means.split_at(prior.mean_features.len());
        let mixture = prior.mixture.map(|mixture| Mixture {
            positions: DMatrix::from_column_slice(mixture.positions.nrows(), mixture.positions.ncols(), positions),
            ..mixture
        });
        Prior { mean: Mean::Estimated(DVector::from_column_slice(own)), mixture, ..prior }
    }

    /// Score of (common mean, positions), their priors included.
    fn score(posterior: &Posterior, mixture: &Mixture) -> DVector<f64> {
        let mixed = posterior.mixed().expect("a posterior of clusters");
        let prior = posterior.prior();
        let mut score = mixed.coordinates_score();
        let m = prior.mean_features.len();
        mixture.positions.iter().enumerate().for_each(|(k, own)| score[m + k] -= own);
        if !prior.mean_precision.is_empty() {
            let mut common = score.rows_mut(0, m);
            common -= &prior.mean_precision * posterior.mean_values();
        }
        score
    }
}

/// log of the shares, without the constant that softmax loses.
fn logits(mixture: &Mixture) -> impl Iterator<Item = f64> {
    let last = mixture.shares[mixture.clusters()].ln();
    mixture.shares[..mixture.clusters()].iter().map(move |share| share.ln() - last)
}

/// Tasks that the prior counts in each component.
fn counted(mixture: &Mixture) -> impl Iterator<Item = f64> {
    std::iter::repeat_n(COUNTED.0, mixture.clusters()).chain([COUNTED.1])
}

/// Which of `count` centres each column is nearest to, by k-means from centres far apart (Arthur and Vassilvitskii 2007).
fn nearest(columns: &DMatrix<f64>, count: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
    const ROUNDS: usize = 20;
    let tasks = columns.ncols();
    let mut centres = vec![columns.column(random.random_range(0..tasks)).into_owned()];
    let mut distances = vec![f64::INFINITY; tasks];
    while centres.len() < count {
        let newest = &centres[centres.len() - 1];
        distances.iter_mut().enumerate().for_each(|(t, own)| *own = own.min((columns.column(t) - newest).norm_squared()));
        let mut left = random.random::<f64>() * distances.iter().sum::<f64>();
        let found = distances.iter().position(|own| {
            left -= own;
            left < 0.0
        });
        centres.push(columns.column(found.unwrap_or_else(|| random.random_range(0..tasks))).into_owned());
    }
    let mut of = vec![0; tasks];
    for _ in 0..ROUNDS {
        let closest = |t: usize| {
            let distance = |c: usize| (columns.column(t) - &centres[c]).norm_squared();
            (0..count).min_by(|a, b| distance(*a).total_cmp(&distance(*b))).unwrap_or(0)
        };
        let next: Vec<usize> = (0..tasks).map(closest).collect();
        let settled = next == of;
        of = next;
        if settled {
            break;
        }
        for (c, centre) in centres.iter_mut().enumerate() {
            let members: Vec<usize> = (0..tasks).filter(|t| of[*t] == c).collect();
            if !members.is_empty() {
                *centre = members.iter().fold(DVector::zeros(columns.nrows()), |sum, t| sum + columns.column(*t)) / members.len() as f64;
            }
        }
    }
    of
}

impl Structure for Clusters {
    fn name(&self) -> &'static str {
        "clusters"
    }

    fn feature_covariance(&self) -> Option<FeatureCovariance> {
        Some(self.space.kind)
    }

    fn fewest_tasks(&self) -> usize {
        self.count + 1
    }

    fn base(&self) -> Option<Box<dyn Structure>> {
        Some(Box::new(Exchangeable::new(self.space.kind)))
    }

    fn sharing(&self) -> Sharing {
        Sharing::Structure
    }

    fn start(&mut self, setting: &Setting) -> Result<(Prior, Option<Dispersion>)> {
        if self.count == 0 {
            return Err(Error::Arguments("0 clusters have no members; give at least 1".into()));
        }
        if setting.varying.is_empty() {
            let problem = "no feature varies between tasks, so that clusters could not differ; let some vary, or use --structure pooled";
            return Err(Error::Arguments(problem.into()));
        }
        if setting.groups.are_several() || setting.likelihood.needs_units() {
            let problem = "unknown clusters go neither with a column of families nor with rows that tasks share; leave one of them out";
            return Err(Error::Arguments(problem.into()));
        }
        let mean = if matches!(setting.mean, Mean::Given(_)) { setting.mean.clone() } else { Mean::Profiled };
        Ok((setting.prior(mean, Relatedness::Identity, self.space.start(setting)), None))
    }

    fn starts(&mut self, base: &dyn Fn() -> Result<Posterior<'static>>) -> Result<Vec<Prior>> {
        let base = base()?;
        let tasks = base.tasks();
        let like = Prior { mean: Mean::Estimated(base.mean_values()), ..base.prior().clone() };
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let count = (STARTS.2 / tasks.max(1)).clamp(STARTS.1, STARTS.0);
        let deviations = base.whitened_deviations();
        let mut each: Vec<Vec<usize>> = (0..count).map(|_| nearest(deviations, self.count, &mut random)).collect();
        each.sort();
        each.dedup();
        let spread = self.space.of_estimates(&base);
        Ok(each.iter().map(|of| self.prior_at(&like, &spread, deviations, of)).collect())
    }

    /// Shares, means and K in turn from the same posterior; scales are left to the finish.
    fn update(&mut self, posterior: &Posterior) -> Result<Prior> {
        let prior = posterior.prior();
        let (Some(mixture), Some(mixed)) = (&prior.mixture, posterior.mixed()) else { return Ok(prior.clone()) };
        let tasks = posterior.tasks() as f64;
        let total = tasks + counted(mixture).sum::<f64>();
        let shares = mixed.said().iter().zip(counted(mixture)).map(|(said, more)| (said.count + more) / total).collect();
        let information = mixed.coordinates_information(prior);
        let here = Self::means(prior, mixture);
        let Some(root) = linalg::cholesky(information) else { return Ok(prior.clone()) };
        let mut step = DMatrix::from_column_slice(here.len(), 1, Self::score(posterior, mixture).as_slice());
        linalg::solve_cholesky(&root, &mut step);
        let means = here + step.column(0);
        let mut inverse = DMatrix::identity(means.len(), means.len());
        linalg::solve_lower_transpose(root.as_slice(), means.len(), inverse.as_mut_slice());
        self.natural = Some((means.clone(), inverse * (2.0 * tasks).sqrt()));
        let next = self.space.step(posterior);
        let mixture = Mixture { shares, ..mixture.clone() };
        Ok(Self::with_means(Prior { mixture: Some(mixture), ..next }, means.as_slice()))
    }

    fn log_prior(&self, prior: &Prior) -> f64 {
        let Some(mixture) = &prior.mixture else { return 0.0 };
        let scales: f64 = mixture.scales.iter().map(|scale| (scale.ln() / SCALES).powi(2)).sum();
        let shares: f64 = mixture.shares.iter().zip(counted(mixture)).map(|(share, more)| more * share.ln()).sum();
        shares - 0.5 * (scales + mixture.positions.norm_squared())
    }

    fn parameters(&self, prior: &Prior) -> usize {
        let own = prior.mixture.as_ref().map_or(0, |mixture| mixture.positions.len() + 2 * mixture.clusters());
        self.space.len(prior) + own
    }

    fn smooth(&self) -> Option<&dyn Smooth> {
        Some(self)
    }
}

/// Coordinates of K, logarithms of the scales, log ratios of the shares to that of none, and (common mean, positions) in units of their errors.
impl Smooth for Clusters {
    fn coordinates(&self, prior: &Prior) -> Vec<f64> {
        let mut point = self.space.coordinates(prior);
        if let (Some(mixture), Some((base, root))) = (&prior.mixture, &self.natural) {
            point.extend(mixture.scales.iter().map(|scale| scale.ln()));
            point.extend(logits(mixture));
            let mut away = DMatrix::from_column_slice(base.len(), 1, (Self::means(prior, mixture) - base).as_slice());
            away = root.clone().lu().solve(&away).unwrap_or(away);
            point.extend(away.iter());
        }
        point
    }

    fn at(&self, point: &[f64], like: &Prior) -> Option<Prior> {
        let (own, rest) = point.split_at(self.space.len(like));
        let moved = self.space.at(own, like)?;
        let (Some(mixture), Some((base, root))) = (&like.mixture, &self.natural) else { return Some(moved) };
        let (scales, rest) = rest.split_at(mixture.clusters());
        let (logits, means) = rest.split_at(mixture.clusters());
        let highest = logits.iter().copied().fold(0.0, f64::max);
        let weights: Vec<f64> = logits.iter().chain([&0.0]).map(|own| (own - highest).exp()).collect();
        let total: f64 = weights.iter().sum();
        let mixture = Mixture {
            shares: weights.iter().map(|own| own / total).collect(),
            scales: scales.iter().map(|log| log.exp()).collect(),
            ..mixture.clone()
        };
        let means = base + root * DVector::from_column_slice(means);
        Some(Self::with_means(Prior { mixture: Some(mixture), ..moved }, means.as_slice()))
    }

    fn slope(&self, posterior: &Posterior) -> Vec<f64> {
        let mut slope = self.space.slope(posterior);
        let prior = posterior.prior();
        if let (Some(mixture), Some(mixed), Some((_, root))) = (&prior.mixture, posterior.mixed(), &self.natural) {
            let scales = mixed.scale_slopes(prior).into_iter().zip(&mixture.scales);
            slope.extend(scales.map(|(own, scale)| own - scale.ln() / SCALES.powi(2)));
            let total = posterior.tasks() as f64 + counted(mixture).sum::<f64>();
            let shares = mixed.said().iter().zip(counted(mixture)).zip(&mixture.shares).take(mixture.clusters());
            slope.extend(shares.map(|((said, more), share)| said.count + more - total * share));
            slope.extend(root.tr_mul(&Self::score(posterior, mixture)).iter());
        }
        slope
    }

    fn of_features(&self) -> Option<&dyn Smooth> {
        Some(&self.space)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::likelihood::{Gaussian, Likelihood, Observations, STILL};
    use crate::prior::Groups;
    use crate::tasks::{Coordinates, Design, Rows};

    /// Nine tasks of two kinds and one of neither, of which few rows say much.
    fn observations(design: &Design, rows: &Rows) -> Observations {
        Observations::new(&rows.tasks(design), &Coordinates::identity(design))
    }

    fn rows() -> Rows {
        let mut rows = Rows::new("y", &["a", "b"]);
        for i in 0..100 {
            let (t, a, b) = (i % 10, f64::from(i * 7 % 13) / 6.0 - 1.0, f64::from(i * 5 % 11) / 5.0 - 1.0);
            let slope = [1.5, -1.0][t as usize % 2] + if t == 9 { 6.0 } else { 0.2 * f64::from(t) };
            rows.push(&t.to_string(), &[a, b], 0.5 + slope * a - b + f64::from(i * 3 % 7) / 4.0, 1.0).unwrap();
        }
        rows
    }

    #[test]
    fn slopes_are_differences_of_the_log_posterior() {
        const STEP: f64 = 1e-5;
        let rows = rows();
        // A common feature, and one that varies about no mean.
        let designs = [Design::varying(rows.features()), Design::varying(rows.features()).without_varying_means()];
        for (design, kind) in designs.iter().zip([FeatureCovariance::Full, FeatureCovariance::Diagonal]) {
            let data = observations(design, &rows);
            let (likelihood, names) = (Gaussian::default(), rows.names().to_vec());
            let (mean_features, varying) = (design.mean_features(), design.varying_features());
            let setting = Setting {
                data: &data,
                names: &names,
                mean_features: &mean_features,
                varying: &varying,
                unrelated: &[],
                intercept: Some(0),
                mean: &Mean::Profiled,
                mean_precision: &DMatrix::zeros(0, 0),
                noise: 1.0,
                groups: &Groups::default(),
                likelihood: &likelihood,
            };
            let mut clusters = Clusters::new(kind, 2);
            let (base, _) = clusters.start(&setting).unwrap();
            let dispersion = Dispersion::shared(0.6);
            let at = |prior: &Prior| likelihood.posterior(&data, &dispersion, prior, (None, STILL)).unwrap().posterior;
            let start = clusters.starts(&|| Ok(at(&base))).unwrap().remove(0);
            let prior = clusters.update(&at(&start)).unwrap();
            // Off the diagonal and the first scales.
            let mut point = clusters.coordinates(&prior);
            point.iter_mut().enumerate().for_each(|(k, value)| *value += 0.05 * ((k * 5 % 7) as f64 - 3.0));
            let height = |point: &[f64]| {
                let prior = clusters.at(point, &prior).unwrap();
                at(&prior).log_likelihood() + clusters.log_prior(&prior)
            };
            let here = clusters.at(&point, &prior).unwrap();
            for (there, back) in clusters.coordinates(&here).iter().zip(&point) {
                assert!((there - back).abs() < 1e-9);
            }
            let slope = clusters.slope(&at(&here));
            assert_eq!(slope.len(), point.len());
            for (k, (own, difference)) in slope.iter().zip(linalg::differences(height, &point, STEP)).enumerate() {
                assert!((own - difference).abs() < 1e-5 * (1.0 + difference.abs()), "coordinate {k}: {own} against {difference}");
            }
        }
    }
}
