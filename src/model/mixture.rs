//! Posteriors of the parameters averaged over the hyperparameters, so that intervals carry the uncertainty of both.

use super::groups::expand_mean;
use super::hyperparameters::{Hyperparameters, Place};
use super::intervals::{Average, WeighedKernel};
use super::normalise;
use crate::linalg;
use crate::prior::Prior;
use nalgebra::{DMatrix, DVector};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use statrs::distribution::{Continuous, ContinuousCDF, StudentsT};

/// Points for each hyperparameter that all tasks share, and the least and most of them.
const POINTS: (usize, usize, usize) = (16, 48, 64);

pub(super) fn points(shared: usize) -> usize {
    (POINTS.0 * shared).clamp(POINTS.1, POINTS.2)
}

/// About how many E-steps an average takes.
pub(super) fn steps(shared: usize) -> usize {
    6 * shared + points(shared)
}

/// Points whose moments are held in memory at once.
const AT_ONCE: usize = 8;

/// What is averaged, about the estimates of the fit.
pub(super) struct Mixture {
    /// E (w_t - estimate)(w_t - estimate)', d^2 x T.
    pub covariances: DMatrix<f64>,
    /// E (mu - estimate)(mu - estimate)'.
    pub mean_covariance: DMatrix<f64>,
    pub average: Average,
}

/// Independent distributions along axes with a width of its own on both sides of each, and what tasks' own hyperparameters do given the shared ones.
struct Proposal {
    centre: Vec<f64>,
    /// Directions of the shared coordinates, by columns.
    axes: DMatrix<f64>,
    /// Below and above.
    widths: Vec<(f64, f64)>,
    /// d (task's own) / d (shared).
    pull: DMatrix<f64>,
    /// Roots of the covariance of each task's own block.
    roots: Vec<DMatrix<f64>>,
}

impl Proposal {
    /// About the maximum, from the curvature there; widths are where the log posterior has fallen along the axes.
    fn about(target: &Hyperparameters, centre: Vec<f64>, start: &Place) -> Option<Self> {
        /// Largest width in a coordinate: twice the size, or e^2.
        const LARGEST: f64 = 2.0;
        let shared = target.shared();
        let curvature = target.curvature(&centre)?;
        let tasks = centre.len() - shared;
        let block = if tasks > 0 { target.dispersion.common.len() } else { 1 };
        let mut roots = Vec::new();
        let mut pull = DMatrix::zeros(tasks, shared);
        let mut own = curvature.view((0, 0), (shared, shared)).into_owned();
        for k in (shared..centre.len()).step_by(block) {
            let mut alone = curvature.view((k, k), (block, block)).into_owned();
            (0..block).for_each(|j| alone[(j, j)] = alone[(j, j)].max(LARGEST.powi(-2)));
            let inverse = linalg::inverse_of_cholesky(&linalg::cholesky(alone)?);
            let cross = curvature.view((k, 0), (block, shared));
            let moved = -(&inverse * cross);
            own += cross.transpose() * &moved;
            pull.view_mut((k - shared, 0), (block, shared)).copy_from(&moved);
            roots.push(linalg::semidefinite_factor(&inverse));
        }
        let (values, mut axes) = linalg::symmetric_eigen(&own);
        // Which way they point is no matter of the order of tasks.
        axes.column_iter_mut().filter(|axis| axis[axis.iamax()] < 0.0).for_each(|mut axis| axis.neg_mut());
        let mut proposal = Proposal { centre, widths: Vec::new(), axes, pull, roots };
        proposal.widths = values.iter().map(|value| value.max(LARGEST.powi(-2)).powf(-0.5)).map(|width| (width, width)).collect();
        // A Newton step, for the mean integrated moves the maximum.
        let mut best = start.log_posterior;
        let slope = target.slope(start).ok()?;
        let along = proposal.axes.transpose() * DVector::from_column_slice(&slope[..shared]);
        let step: Vec<f64> =
            along.iter().zip(&proposal.widths).map(|(slope, (width, _))| (slope * width * width).clamp(-width, *width)).collect();
        let there = proposal.point(&step);
        if let Some(place) = target.place(&there).filter(|place| place.log_posterior > best && target.reference(&place.prior).is_some()) {
            best = place.log_posterior;
            proposal.centre = there;
        }
        for k in 0..shared {
            let width = proposal.widths[k].0;
            proposal.widths[k] = (proposal.width(target, best, (k, -width)), proposal.width(target, best, (k, width)));
        }
        Some(proposal)
    }

    /// Where along an axis the log posterior has fallen by a half, by the parabola through a point where it has fallen by about that much.
    fn width(&self, target: &Hyperparameters, best: f64, (axis, mut reach): (usize, f64)) -> f64 {
        let mut far = f64::INFINITY;
        let mut width = 0.0;
        for _ in 0..5 {
            let mut along = vec![0.0; self.widths.len()];
            along[axis] = reach;
            let place = target.place(&self.point(&along)).filter(|place| target.reference(&place.prior).is_some());
            match place.map(|place| best - place.log_posterior) {
                None => {
                    far = reach.abs();
                    reach *= 0.4;
                }
                Some(fall) => {
                    width = reach.abs() / (2.0 * fall.max(0.1)).sqrt();
                    if (0.15..3.0).contains(&fall) || 2.0 * reach.abs() >= far {
                        break;
                    }
                    reach *= if fall < 0.15 { 2.0 } else { fall.recip().sqrt() };
                }
            }
        }
        width
    }

    /// The shared coordinates moved along the axes, those of tasks to their maximum given them.
    fn point(&self, along: &[f64]) -> Vec<f64> {
        let moved = &self.axes * DVector::from_column_slice(along);
        let own = &self.pull * &moved;
        self.centre.iter().zip(moved.iter().chain(own.iter())).map(|(centre, step)| centre + step).collect()
    }

    /// `count` draws that are even in every axis (Latin hypercube, McKay, Beckman and Conover 1979), of two axes in the plane too, with their log densities.
    fn draws(&self, count: usize, random: &mut ChaCha8Rng) -> Vec<(Vec<f64>, f64)> {
        let tails = tails();
        let mut draws = vec![(Vec::with_capacity(self.widths.len()), 0.0); count];
        for (axis, (down, up)) in self.widths.iter().enumerate() {
            let mut strata: Vec<usize> = (0..count).collect();
            match (self.widths.len(), axis) {
                (1..=2, 0) => {}
                (2, _) => {
                    let turned = |k: &usize| (*k as f64 * GOLDEN).fract();
                    let mut order = strata.clone();
                    order.sort_by(|a, b| turned(a).total_cmp(&turned(b)));
                    order.iter().enumerate().for_each(|(rank, k)| strata[*k] = rank);
                }
                _ => strata.shuffle(random),
            }
            let below = if down + up > 0.0 { down / (down + up) } else { 0.5 };
            for (draw, stratum) in draws.iter_mut().zip(strata) {
                let u = (stratum as f64 + 0.5) / count as f64;
                let (width, z) = if u < below {
                    (*down, tails.inverse_cdf(0.5 * u / below))
                } else {
                    (*up, -tails.inverse_cdf(0.5 * (1.0 - u) / (1.0 - below)))
                };
                draw.0.push(width * z);
                draw.1 += tails.ln_pdf(z);
            }
        }
        draws
    }

    /// A point with tasks' own coordinates drawn.
    fn with_own<R: Rng>(&self, mut point: Vec<f64>, random: &mut R) -> Vec<f64> {
        let mut place = self.widths.len();
        for root in &self.roots {
            let noise = root * DVector::from_fn(root.nrows(), |_, _| linalg::normal(random));
            noise.iter().for_each(|value| {
                point[place] += value;
                place += 1;
            });
        }
        point
    }
}

/// The golden section, whose multiples are spread most evenly.
const GOLDEN: f64 = 0.618_033_988_749_895;

/// The distribution of draws along an axis, in widths: posteriors of standard deviations have longer tails than the normal distribution.
fn tails() -> StudentsT {
    StudentsT::new(0.0, 1.0, 5.0).expect("five degrees of freedom")
}

/// Weights from their logarithms, over the largest: raised to the largest power up to 1 at which they are worth a quarter of the points. Among many
/// hyperparameters a few points would have all the weight otherwise, by chance.
fn flattened(logs: &[f64]) -> Vec<f64> {
    let highest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let at =
        |power: f64| -> Vec<f64> { logs.iter().map(|own| if own.is_finite() { (power * (own - highest)).exp() } else { 0.0 }).collect() };
    let are_even =
        |weights: &[f64]| 4.0 * weights.iter().sum::<f64>().powi(2) >= logs.len() as f64 * weights.iter().map(|own| own * own).sum::<f64>();
    let weights = at(1.0);
    if are_even(&weights) {
        return weights;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..40 {
        let middle = 0.5 * (low + high);
        if are_even(&at(middle)) { low = middle } else { high = middle }
    }
    at(low)
}

/// A draw.
struct Point {
    /// Tasks' own coordinates at their maximum.
    shared: Vec<f64>,
    /// Those drawn too.
    with_own: Vec<f64>,
    log_density: f64,
    reference: f64,
}

/// Sums over points.
struct Sums {
    weight: f64,
    squares: f64,
    covariances: DMatrix<f64>,
    deviations: DMatrix<f64>,
    mean: DMatrix<f64>,
    features: DMatrix<f64>,
    dispersion: Vec<f64>,
}

/// The estimates of a fit, about which moments are taken: fitted coordinates, the prior as it was climbed.
pub(super) struct Estimates<'a> {
    pub coefficients: &'a DMatrix<f64>,
    /// u_t, d x T.
    pub deviations: DMatrix<f64>,
    pub mean: &'a DVector<f64>,
}

/// Averages the posterior over the hyperparameters, about `estimates`: draws from a Gaussian about their maximum, weighed by the posterior over it. None where there is no such Gaussian.
pub(super) fn integrate(target: &Hyperparameters, estimates: &Estimates) -> Option<Mixture> {
    let centre = target.point();
    let start = target.place(&centre)?;
    let proposal = Proposal::about(target, centre, &start)?;
    drop(start);
    let count = points(target.shared());
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let draws = proposal.draws(count, &mut random);
    let points: Vec<Point> = draws
        .into_iter()
        .filter_map(|(along, log_density)| {
            let shared = proposal.point(&along);
            let reference = target.reference(&target.prior_at(&shared)?).filter(|own| own.is_finite())?;
            let with_own = proposal.with_own(shared.clone(), &mut random);
            Some(Point { shared, with_own, log_density, reference })
        })
        .collect();
    let places: Vec<Option<Place>> = points.par_iter().map(|point| target.place(&point.shared)).collect();
    let height = |(point, place): (&Point, &Option<Place>)| {
        place.as_ref().map_or(f64::NEG_INFINITY, |place| place.log_posterior + point.reference - point.log_density)
    };
    let weights = flattened(&points.iter().zip(&places).map(height).collect::<Vec<_>>());
    let weighed: Vec<(&Point, &Place, f64)> =
        points.iter().zip(&places).zip(weights).filter_map(|((point, place), weight)| Some((point, place.as_ref()?, weight))).collect();
    let mut sums: Option<Sums> = None;
    for chunk in weighed.chunks(AT_ONCE) {
        let each: Vec<Option<Sums>> = chunk
            .par_iter()
            .map(|(point, place, weight)| {
                if proposal.roots.is_empty() {
                    return Some(Sums::of(place, *weight, estimates));
                }
                Some(Sums::of(&target.place(&point.with_own)?, *weight, estimates))
            })
            .collect();
        for own in each.into_iter().flatten() {
            match &mut sums {
                None => sums = Some(own),
                Some(all) => all.add(&own),
            }
        }
    }
    let sums = sums.filter(|sums| sums.weight > 0.0)?;
    let scale = sums.weight.recip();
    Some(Mixture {
        covariances: sums.covariances * scale,
        mean_covariance: sums.mean * scale,
        average: Average {
            effective_points: sums.weight.powi(2) / sums.squares,
            deviations: sums.deviations * scale,
            feature_covariance: sums.features * scale,
            dispersion: sums.dispersion.iter().map(|value| value * scale).collect(),
            kernels: weighed
                .iter()
                .filter_map(|(_, place, weight)| WeighedKernel::of(weight * scale, &place.prior, &place.dispersion))
                .collect(),
        },
    })
}

impl Sums {
    fn of(place: &Place, weight: f64, estimates: &Estimates) -> Self {
        let posterior = &place.found.posterior;
        let (p, tasks) = estimates.coefficients.shape();
        let mut covariances = DMatrix::zeros(p * p, tasks);
        let mut deviations = DMatrix::zeros(p * p, tasks);
        let root = posterior.mean_root();
        for t in 0..tasks {
            let (mut own, mut deviation) = posterior.both_covariances(t, &root);
            let away = posterior.coefficients(t) - estimates.coefficients.column(t);
            own.ger(weight, &away, &away, weight);
            covariances.column_mut(t).copy_from_slice(own.as_slice());
            let away = posterior.mean_deviation(t) - estimates.deviations.column(t);
            deviation.ger(weight, &away, &away, weight);
            deviations.column_mut(t).copy_from_slice(deviation.as_slice());
        }
        let (mean, covariance) = expand_mean(posterior, &place.prior, p);
        let away = mean - estimates.mean;
        Sums {
            weight,
            squares: weight * weight,
            covariances,
            deviations,
            mean: (covariance + &away * away.transpose()) * weight,
            features: normalise(place.prior.clone(), tasks).feature_covariance() * weight,
            dispersion: place.dispersion.values.iter().map(|value| value * weight).collect(),
        }
    }

    fn add(&mut self, other: &Sums) {
        self.weight += other.weight;
        self.squares += other.squares;
        self.covariances += &other.covariances;
        self.deviations += &other.deviations;
        self.mean += &other.mean;
        self.features += &other.features;
        self.dispersion.iter_mut().zip(&other.dispersion).for_each(|(own, other)| *own += other);
    }
}

/// A prior that tells the same of K with the diagonal of L not negative.
pub(super) fn upright(prior: Prior) -> Prior {
    let mut prior = prior;
    for k in 0..prior.factor.ncols().min(prior.factor.nrows()) {
        if prior.factor[(k, k)] < 0.0 {
            prior.factor.column_mut(k).neg_mut();
        }
    }
    prior
}
