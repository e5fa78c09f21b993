//! What each task says of the hyperparameters and the mean at the fit, and the step of Fisher's scoring that takes it away.
//!
//! K = L M L' with M = I at the fit; coordinates are the elements of M that the shape of K leaves free, and the logarithm of the noise variance. With P_t = J_t - J_t C_t J_t the
//! projected precision of a task's rows, C_t = Cov(w_t | rows), s_t = h_t - J_t E(w_t), A_t = L'P_t L and a_t = L's_t, the task's slope along B is 1/2 tr B (a a' - A) and its information
//! on B and B' 1/2 tr A B A B' (Fisher's, given the mean).

use crate::error::Result;
use crate::likelihood::Observations;
use crate::linalg;
use crate::model::Fit;
use crate::posterior::Posterior;
use crate::structure::FeatureCovariance;
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

/// Hyperparameters in fitted coordinates.
pub(super) struct Point {
    /// K.
    pub covariance: DMatrix<f64>,
    /// The noise variance.
    pub noise: f64,
}

/// Information on the hyperparameters and on the mean.
type Both = (DMatrix<f64>, DMatrix<f64>);

/// What a task says.
struct Share {
    slope: DVector<f64>,
    /// Of the mean, given the variances.
    mean_slope: DVector<f64>,
    /// Its information; none of one among very many.
    information: Option<Both>,
}

/// What all of them say.
pub(super) struct Shares {
    each: Vec<Share>,
    information: DMatrix<f64>,
    mean_information: DMatrix<f64>,
    /// Columns of L that are not 0.
    factor: DMatrix<f64>,
    /// Elements (i, j) of M, i <= j, of each coordinate: one of a full K, all on the diagonal of a scalar one.
    elements: Vec<Vec<(usize, usize)>>,
    noise: f64,
    with_noise: bool,
}

/// Numbers of the information of single tasks that are kept, to be taken from the sum before a step; among more tasks one makes no difference.
const MOST_KEPT: usize = 10_000_000;

/// Tasks of one unit of parallel work; fixed, so that sums do not depend on the thread count.
const CHUNK: usize = 64;

/// Longest step in a coordinate.
const LONGEST: f64 = 2.0;

impl Shares {
    pub(super) fn of(fit: &Fit) -> Result<Self> {
        let prior = fit.prior();
        let (factor, _) = fit.directions();
        let r = factor.ncols();
        let elements: Vec<Vec<(usize, usize)>> = match fit.feature_covariance_kind() {
            _ if r == 0 => Vec::new(),
            Some(FeatureCovariance::Scalar) => vec![(0..r).map(|k| (k, k)).collect()],
            Some(FeatureCovariance::Full) => (0..r).flat_map(|j| (0..=j).map(move |i| vec![(i, j)])).collect(),
            _ => (0..r).map(|k| vec![(k, k)]).collect(),
        };
        let with_noise = fit.inference().is_none() && !fit.noise_is_known() && !fit.dispersion().is_each();
        let quadratics = fit.quadratics()?;
        let rows = Observations::new(fit.tasks(), fit.coordinates()).rows;
        let posterior = Posterior::given(&quadratics, prior)?;
        let share = |t: usize| {
            let own = quadratics.task(t);
            let w = posterior.coefficients(t);
            let j = &own.curvature;
            let rest = &own.linear - j * &w;
            let known = posterior.approximating_covariance(t);
            let seen = &known * j;
            let projected = j - j * &seen;
            let within = |matrix: &DMatrix<f64>| {
                let part = matrix.select_rows(&prior.varying).select_columns(&prior.varying);
                factor.transpose() * part * &factor
            };
            let (score, spread) = (factor.transpose() * rest.select_rows(&prior.varying), within(&projected));
            let size = elements.len() + usize::from(with_noise);
            let (mut slope, mut information) = (DVector::zeros(size), DMatrix::zeros(size, size));
            for (a, of_a) in elements.iter().enumerate() {
                slope[a] = of_a.iter().map(|(i, j)| twice(*i, *j) * 0.5 * (score[*i] * score[*j] - spread[(*i, *j)])).sum();
                for (b, of_b) in elements.iter().enumerate().take(a + 1) {
                    let pair = |(i, j): &(usize, usize), (k, l): &(usize, usize)| {
                        let product = spread[(*i, *k)] * spread[(*j, *l)] + spread[(*i, *l)] * spread[(*j, *k)];
                        0.25 * twice(*i, *j) * twice(*k, *l) * product
                    };
                    let own: f64 = of_a.iter().flat_map(|a| of_b.iter().map(move |b| pair(a, b))).sum();
                    (information[(a, b)], information[(b, a)]) = (own, own);
                }
            }
            if with_noise {
                // V^-1 dV is (I - H)' for the noise, H the rows' own share X C X' / noise of their fitted values.
                let n = elements.len();
                let double = &seen * &seen;
                slope[n] = 0.5 * (quadratics.precision(t) * quadratics.residual(t, w.as_slice()) - rows[t] + seen.trace());
                information[(n, n)] = 0.5 * (rows[t] - 2.0 * seen.trace() + double.trace());
                let both = within(&(j - 2.0 * j * &seen + j * &double));
                for (a, of_a) in elements.iter().enumerate() {
                    let own: f64 = of_a.iter().map(|(i, j)| 0.5 * twice(*i, *j) * both[(*i, *j)]).sum();
                    (information[(a, n)], information[(n, a)]) = (own, own);
                }
            }
            let conditional = given_mean(&posterior, t, &prior.varying);
            let of_mean = (j - j * conditional * j).select_rows(&prior.mean_features).select_columns(&prior.mean_features);
            (slope, rest.select_rows(&prior.mean_features), (information, of_mean))
        };
        let (size, m, tasks) = (elements.len() + usize::from(with_noise), prior.mean_features.len(), fit.tasks().len());
        let keeps = tasks * (size * size + m * m) <= MOST_KEPT;
        let chunk = |c: usize| {
            let mut sum = (DMatrix::zeros(size, size), DMatrix::zeros(m, m));
            let of = |t: usize| {
                let (slope, mean_slope, own) = share(t);
                sum.0 += &own.0;
                sum.1 += &own.1;
                Share { slope, mean_slope, information: keeps.then_some(own) }
            };
            let shares: Vec<Share> = (c * CHUNK..tasks.min((c + 1) * CHUNK)).map(of).collect();
            (shares, sum)
        };
        let chunks: Vec<(Vec<Share>, Both)> = (0..tasks.div_ceil(CHUNK)).into_par_iter().map(chunk).collect();
        let (mut information, mut mean_information) = (DMatrix::zeros(size, size), DMatrix::zeros(m, m));
        let mut each = Vec::with_capacity(tasks);
        for (shares, sum) in chunks {
            information += sum.0;
            mean_information += sum.1;
            each.extend(shares);
        }
        if !prior.mean_precision.is_empty() {
            mean_information += &prior.mean_precision;
        }
        Ok(Shares { each, information, mean_information, factor, elements, noise: fit.noise_of_row(None), with_noise })
    }

    pub(super) fn len(&self) -> usize {
        self.information.nrows()
    }

    /// Inverse of the information, a pseudo-inverse where some hyperparameters are not told apart.
    pub(super) fn covariance(&self) -> DMatrix<f64> {
        inverse(&self.information)
    }

    /// The step towards the maximum without a task: -(I - I_t)^-1 g_t, for all slopes add to 0 at the fit; no longer than 2 in any coordinate.
    pub(super) fn without(&self, t: usize) -> DVector<f64> {
        let own = &self.each[t];
        let left = own.information.as_ref().map_or_else(|| self.information.clone(), |(of_all, _)| &self.information - of_all);
        let step = -(inverse(&left) * &own.slope);
        let longest = step.amax();
        if longest > LONGEST { step * (LONGEST / longest) } else { step }
    }

    /// The mean without a task less with it, given the variances.
    pub(super) fn mean_without(&self, t: usize) -> DVector<f64> {
        let own = &self.each[t];
        let left = own.information.as_ref().map_or_else(|| self.mean_information.clone(), |(_, of_mean)| &self.mean_information - of_mean);
        -(inverse(&left) * &own.mean_slope)
    }

    /// The hyperparameters a step of the coordinates away, M being the exponential of the step so that it stays positive definite.
    pub(super) fn moved(&self, step: &DVector<f64>) -> Point {
        let r = self.factor.ncols();
        let mut change = DMatrix::zeros(r, r);
        for (a, elements) in self.elements.iter().enumerate() {
            elements.iter().for_each(|(i, j)| (change[(*i, *j)], change[(*j, *i)]) = (step[a], step[a]));
        }
        let (values, axes) = linalg::symmetric_eigen(&change);
        let m = &axes * DMatrix::from_diagonal(&values.map(f64::exp)) * axes.transpose();
        let noise = if self.with_noise { self.noise * step[self.elements.len()].exp() } else { self.noise };
        Point { covariance: &self.factor * m * self.factor.transpose(), noise }
    }

    /// (d' I d / k)^(1/2) with d the relative change from the fit to a point: M - I along L, the noise variance over that of the fit less 1.
    pub(super) fn distance(&self, point: &Point) -> f64 {
        let count = self.len();
        if count == 0 {
            return 0.0;
        }
        let r = self.factor.ncols();
        let nothing = DMatrix::zeros(r, self.factor.nrows());
        let back = if r == 0 { nothing } else { self.factor.clone().pseudo_inverse(1e-12).unwrap_or(nothing) };
        let m = &back * &point.covariance * back.transpose();
        let mut change = DVector::zeros(count);
        for (a, elements) in self.elements.iter().enumerate() {
            let sum: f64 = elements.iter().map(|(i, j)| m[(*i, *j)] - f64::from(u8::from(i == j))).sum();
            change[a] = sum / elements.len() as f64;
        }
        if self.with_noise {
            change[self.elements.len()] = point.noise / self.noise - 1.0;
        }
        (change.dot(&(&self.information * &change)).max(0.0) / count as f64).sqrt()
    }

    pub(super) fn distance_of_mean(&self, change: &DVector<f64>) -> f64 {
        if change.is_empty() {
            return 0.0;
        }
        (change.dot(&(&self.mean_information * change)).max(0.0) / change.len() as f64).sqrt()
    }
}

/// How often an element of a symmetric matrix is there.
fn twice(i: usize, j: usize) -> f64 {
    if i == j { 1.0 } else { 2.0 }
}

/// Cov(w_t | mean, rows) over all features.
fn given_mean(posterior: &Posterior, t: usize, varying: &[usize]) -> DMatrix<f64> {
    let (_, within) = posterior.conditional(t);
    let p = posterior.coefficients(t).len();
    let mut all = DMatrix::zeros(p, p);
    linalg::place(&mut all, (varying, varying), &within);
    all
}

/// Inverse of a positive definite matrix; of a semidefinite one along what it tells.
fn inverse(matrix: &DMatrix<f64>) -> DMatrix<f64> {
    const ROUNDING: f64 = 1e-10;
    if matrix.is_empty() {
        return matrix.clone();
    }
    let unit = matrix.diagonal().map(|own| if own > 0.0 { own.sqrt().recip() } else { 0.0 });
    let n = unit.len();
    let (values, axes) = linalg::symmetric_eigen(&DMatrix::from_fn(n, n, |i, j| unit[i] * unit[j] * matrix[(i, j)]));
    let told: Vec<usize> = (0..n).filter(|k| values[*k] > ROUNDING).collect();
    let root = DMatrix::from_fn(n, told.len(), |i, k| unit[i] * axes[(i, told[k])] / values[told[k]].sqrt());
    &root * root.transpose()
}
