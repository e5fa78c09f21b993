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

/// Degrees of freedom of the heavy tails.
const FREEDOM: f64 = 7.0;

/// One draw in so many is from the heavy tails.
const HEAVY: usize = 5;

/// Pairs of draws by one random stream.
const BLOCK: usize = 128;

/// Blocks from which k-hat is found.
const FIRST: usize = 2;

/// Change of the log integral with twice the nodes below which it stands.
const STANDS: f64 = 1e-8;

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
    /// How many coordinates of z, the first ones, have a flat density instead.
    flat: usize,
}

/// A task at the centre, and how its parameters move with e.
struct Place {
    task: usize,
    centre: DVector<f64>,
    spread: DMatrix<f64>,
}

/// What came out.
pub(super) struct Integrated {
    /// Logarithm of the integral.
    pub value: f64,
    /// Its variance, 0 by quadrature.
    pub variance: f64,
    /// Pareto k-hat; none where there is nothing to integrate.
    pub pareto_k: Option<f64>,
}

impl<'a> Integral<'a> {
    /// Over `flat` flat coordinates and then standard normal ones, given M_t of each task and the quadratics around the Gaussian that
    /// stands for the posterior.
    ///
    /// # Errors
    /// [`Error::NotPositiveDefinite`] where the quadratics leave a flat coordinate undecided.
    pub(super) fn new(
        (rows, families, quadratics): (&'a FamilyRows, &'a Families<'a>, &Quadratics),
        number: usize,
        tasks: Vec<(usize, DMatrix<f64>)>,
        base: &DVector<f64>,
        flat: usize,
    ) -> Result<Self> {
        let size = tasks.first().map_or(0, |(_, map)| map.ncols());
        let mut precision = DMatrix::from_fn(size, size, |i, j| f64::from(i == j && i >= flat));
        let mut linear = DVector::zeros(size);
        for (task, map) in &tasks {
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
        let place = |(task, map): (usize, DMatrix<f64>)| Place { task, centre: base + &map * &centre, spread: map * &spread };
        let tasks = tasks.into_iter().map(place).collect();
        Ok(Integral { rows, families, number, tasks, log_volume: -0.5 * linalg::log_determinant(&root), centre, spread, flat })
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
            return Integrated { value: self.at(&DVector::zeros(0)), variance: 0.0, pareto_k: None };
        }
        let mut pairs = self.draws(0..FIRST);
        let pareto_k = |pairs: &[f64]| Some(k_hat(pairs));
        if let Some(value) = self.quadrature() {
            return Integrated { value, variance: 0.0, pareto_k: pareto_k(&pairs) };
        }
        loop {
            let (value, variance) = log_mean(&pairs);
            // Not so where the variance is no number.
            if variance <= aim || 2 * pairs.len() > most {
                return Integrated { value, variance, pareto_k: pareto_k(&pairs) };
            }
            let made = pairs.len() / BLOCK;
            pairs.extend(self.draws(made..2 * made));
        }
    }

    /// Gauss-Hermite quadrature about the centre, the nodes doubled until the integral stands; none where it does not, or in more than two
    /// coordinates.
    fn quadrature(&self) -> Option<f64> {
        let mut before = f64::NAN;
        for rule in doubling_rules() {
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

    /// Logarithms of the mean importance weight of each antithetic pair: e and -e from the Gaussian, or one in five from t tails, weighed
    /// by the density of this mixture (Hesterberg 1995).
    fn draws(&self, blocks: std::ops::Range<usize>) -> Vec<f64> {
        let size = self.size();
        let half = 0.5 * size as f64;
        let heavy_constant = ln_gamma(half + 0.5 * FREEDOM) - ln_gamma(0.5 * FREEDOM) - half * (FREEDOM * PI).ln();
        let share = (HEAVY as f64).recip();
        let density = |square: f64| {
            let heavy = heavy_constant - (half + 0.5 * FREEDOM) * (square / FREEDOM).ln_1p();
            log_sum(&[(1.0 - share).ln() + normal(square, size), share.ln() + heavy])
        };
        let block = |number: usize| -> Vec<f64> {
            let mut random = ChaCha8Rng::seed_from_u64(0);
            random.set_stream(((self.number as u64) << 32) | number as u64);
            let chi = ChiSquared::new(FREEDOM).expect("degrees of freedom are positive");
            let mut pair = |k: usize| {
                let mut e = DVector::from_fn(size, |_, _| linalg::normal(&mut random));
                if (number * BLOCK + k) % HEAVY == 0 {
                    e *= (FREEDOM / chi.sample(&mut random)).sqrt();
                }
                let density = density(e.norm_squared());
                let other = self.at(&-&e);
                log_sum(&[self.at(&e), other]) - 2f64.ln() - density
            };
            (0..BLOCK).map(&mut pair).collect()
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

/// The log of the mean of numbers given by their logarithms, and its variance by the delta method.
fn log_mean(logs: &[f64]) -> (f64, f64) {
    let count = logs.len() as f64;
    let value = log_sum(logs) - count.ln();
    let squares: f64 = logs.iter().map(|own| ((own - value).exp() - 1.0).powi(2)).sum();
    (value, squares / (count * (count - 1.0)))
}
