//! One integral of the evidence: over the deviations of one task, or of tasks that are related, by quadrature or by sampling.

use super::pareto::k_hat;
use super::rows::{Families, FamilyRows};
use crate::error::{Error, Result};
use crate::linalg::{self, doubling_rules};
use crate::quadratic::Quadratics;
use nalgebra::{DMatrix, DVector};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{ChiSquared, Distribution};
use rayon::prelude::*;
use statrs::function::gamma::ln_gamma;
use std::f64::consts::PI;

/// Fewest degrees of freedom of the draws. As many as there are coordinates where these are more: weights for a Gaussian have a relative
/// variance of at most .2 then, with 7 degrees of freedom 1.1 in 50 coordinates.
const FREEDOM: f64 = 7.0;

/// Pairs of draws by one random stream.
const BLOCK: usize = 128;

/// Blocks from which k-hat is found.
const FIRST: usize = 2;

/// Change of the log integral with twice the nodes below which it stands.
const STANDS: f64 = 1e-7;

/// Most nodes a coordinate where there are two.
const MOST_OF_TWO: usize = 64;

/// exp of the rows' log densities and of a standard normal log density, over z, for parameters w_t = base_t + M_t z.
pub(super) struct Integral<'a> {
    rows: &'a FamilyRows,
    families: &'a Families<'a>,
    /// Number of the integral, and of its random streams.
    number: usize,
    tasks: Vec<Place>,
    /// z = centre + spread e, with e standard normal under the Gaussian that stands for the posterior.
    centre: DVector<f64>,
    spread: DMatrix<f64>,
    /// log |spread|.
    log_volume: f64,
    /// How many coordinates of z, the first ones, are the common mean instead.
    flat: usize,
    /// Precision of their normal prior; empty where it is flat.
    mean_precision: DMatrix<f64>,
}

/// A task at the centre, and how its parameters move with e.
struct Place {
    task: usize,
    centre: DVector<f64>,
    spread: DMatrix<f64>,
}

/// Draws e and -e.
struct Pair {
    /// Logarithms of their importance weights.
    weights: [f64; 2],
    /// What either weight would be for the Gaussian.
    control: f64,
}

/// What came out.
pub(super) struct Integrated {
    /// Logarithm of the integral.
    pub value: f64,
    /// Its variance where it was sampled.
    pub variance: Option<f64>,
    /// Pareto k-hat; none where there is nothing to integrate.
    pub pareto_k: Option<f64>,
}

impl<'a> Integral<'a> {
    /// Over `flat` coordinates of the common mean, normal with that precision (flat where it is empty), and then standard normal ones, given base_t
    /// and M_t of each task and the quadratics around the Gaussian that stands for the posterior.
    ///
    /// # Errors
    /// [`Error::NotPositiveDefinite`] where the quadratics leave a flat coordinate undecided.
    pub(super) fn new(
        (rows, families, quadratics): (&'a FamilyRows, &'a Families<'a>, &Quadratics),
        number: usize,
        tasks: Vec<(usize, DVector<f64>, DMatrix<f64>)>,
        (flat, mean_precision): (usize, &DMatrix<f64>),
    ) -> Result<Self> {
        let size = tasks.first().map_or(0, |(_, _, map)| map.ncols());
        let mut precision = DMatrix::from_fn(size, size, |i, j| f64::from(i == j && i >= flat));
        let mean_precision = if flat > 0 { mean_precision.clone() } else { DMatrix::zeros(0, 0) };
        precision.view_mut((0, 0), mean_precision.shape()).copy_from(&mean_precision);
        let mut linear = DVector::zeros(size);
        for (task, base, map) in &tasks {
            let own = quadratics.task(*task);
            precision += map.tr_mul(&(&own.curvature * map));
            linear += map.tr_mul(&(&own.linear - &own.curvature * base));
        }
        linalg::symmetrise(&mut precision);
        let root = linalg::cholesky(precision).ok_or_else(|| Error::NotPositiveDefinite {
            matrix: "the joint posterior precision".into(),
            remedy: "standardise the features with --standardise both".into(),
        })?;
        let mut centre = DMatrix::from_column_slice(size, 1, linear.as_slice());
        linalg::solve_cholesky(&root, &mut centre);
        let mut spread = DMatrix::identity(size, size);
        linalg::solve_lower_matrix(&root, &mut spread);
        let (centre, spread) = (centre.column(0).into_owned(), spread.transpose());
        let place =
            |(task, base, map): (usize, DVector<f64>, DMatrix<f64>)| Place { task, centre: base + &map * &centre, spread: map * &spread };
        let tasks = tasks.into_iter().map(place).collect();
        Ok(Integral {
            rows,
            families,
            number,
            tasks,
            log_volume: -0.5 * linalg::log_determinant(&root),
            centre,
            spread,
            flat,
            mean_precision,
        })
    }

    /// Coordinates of z.
    fn size(&self) -> usize {
        self.centre.len()
    }

    /// Log of the integrand at e, by the volume of e.
    fn at(&self, e: &DVector<f64>) -> f64 {
        let z = &self.centre + &self.spread * e;
        let deviations = z.rows(self.flat, self.size() - self.flat);
        let mut sum = self.log_volume + normal(deviations.norm_squared(), deviations.len());
        let mean = z.rows(0, self.mean_precision.nrows());
        sum -= 0.5 * mean.dot(&(&self.mean_precision * mean));
        for place in &self.tasks {
            let (w, family) = (&place.centre + &place.spread * e, self.families.of(place.task));
            sum += self.rows.of(place.task).map(|row| family.at(row.y, row.weight, row.predictor(&w) + row.offset).value).sum::<f64>();
        }
        if sum.is_nan() { f64::NEG_INFINITY } else { sum }
    }

    /// Adaptive quadrature over one or two coordinates where it stands, else importance sampling until the variance is at most `aim` or `most`
    /// pairs of draws are made.
    pub(super) fn integrate(&self, aim: f64, most: usize) -> Integrated {
        if self.size() == 0 {
            return Integrated { value: self.at(&DVector::zeros(0)), variance: None, pareto_k: None };
        }
        let mut pairs = self.draws(0..FIRST);
        let pareto_k = |pairs: &[Pair]| Some(k_hat(&pairs.iter().flat_map(|own| own.weights).collect::<Vec<_>>()));
        if let Some(value) = self.quadrature() {
            return Integrated { value, variance: None, pareto_k: pareto_k(&pairs) };
        }
        loop {
            let (value, variance) = log_mean(&pairs);
            // Not so where the variance is no number.
            if variance <= aim || 2 * pairs.len() > most {
                return Integrated { value, variance: Some(variance), pareto_k: pareto_k(&pairs) };
            }
            let made = pairs.len() / BLOCK;
            pairs.extend(self.draws(made..2 * made));
        }
    }

    /// Gauss-Hermite quadrature about the centre, the nodes doubled until the integral stands; none where it does not, or in more than two
    /// coordinates.
    fn quadrature(&self) -> Option<f64> {
        let mut before = f64::NAN;
        for rule in doubling_rules().filter(|rule| self.size() == 1 || rule.len() <= MOST_OF_TWO) {
            let term = |e: DVector<f64>, v: f64| self.at(&e) - normal(e.norm_squared(), e.len()) + v.ln();
            let terms: Vec<f64> = match self.size() {
                1 => rule.iter().map(|(z, v)| term(DVector::from_element(1, *z), *v)).collect(),
                2 => {
                    let line = |(z, v): &(f64, f64)| {
                        let (first, weight) = (*z, *v);
                        rule.iter().map(move |(second, v)| (DVector::from_vec(vec![first, *second]), weight * v))
                    };
                    rule.par_iter().flat_map_iter(line).map(|(e, v)| term(e, v)).collect()
                }
                _ => return None,
            };
            let value = log_sum(&terms);
            if (value - before).abs() <= STANDS {
                return Some(value);
            }
            before = value;
        }
        None
    }

    /// Antithetic pairs from a multivariate t.
    fn draws(&self, blocks: std::ops::Range<usize>) -> Vec<Pair> {
        let size = self.size();
        let (half, freedom) = (0.5 * size as f64, f64::max(FREEDOM, size as f64));
        let constant = ln_gamma(half + 0.5 * freedom) - ln_gamma(0.5 * freedom) - half * (freedom * PI).ln();
        let chi = ChiSquared::new(freedom).expect("degrees of freedom are positive");
        let block = |number: usize| {
            let mut random = ChaCha8Rng::seed_from_u64(0);
            random.set_stream(((self.number as u64) << 32) | number as u64);
            let pair = |_| {
                let normal = DVector::from_fn(size, |_, _| linalg::normal(&mut random));
                let e = normal * (freedom / chi.sample(&mut random)).sqrt();
                let density = constant - (half + 0.5 * freedom) * (e.norm_squared() / freedom).ln_1p();
                let control = (self::normal(e.norm_squared(), size) - density).exp();
                Pair { weights: [self.at(&e) - density, self.at(&-e) - density], control }
            };
            (0..BLOCK).map(pair).collect::<Vec<_>>()
        };
        blocks.into_par_iter().flat_map_iter(block).collect()
    }
}

/// Log density of so many standard normal variables whose squares add up to `square`.
fn normal(square: f64, count: usize) -> f64 {
    -0.5 * (square + count as f64 * (2.0 * PI).ln())
}

fn log_sum(terms: &[f64]) -> f64 {
    let most = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most.is_finite() { most + terms.iter().map(|own| (own - most).exp()).sum::<f64>().ln() } else { most }
}

/// The log of the mean weight, and its variance by that of the pairs' means (delta method). The mean of the controls is known to be 1, so that
/// what the weights have in common with them is no error (regression on a control variate, Hesterberg 1995).
fn log_mean(pairs: &[Pair]) -> (f64, f64) {
    let most = pairs.iter().flat_map(|own| own.weights).fold(f64::NEG_INFINITY, f64::max);
    let each: Vec<f64> = pairs.iter().map(|own| 0.5 * own.weights.iter().map(|weight| (weight - most).exp()).sum::<f64>()).collect();
    let count = pairs.len() as f64;
    let (mean, mean_control) = (each.iter().sum::<f64>() / count, pairs.iter().map(|own| own.control).sum::<f64>() / count);
    let (mut common, mut spread) = (0.0, 0.0);
    for (weight, pair) in each.iter().zip(pairs) {
        common += (weight - mean) * (pair.control - mean_control);
        spread += (pair.control - mean_control).powi(2);
    }
    let slope = if spread > 0.0 { common / spread } else { 0.0 };
    // Not of use where it would make nothing of an integral that few draws decide.
    let slope = if mean - slope * (mean_control - 1.0) > 0.5 * mean { slope } else { 0.0 };
    let value = mean - slope * (mean_control - 1.0);
    let squares: f64 = each.iter().zip(pairs).map(|(own, pair)| (own - mean - slope * (pair.control - mean_control)).powi(2)).sum();
    (most + value.ln(), squares / (count * (count - 2.0)) / (value * value))
}
