//! How far tasks vary, shared by all structures: the shapes K may take, and the scales of groups of tasks.

use super::{Information, Setting, Smooth};
use crate::error::{Error, Result};
use crate::linalg;
use crate::posterior::Posterior;
use crate::prior::{Groups, Prior, Relatedness};
use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

/// Shape of the covariance between the varying features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeatureCovariance {
    /// K = k I in fitted coordinates.
    Scalar,
    /// A variance for each feature.
    Diagonal,
    /// Any covariance.
    Full,
}

/// The factor L of K as a point: its free elements over typical sizes.
#[derive(Clone, Debug)]
pub(crate) struct FactorSpace {
    pub(crate) kind: FeatureCovariance,
    sizes: Vec<f64>,
    /// The positions that no other part's are joined with: all, or those that follow Sigma and those that do not.
    parts: Vec<Vec<usize>>,
}

impl FactorSpace {
    pub(crate) fn new(kind: FeatureCovariance) -> Self {
        FactorSpace { kind, sizes: Vec::new(), parts: Vec::new() }
    }

    /// Starts where the prior variance equals the sampling variance of an average task, feature by feature.
    pub(crate) fn start(&mut self, setting: &Setting) -> DMatrix<f64> {
        self.start_at(setting, 1.0)
    }

    /// As [`FactorSpace::start`], where Sigma has that variance between tasks.
    pub(crate) fn start_at(&mut self, setting: &Setting, between: f64) -> DMatrix<f64> {
        let (q, data) = (setting.varying.len(), &setting.data.quadratics);
        let p = data.features();
        let information = |feature: usize| {
            let sum: f64 = (0..data.len()).map(|t| data.curvature(t)[feature * p + feature]).sum();
            (sum / data.len() as f64).max(1e-300)
        };
        let mut each: Vec<f64> = setting.varying.iter().map(|feature| information(*feature)).collect();
        let (apart, together) = (0..q).partition(|k| setting.unrelated.contains(&setting.varying[*k]));
        self.parts = [together, apart].into_iter().filter(|part: &Vec<usize>| !part.is_empty()).collect();
        if self.kind == FeatureCovariance::Scalar {
            for part in &self.parts {
                let mean = part.iter().map(|k| each[*k]).sum::<f64>() / part.len() as f64;
                part.iter().for_each(|k| each[*k] = mean);
            }
        }
        self.sizes = each.iter().map(|own| (setting.noise / (own * between)).sqrt()).collect();
        DMatrix::from_diagonal(&nalgebra::DVector::from_column_slice(&self.sizes))
    }

    /// The M-step for K given F = (1/T) sum Omega_st E[b_s b_t']: K = L F L' in the kind's shape.
    pub(crate) fn update(&self, factor: &DMatrix<f64>, moment: &DMatrix<f64>) -> DMatrix<f64> {
        let mut covariance = factor * moment * factor.transpose();
        linalg::symmetrise(&mut covariance);
        self.of(&covariance)
    }

    /// The factor in this shape of a covariance (or of what of it has this shape).
    pub(crate) fn of(&self, covariance: &DMatrix<f64>) -> DMatrix<f64> {
        let q = covariance.nrows();
        let diagonal = covariance.diagonal().map(|v| v.max(0.0));
        match self.kind {
            FeatureCovariance::Scalar => {
                let mut factor = DMatrix::zeros(q, q);
                for part in self.parts(q) {
                    let mean = part.iter().map(|k| diagonal[*k]).sum::<f64>() / part.len() as f64;
                    part.iter().for_each(|k| factor[(*k, *k)] = mean.sqrt());
                }
                factor
            }
            FeatureCovariance::Diagonal => DMatrix::from_diagonal(&diagonal.map(f64::sqrt)),
            FeatureCovariance::Full => {
                let mut factor = DMatrix::zeros(q, q);
                for part in self.parts(q) {
                    let own = linalg::semidefinite_factor(&covariance.select_rows(&part).select_columns(&part));
                    linalg::place(&mut factor, (&part, &part), &own);
                }
                factor
            }
        }
    }

    /// The factor of K with the sampling covariance of an average task's own estimate added to it, in this shape.
    pub(crate) fn of_estimates(&self, posterior: &Posterior) -> DMatrix<f64> {
        self.of(&(posterior.prior().feature_covariance() + posterior.sampling_covariance()))
    }

    /// One part where no fit has begun.
    fn parts(&self, q: usize) -> Vec<Vec<usize>> {
        if self.parts.is_empty() && q > 0 { vec![(0..q).collect()] } else { self.parts.clone() }
    }

    /// The places of the elements of L on and below the diagonal of each part, by columns.
    fn lower(&self, q: usize) -> Vec<(usize, usize)> {
        let mut places = Vec::new();
        for part in self.parts(q) {
            part.iter().enumerate().for_each(|(j, b)| places.extend(part[j..].iter().map(|a| (*a, *b))));
        }
        places
    }

    /// The M-step for K and the scales of groups where Sigma stays.
    pub(crate) fn step(&self, posterior: &Posterior) -> Prior {
        let factor = self.update(&posterior.prior().factor, &posterior.feature_moment());
        Prior { factor, groups: rescaled(posterior), ..posterior.prior().clone() }
    }

    /// The M-step where Sigma was just set to `relatedness`.
    pub(crate) fn step_at(&self, posterior: &Posterior, relatedness: Relatedness) -> Result<Prior> {
        let omega = relatedness.precision_elements(posterior.tasks()).ok_or_else(|| Error::NotPositiveDefinite {
            matrix: "the task covariance Sigma".into(),
            remedy: "raise --prior-strength".into(),
        })?;
        let factor = self.update(&posterior.prior().factor, &posterior.feature_moment_at(&omega));
        Ok(Prior { factor, relatedness, groups: rescaled(posterior), ..posterior.prior().clone() })
    }

    /// How many features vary, once a fit has begun.
    pub(crate) fn size(&self) -> usize {
        self.sizes.len()
    }

    /// How many coordinates there are.
    pub(crate) fn len(&self, prior: &Prior) -> usize {
        self.elements(prior.varying.len()) + prior.groups.scaled().len()
    }

    fn elements(&self, q: usize) -> usize {
        match self.kind {
            FeatureCovariance::Scalar => self.parts(q).len(),
            FeatureCovariance::Diagonal => q,
            FeatureCovariance::Full => self.lower(q).len(),
        }
    }

    fn of_factor(&self, factor: &DMatrix<f64>) -> Vec<f64> {
        let q = factor.nrows();
        match self.kind {
            FeatureCovariance::Scalar => self.parts(q).iter().map(|part| factor[(part[0], part[0])] / self.sizes[part[0]]).collect(),
            FeatureCovariance::Diagonal => (0..q).map(|a| factor[(a, a)] / self.sizes[a]).collect(),
            FeatureCovariance::Full => self.lower(q).into_iter().map(|(a, b)| factor[(a, b)] / self.sizes[a]).collect(),
        }
    }

    fn factor_at(&self, point: &[f64], q: usize) -> DMatrix<f64> {
        let mut factor = DMatrix::zeros(q, q);
        match self.kind {
            FeatureCovariance::Scalar => {
                for (part, own) in self.parts(q).iter().zip(point) {
                    part.iter().for_each(|a| factor[(*a, *a)] = own * self.sizes[*a]);
                }
            }
            FeatureCovariance::Diagonal => (0..q).for_each(|a| factor[(a, a)] = point[a] * self.sizes[a]),
            FeatureCovariance::Full => {
                self.lower(q).into_iter().zip(point).for_each(|((a, b), own)| factor[(a, b)] = own * self.sizes[a]);
            }
        }
        factor
    }

    /// 2 G L, by L' (2 G L) = T (F - I) where L determines it.
    fn slope_of_factor(&self, posterior: &Posterior) -> Vec<f64> {
        let factor = &posterior.prior().factor;
        let q = factor.nrows();
        let promised = |a: usize, moment: &DMatrix<f64>| match factor[(a, a)] {
            0.0 => 0.0,
            own => posterior.tasks() as f64 * (moment[(a, a)] - 1.0) / own,
        };
        match self.kind {
            FeatureCovariance::Scalar if q == 0 => Vec::new(),
            FeatureCovariance::Scalar => {
                let moment = posterior.feature_moment();
                let of = |part: &Vec<usize>| part.iter().map(|a| promised(*a, &moment) * self.sizes[*a]).sum::<f64>();
                self.parts(q).iter().map(of).collect()
            }
            FeatureCovariance::Diagonal => {
                let moment = posterior.feature_moment();
                (0..q).map(|a| promised(a, &moment) * self.sizes[a]).collect()
            }
            FeatureCovariance::Full => {
                let slope = if (0..q).all(|a| factor[(a, a)].abs() > 1e-2 * self.sizes[a]) {
                    let mut rise = (posterior.feature_moment() - DMatrix::identity(q, q)) * posterior.tasks() as f64;
                    linalg::solve_lower_transpose(factor.as_slice(), q, rise.as_mut_slice());
                    rise
                } else {
                    posterior.covariance_slope() * factor * 2.0
                };
                self.lower(q).into_iter().map(|(a, b)| slope[(a, b)] * self.sizes[a]).collect()
            }
        }
    }

    fn released(&self, posterior: &Posterior) -> Option<DMatrix<f64>> {
        const LEAST: f64 = 1e-6;
        let factor = &posterior.prior().factor;
        let q = factor.nrows();
        let inside = (0..q).all(|a| factor[(a, a)].powi(2) >= 1e-8 * self.sizes[a].powi(2));
        if inside && self.kind != FeatureCovariance::Full || posterior.check_pairs().is_err() {
            return None;
        }
        let slope = posterior.covariance_slope();
        let tasks = posterior.tasks() as f64;
        let scaled = DMatrix::from_fn(q, q, |a, b| slope[(a, b)] * self.sizes[a] * self.sizes[b]);
        let covariance = factor * factor.transpose();
        let relative = DMatrix::from_fn(q, q, |a, b| covariance[(a, b)] / (self.sizes[a] * self.sizes[b]));
        let promising = |derivative: f64| derivative > 0.0 && derivative * derivative / tasks > LEAST;
        match self.kind {
            FeatureCovariance::Scalar => {
                let gain = |part: &[usize]| part.iter().map(|a| scaled[(*a, *a)]).sum::<f64>();
                let parts = self.parts(q);
                let stuck = parts.iter().filter(|part| relative[(part[0], part[0])] < 1e-8 && promising(gain(part)));
                let released: Vec<usize> = stuck.flatten().copied().collect();
                (!released.is_empty()).then(|| self.lifted(factor, &released))
            }
            FeatureCovariance::Diagonal => {
                let stuck: Vec<usize> = (0..q).filter(|a| relative[(*a, *a)] < 1e-8 && promising(scaled[(*a, *a)])).collect();
                (!stuck.is_empty()).then(|| self.lifted(factor, &stuck))
            }
            FeatureCovariance::Full => {
                let mut released = None;
                for part in self.parts(q) {
                    let (own, rise) = [&relative, &scaled].map(|all| all.select_rows(&part).select_columns(&part)).into();
                    let Some(raised) = raised(&own, &rise, promising) else { continue };
                    let mut root = linalg::semidefinite_factor(&raised);
                    root.row_iter_mut().zip(&part).for_each(|(mut row, a)| row *= self.sizes[*a]);
                    linalg::place(released.get_or_insert_with(|| factor.clone()), (&part, &part), &root);
                }
                released
            }
        }
    }

    /// The factor with a tenth of the typical size at these places of its diagonal.
    fn lifted(&self, factor: &DMatrix<f64>, places: &[usize]) -> DMatrix<f64> {
        let mut lifted = factor.clone();
        places.iter().for_each(|a| lifted[(*a, *a)] = 0.1 * self.sizes[*a]);
        lifted
    }
}

/// Largest element of a row of L, in sizes: rows whose outcomes a feature separates would have it grow without end, and of two such features the posterior precision no digits left.
const LARGEST: f64 = 1e6;

impl Smooth for FactorSpace {
    /// The free elements of L, and the logarithms of the scales of groups.
    fn coordinates(&self, prior: &Prior) -> Vec<f64> {
        let mut point = self.of_factor(&prior.factor);
        point.extend(prior.groups.coordinates());
        point
    }

    fn at(&self, point: &[f64], like: &Prior) -> Option<Prior> {
        let q = like.varying.len();
        let (own, scales) = point.split_at(self.elements(q));
        let moved = || Prior { factor: self.factor_at(own, q), groups: like.groups.at(scales), ..like.clone() };
        own.iter().all(|value| value.abs() < LARGEST).then(moved)
    }

    /// d log-likelihood / d coordinates.
    fn slope(&self, posterior: &Posterior) -> Vec<f64> {
        let mut slope = self.slope_of_factor(posterior);
        let deviations = posterior.prior().groups.deviations();
        let inside = |(own, deviation): (f64, f64)| if Groups::is_at_an_end(deviation, own) { 0.0 } else { own };
        slope.extend(posterior.scale_slopes().into_iter().zip(deviations).map(|((own, _), deviation)| inside((own, deviation))));
        slope
    }

    /// T s_a^2 (K^-1)_aa a row a of L, twice on its diagonal, with s_a the share that an average task's own rows decide of feature a; of the scales of groups
    /// that of their slope.
    fn information(&self, posterior: &Posterior) -> Option<Information> {
        /// Of the variance at which tasks' rows and the prior say as much, what is added where K is all but singular.
        const LITTLE: f64 = 0.01;
        const LEAST: f64 = 5e-3;
        let (prior, q) = (posterior.prior(), posterior.prior().varying.len());
        let covariance = prior.feature_covariance();
        let relative =
            DMatrix::from_fn(q, q, |a, b| covariance[(a, b)] / (self.sizes[a] * self.sizes[b]) + if a == b { LITTLE } else { 0.0 });
        let inverse = linalg::inverse_of_cholesky(&linalg::cholesky(relative.clone())?);
        let own = |a: usize, times: f64| {
            let share = relative[(a, a)] / (1.0 + relative[(a, a)]);
            posterior.tasks() as f64 * (times * share * share * inverse[(a, a)]).max(LEAST)
        };
        let mut all: Vec<f64> = match self.kind {
            FeatureCovariance::Scalar => self.parts(q).iter().map(|part| part.len() as f64 * own(part[0], 2.0)).collect(),
            FeatureCovariance::Diagonal => (0..q).map(|a| own(a, 2.0)).collect(),
            FeatureCovariance::Full => self.lower(q).into_iter().map(|(a, b)| own(a, if a == b { 2.0 } else { 1.0 })).collect(),
        };
        all.extend(posterior.scale_slopes().into_iter().map(|(_, size)| size.max(1.0)));
        Some(Information { each: all, along: Vec::new() })
    }

    /// Log density, in the coordinates and up to a constant, of flat standard deviations, scales of groups log-normal about their start (of a factor of e: few
    /// tasks a group say next to nothing of them) and uniform correlations; none where the diagonal of L has a
    /// negative element. A row i of a part of n is its standard deviation times a direction in i dimensions, whose last element c has the density
    /// c^(n - i + 1) under uniform correlations.
    fn reference(&self, prior: &Prior) -> Option<f64> {
        let factor = &prior.factor;
        let q = factor.nrows();
        // At a variance of 0 rounding decides the sign.
        if (0..q).any(|a| factor[(a, a)] < -1e-9 * self.sizes[a]) {
            return None;
        }
        let mut log_density: f64 = -0.5 * prior.groups.deviations().iter().map(|own| own * own).sum::<f64>();
        if self.kind != FeatureCovariance::Full {
            return Some(log_density);
        }
        for part in self.parts(q) {
            for (i, a) in part.iter().enumerate().skip(1) {
                log_density += (part.len() - i) as f64 * factor[(*a, *a)].max(0.0).ln() - part.len() as f64 * factor.row(*a).norm().ln();
            }
        }
        Some(log_density)
    }

    /// The prior with rows of L of next to no variance set to 0; none where there is no such row.
    fn snap(&self, prior: &Prior) -> Option<Prior> {
        let factor = &prior.factor;
        let small = |a: usize| factor.row(a).norm() < 3e-3 * self.sizes[a] && factor.row(a).norm() > 0.0;
        let rows: Vec<usize> = (0..factor.nrows()).filter(|a| small(*a)).collect();
        let mut snapped = factor.clone();
        rows.iter().for_each(|a| snapped.row_mut(*a).fill(0.0));
        (!rows.is_empty()).then(|| Prior { factor: snapped, ..prior.clone() })
    }

    /// Where K is singular and the likelihood would gain by leaving the boundary (G not negative semidefinite on the null
    /// space of K), a prior off it. The gain promised by a step of optimal length must exceed 1e-6.
    fn release(&self, posterior: &Posterior) -> Option<Prior> {
        Some(Prior { factor: self.released(posterior)?, ..posterior.prior().clone() })
    }
}

/// The groups of a posterior's prior after a Newton step in the logarithms of their scales, of at most 1.
fn rescaled(posterior: &Posterior) -> Groups {
    let groups = &posterior.prior().groups;
    let step = |(slope, size): (f64, f64)| if size > 0.0 { (slope / size).clamp(-1.0, 1.0) } else { 0.0 };
    let point: Vec<f64> = groups.coordinates().iter().zip(posterior.scale_slopes()).map(|(own, at)| own + step(at)).collect();
    groups.at(&point)
}

/// A covariance with a little more along the direction of its null space in which the likelihood rises most, if that is promising.
fn raised(covariance: &DMatrix<f64>, slope: &DMatrix<f64>, promising: impl Fn(f64) -> bool) -> Option<DMatrix<f64>> {
    let q = covariance.nrows();
    let (values, vectors) = linalg::symmetric_eigen(covariance);
    let null: Vec<usize> = (0..q).filter(|k| values[*k] < 1e-8 * values[q - 1].max(1e-8)).collect();
    let basis = vectors.select_columns(&null);
    let (inside, directions) = linalg::symmetric_eigen(&(basis.transpose() * slope * &basis));
    let steepest = null.len().checked_sub(1)?;
    promising(inside[steepest]).then(|| {
        let direction = &basis * directions.column(steepest);
        covariance + &direction * direction.transpose() * 0.01
    })
}
