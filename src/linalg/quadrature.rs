//! Gauss-Hermite quadrature: expectations over a normal variable as short weighted sums.

use super::symmetric_eigen;
use nalgebra::DMatrix;
use std::borrow::Cow;
use std::sync::{LazyLock, OnceLock};

/// Nodes of the rule that [`normal_rule`] gives.
const NODES: usize = 20;

static RULE: LazyLock<Vec<(f64, f64)>> = LazyLock::new(|| rule(NODES));

/// Nodes z and weights v with E f(Z) = sum v f(z) for Z ~ N(0, 1), exact for polynomials up to degree 39.
pub(crate) fn normal_rule() -> &'static [(f64, f64)] {
    &RULE
}

/// As [`normal_rule`], for functions of mean + sd Z that change over a unit as those of a logit or log scale do: where sd > 1 the trapezoid rule,
/// whose error falls exponentially with the step (a logistic function has its poles at a distance of pi: exp(-2 pi^2 / step)). With few nodes
/// expectations of a function and of its derivatives do not belong together.
pub(crate) fn normal_rule_of(sd: f64) -> Cow<'static, [(f64, f64)]> {
    const STEP: f64 = 0.5;
    const MOST: f64 = 1000.0;
    if !(sd > 1.0 && sd.is_finite()) {
        return Cow::Borrowed(&RULE);
    }
    let reach = 8.0 + sd.min(10.0);
    let half = (reach * sd / STEP).ceil().min(MOST) as i32;
    let step = reach / f64::from(half);
    let weight = step / (2.0 * std::f64::consts::PI).sqrt();
    (-half..half).map(|k| step * (f64::from(k) + 0.5)).map(|z| (z, weight * (-0.5 * z * z).exp())).collect()
}

/// Rules that are kept, of 8, 16, 32, 64, 128 and 256 nodes.
static DOUBLING: [OnceLock<Vec<(f64, f64)>>; 6] = [const { OnceLock::new() }; 6];

/// As [`normal_rule`], by 8 nodes and then by twice as many each time, up to 256.
pub(crate) fn doubling_rules() -> impl Iterator<Item = &'static [(f64, f64)]> {
    DOUBLING.iter().enumerate().map(|(k, kept)| kept.get_or_init(|| rule(8 << k)).as_slice())
}

/// Nodes are the eigenvalues of the recurrence of the orthonormal Hermite polynomials (Golub and Welsch 1969), sharpened by a Newton step;
/// a weight is 1 over the sum of the polynomials' squares there, exact to rounding also where it is 1e-100. Made exactly symmetric.
fn rule(nodes: usize) -> Vec<(f64, f64)> {
    let recurrence = DMatrix::from_fn(nodes, nodes, |i, j| if i.abs_diff(j) == 1 { (i.max(j) as f64).sqrt() } else { 0.0 });
    let values = symmetric_eigen(&recurrence).0;
    (0..nodes)
        .map(|k| {
            let start = 0.5 * (values[k] - values[nodes - 1 - k]);
            let (last, next, _) = polynomials(nodes, start);
            let z = start - next / ((nodes as f64).sqrt() * last);
            (z, polynomials(nodes, z).2.recip())
        })
        .collect()
}

/// The orthonormal Hermite polynomials of degree n - 1 and n at z, and the sum of the squares of those below n.
fn polynomials(n: usize, z: f64) -> (f64, f64, f64) {
    (0..n).fold((0.0, 1.0, 0.0), |(before, own, sum), j| {
        let next = (z * own - (j as f64).sqrt() * before) / ((j + 1) as f64).sqrt();
        (own, next, sum + own * own)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_exponentials_of_a_normal_variable_are_exact() {
        let expected = |f: &dyn Fn(f64) -> f64| normal_rule().iter().map(|(z, v)| v * f(*z)).sum::<f64>();
        assert!((expected(&|_| 1.0) - 1.0).abs() < 1e-14);
        assert!((expected(&|z| z.powi(6)) - 15.0).abs() < 1e-11);
        assert!((expected(&|z| (0.8 * z).exp()) - 0.32f64.exp()).abs() < 1e-13);
        assert!(expected(&|z| z.powi(7)).abs() < 1e-11);
    }

    /// Expectations of ln(1 + exp(eta)), and by mean and variance their derivatives, which are those of its derivatives.
    #[test]
    fn a_wide_variable_has_the_expectations_of_derivatives() {
        for (mean, sd) in [(0.3, 1.001), (-2.0, 3.0), (-11.0, 6.0), (4.0, 12.0)] {
            let expected =
                |mean: f64, sd: f64, f: &dyn Fn(f64) -> f64| normal_rule_of(sd).iter().map(|(z, v)| v * f(mean + sd * z)).sum::<f64>();
            let value = |mean: f64, square: f64| expected(mean, square.sqrt(), &|eta: f64| eta.max(0.0) + (-eta.abs()).exp().ln_1p());
            let share = |eta: f64| 1.0 / (1.0 + (-eta).exp());
            let (slope, curvature) = (expected(mean, sd, &share), expected(mean, sd, &|eta| share(eta) * share(-eta)));
            let by_mean = (value(mean + 1e-4, sd * sd) - value(mean - 1e-4, sd * sd)) / 2e-4;
            let by_square = (value(mean, sd * sd + 1e-4) - value(mean, sd * sd - 1e-4)) / 2e-4;
            assert!((by_mean - slope).abs() < 1e-9 && (2.0 * by_square - curvature).abs() < 1e-8, "{mean} {sd}: {by_square} {curvature}");
        }
        assert_eq!(normal_rule_of(1.0).len(), NODES);
    }

    /// Also of a variable 1.4 times as wide, whose density is 1e50 times the rule's at the outer nodes, so that small weights must be right.
    #[test]
    fn rules_of_many_nodes_are_exact_far_out() {
        let ratio = |z: f64| (0.25 * z * z).exp() / 2f64.sqrt();
        let sums =
            |f: &dyn Fn(f64) -> f64| -> Vec<f64> { doubling_rules().map(|rule| rule.iter().map(|(z, v)| v * f(*z)).sum()).collect() };
        assert_eq!(doubling_rules().map(<[_]>::len).collect::<Vec<_>>(), [8, 16, 32, 64, 128, 256]);
        sums(&|z| z.powi(8)).iter().for_each(|sum| assert!((sum / 105.0 - 1.0).abs() < 1e-12, "{sum}"));
        assert!(sums(&|z| z.powi(5)).iter().all(|sum| sum.abs() < 1e-9));
        for f in [&ratio as &dyn Fn(f64) -> f64, &|z| ratio(z) * z * z / 2.0] {
            let found = sums(f);
            assert!((found[5] - 1.0).abs() < 1e-12 && (found[4] - 1.0).abs() < 1e-12 && (found[3] - 1.0).abs() < 1e-9, "{found:?}");
        }
    }
}
