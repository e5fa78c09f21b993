//! Scales of single tasks: how a task that is unlike the others is let go without moving them.

use serde::{Deserialize, Serialize};
use statrs::function::gamma::{digamma, ln_gamma};

/// Fewest and most degrees of freedom.
const RANGE: (f64, f64) = (2.0, 300.0);

/// A scale for every task, w_t = mean + tau_t u_t, with tau_t^-2 ~ Gamma(nu / 2, nu / 2): given K the deviations of a task are a multivariate t of nu degrees of
/// freedom (Lange, Little and Taylor 1989).
///
/// ```
/// use cognate::{Mean, Posterior, Prior, Quadratic, Quadratics, Relatedness, TaskScales};
/// use nalgebra::{dmatrix, dvector};
/// let task = |estimate: f64| Quadratic { constant: 0.0, linear: dvector![estimate], curvature: dmatrix![1.0] };
/// let tasks = Quadratics::new(&[task(1.0), task(-1.0), task(20.0)])?;
/// let prior = Prior::new(Mean::Profiled, Relatedness::Identity, dmatrix![1.0]);
/// let scales = TaskScales { values: vec![1.0, 1.0, 20.0], degrees_of_freedom: 3.0 };
/// let robust = Posterior::given(&tasks, &Prior { task_scales: Some(scales), ..prior.clone() })?;
/// // The mean is that of the others, and the odd task keeps its own estimate.
/// assert!(robust.mean()[0].abs() < 0.1 && robust.coefficients(2)[0] > 19.9);
/// assert!(Posterior::given(&tasks, &prior)?.mean()[0] > 6.0);
/// # Ok::<(), cognate::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskScales {
    /// tau of every task.
    pub values: Vec<f64>,
    /// nu.
    pub degrees_of_freedom: f64,
}

impl TaskScales {
    /// All tasks alike.
    pub(crate) fn new(tasks: usize) -> Self {
        TaskScales { values: vec![1.0; tasks], degrees_of_freedom: 10.0 }
    }

    /// Log density of the logarithms of the scales.
    pub(crate) fn log_density(&self) -> f64 {
        let half = 0.5 * self.degrees_of_freedom;
        let constant = half * half.ln() - ln_gamma(half) + 2f64.ln();
        self.values.iter().map(|tau| constant - 2.0 * half * tau.ln() - half / (tau * tau)).sum()
    }

    /// Its slope in the logarithm of a scale, and its curvature with the sign changed.
    pub(crate) fn slope(&self, task: usize) -> (f64, f64) {
        let (nu, squared) = (self.degrees_of_freedom, self.values[task].powi(-2));
        (nu * (squared - 1.0), 2.0 * nu * squared)
    }

    /// The degrees of freedom of highest expected log density where tau_t^-2 ~ Gamma(a_t, a_t tau_t^2) with 2 a_t = nu + the directions that say it:
    /// log(nu/2) + 1 - psi(nu/2) = mean E[tau^-2 - log tau^-2]. Where nothing says a scale nu stays.
    pub(crate) fn with_best_degrees(&self, directions: &[f64]) -> Self {
        let uncertainty = |shape: f64| shape.ln() - digamma(shape);
        let of = |(tau, own): (&f64, &f64)| tau.powi(-2) + 2.0 * tau.ln() + uncertainty(0.5 * (self.degrees_of_freedom + own));
        let target = self.values.iter().zip(directions).map(of).sum::<f64>() / self.values.len() as f64;
        // Falls from infinity to 1.
        let value = |half: f64| uncertainty(half) + 1.0;
        let (mut low, mut high) = (0.5 * RANGE.0, 0.5 * RANGE.1);
        for _ in 0..60 {
            let middle = (low * high).sqrt();
            if value(middle) > target { low = middle } else { high = middle }
        }
        TaskScales { values: self.values.clone(), degrees_of_freedom: 2.0 * (low * high).sqrt() }
    }

    /// Mean of tau_t^2: how many times as far as K says a task of which nothing is known varies.
    pub(crate) fn mean_square(&self) -> f64 {
        self.values.iter().map(|tau| tau * tau).sum::<f64>() / self.values.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn densities_add_up_to_one_and_slopes_are_differences() {
        for degrees_of_freedom in [1.5, 4.0, 40.0] {
            let at = |log: f64| TaskScales { values: vec![log.exp()], degrees_of_freedom };
            let total: f64 = (-4000..8000).map(|k| at(f64::from(k) * 0.002).log_density().exp() * 0.002).sum();
            assert!((total - 1.0).abs() < 1e-6, "{total}");
            for log in [-0.4, 0.0, 1.3] {
                let difference = (at(log + 1e-5).log_density() - at(log - 1e-5).log_density()) / 2e-5;
                let curvature = (at(log - 1e-5).slope(0).0 - at(log + 1e-5).slope(0).0) / 2e-5;
                assert!((at(log).slope(0).0 - difference).abs() < 1e-6 * (1.0 + difference.abs()));
                assert!((at(log).slope(0).1 - curvature).abs() < 1e-5 * (1.0 + curvature.abs()));
            }
        }
    }

    /// Scales that are known to the last digit and drawn with nu have nu.
    #[test]
    fn degrees_of_freedom_are_found_again() {
        use rand::SeedableRng;
        use rand_distr::{Distribution, Gamma};
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for nu in [2.0, 5.0, 20.0] {
            let precision = Gamma::<f64>::new(0.5 * nu, 2.0 / nu).unwrap();
            let values: Vec<f64> = (0..20_000).map(|_| precision.sample(&mut random).powf(-0.5)).collect();
            let found = TaskScales { values, degrees_of_freedom: 10.0 }.with_best_degrees(&vec![1e12; 20_000]).degrees_of_freedom;
            assert!((found / nu - 1.0).abs() < 0.05, "{found} for {nu}");
            let unknown = TaskScales { values: vec![1.0; 10], degrees_of_freedom: nu }.with_best_degrees(&[0.0; 10]).degrees_of_freedom;
            assert!((unknown / nu - 1.0).abs() < 1e-6, "{unknown} for {nu}");
        }
    }
}
