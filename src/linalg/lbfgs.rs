//! Limited-memory BFGS, so that smooth structures reach the optimum in tens of E-steps where plain EM needs thousands.

use std::collections::VecDeque;

/// Minimiser of a smooth function (Liu and Nocedal 1989) with a backtracking cubic line search.
pub(crate) struct Lbfgs {
    /// Pairs of steps and gradient changes remembered.
    pub memory: usize,
    /// Most evaluations.
    pub evaluations: usize,
    /// Stops when the quadratic model promises less than this gain.
    pub gain: f64,
    /// About the second derivative in every direction, where it is known: the length of the first step.
    pub curvature: Option<f64>,
}

/// Where a minimisation ended.
pub(crate) struct Minimised {
    /// The best point.
    pub point: Vec<f64>,
    /// Whether the promised gain fell below the tolerance.
    pub converged: bool,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

impl Lbfgs {
    /// Minimises `function` (value and gradient; `None` where it is not defined) from `start`, where it must be defined.
    pub(crate) fn minimise<E>(
        &self,
        start: Vec<f64>,
        mut function: impl FnMut(&[f64]) -> Result<Option<(f64, Vec<f64>)>, E>,
    ) -> Result<Minimised, E> {
        let mut point = start;
        let mut evaluations = 1;
        let Some((mut value, mut gradient)) = function(&point)? else {
            return Ok(Minimised { point, converged: false });
        };
        let mut pairs: VecDeque<(Vec<f64>, Vec<f64>, f64)> = VecDeque::new();
        let mut small_gains = 0;
        // Length of the first step while nothing is known of the curvature.
        let mut reach = 0.3;
        loop {
            let mut direction = self.direction(&gradient, &pairs);
            let mut slope = dot(&direction, &gradient);
            if slope >= 0.0 || !slope.is_finite() {
                pairs.clear();
                direction = self.direction(&gradient, &pairs);
                slope = dot(&direction, &gradient);
            }
            if -0.5 * slope < self.gain && (!pairs.is_empty() || -slope < self.gain * 1e-3) {
                small_gains += 1;
                if small_gains >= 2 || -0.5 * slope < 1e-3 * self.gain {
                    return Ok(Minimised { point, converged: true });
                }
            } else {
                small_gains = 0;
            }
            let mut step = match self.curvature {
                _ if !pairs.is_empty() => 1.0,
                Some(curvature) => curvature.recip(),
                None => (reach / dot(&gradient, &gradient).sqrt()).min(1.0),
            };
            let accepted = loop {
                if evaluations >= self.evaluations {
                    break None;
                }
                let trial: Vec<f64> = point.iter().zip(&direction).map(|(p, d)| p + step * d).collect();
                evaluations += 1;
                let outcome = function(&trial)?;
                let rounding = 1e-13 * value.abs();
                match outcome {
                    Some((trial_value, trial_gradient)) if trial_value <= value + 1e-4 * step * slope + rounding => {
                        self.remember(&mut pairs, &point, &gradient, &trial, &trial_gradient);
                        (point, value, gradient) = (trial, trial_value, trial_gradient);
                        reach *= 4.0;
                        break Some(());
                    }
                    Some((trial_value, trial_gradient)) => {
                        let trial_slope = dot(&trial_gradient, &direction);
                        step *= cubic(step, value, slope, trial_value, trial_slope).clamp(0.05, 0.6);
                    }
                    None => step *= 0.2,
                }
                if step * direction.iter().zip(&point).map(|(d, p)| d.abs() / (1e-8 + p.abs())).fold(0.0, f64::max) < 1e-14 {
                    break None;
                }
            };
            if accepted.is_none() {
                let exhausted = evaluations >= self.evaluations;
                if !exhausted && !pairs.is_empty() {
                    pairs.clear();
                    small_gains = 0;
                    if -0.5 * slope < self.gain {
                        return Ok(Minimised { point, converged: true });
                    }
                    continue;
                }
                return Ok(Minimised { point, converged: !exhausted && -0.5 * slope < self.gain });
            }
        }
    }

    fn remember(&self, pairs: &mut VecDeque<(Vec<f64>, Vec<f64>, f64)>, p: &[f64], g: &[f64], p2: &[f64], g2: &[f64]) {
        let s: Vec<f64> = p2.iter().zip(p).map(|(a, b)| a - b).collect();
        let y: Vec<f64> = g2.iter().zip(g).map(|(a, b)| a - b).collect();
        let sy = dot(&s, &y);
        if sy > 1e-12 * (dot(&s, &s) * dot(&y, &y)).sqrt() {
            if pairs.len() == self.memory {
                pairs.pop_front();
            }
            pairs.push_back((s, y, 1.0 / sy));
        }
    }

    fn direction(&self, gradient: &[f64], pairs: &VecDeque<(Vec<f64>, Vec<f64>, f64)>) -> Vec<f64> {
        let mut d: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut weights = Vec::with_capacity(pairs.len());
        for (s, y, rho) in pairs.iter().rev() {
            let alpha = rho * dot(s, &d);
            d.iter_mut().zip(y).for_each(|(d, y)| *d -= alpha * y);
            weights.push(alpha);
        }
        if let Some((_, y, rho)) = pairs.back() {
            let scale = 1.0 / (rho * dot(y, y));
            d.iter_mut().for_each(|d| *d *= scale);
        }
        for ((s, y, rho), alpha) in pairs.iter().zip(weights.into_iter().rev()) {
            let beta = rho * dot(y, &d);
            d.iter_mut().zip(s).for_each(|(d, s)| *d += (alpha - beta) * s);
        }
        d
    }
}

/// The fraction of `step` at the minimum of the cubic through both ends.
fn cubic(step: f64, value: f64, slope: f64, trial_value: f64, trial_slope: f64) -> f64 {
    let theta = 3.0 * (value - trial_value) / step + slope + trial_slope;
    let discriminant = theta * theta - slope * trial_slope;
    if discriminant.is_nan() || discriminant <= 0.0 {
        return 0.5;
    }
    let gamma = discriminant.sqrt();
    let fraction = (gamma - slope + theta) / (2.0 * gamma - slope + trial_slope);
    if fraction.is_finite() { fraction } else { 0.5 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[test]
    fn finds_the_minimum_of_rosenbrock() {
        let search = Lbfgs { memory: 8, evaluations: 500, gain: 1e-14, curvature: None };
        let found = search
            .minimise(vec![-1.2, 1.0], |x| {
                let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
                Ok::<_, Infallible>(Some((a * a + 100.0 * b * b, vec![-2.0 * a - 400.0 * x[0] * b, 200.0 * b])))
            })
            .unwrap();
        assert!(found.converged);
        assert!((found.point[0] - 1.0).abs() < 1e-5 && (found.point[1] - 1.0).abs() < 1e-5);
    }

    #[test]
    fn steps_back_where_the_function_is_not_defined() {
        let search = Lbfgs { memory: 5, evaluations: 200, gain: 1e-12, curvature: Some(4.0) };
        let found =
            search.minimise(vec![0.1], |x| Ok::<_, Infallible>((x[0] > 0.0).then(|| (x[0] - x[0].ln(), vec![1.0 - 1.0 / x[0]])))).unwrap();
        assert!((found.point[0] - 1.0).abs() < 1e-5);
    }
}
