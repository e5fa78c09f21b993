//! Gauss's quadrature: expectations over a normal variable, integrals and long sums as short weighted sums.

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

/// As [`normal_rule_of`], for functions on a logit or log scale only: a narrow variable needs fewer nodes, as many as leave expectations of a
/// logistic function's derivative an error of 1e-10.
pub(crate) fn scale_free_rule(sd: f64) -> Cow<'static, [(f64, f64)]> {
    type Narrow = (f64, Vec<(f64, f64)>);
    static NARROW: LazyLock<[Narrow; 5]> =
        LazyLock::new(|| [(0.2, 6), (0.33, 8), (0.46, 10), (0.57, 12), (0.73, 16)].map(|(sd, nodes)| (sd, rule(nodes))));
    match NARROW.iter().find(|(widest, _)| sd <= *widest) {
        Some((_, rule)) => Cow::Borrowed(rule),
        None => normal_rule_of(sd),
    }
}

/// Rules that are kept, of 8, 16, 32, 64, 128 and 256 nodes.
static DOUBLING: [OnceLock<Vec<(f64, f64)>>; 6] = [const { OnceLock::new() }; 6];

/// As [`normal_rule`], by 8 nodes and then by twice as many each time, up to 256.
pub(crate) fn doubling_rules() -> impl Iterator<Item = &'static [(f64, f64)]> {
    DOUBLING.iter().enumerate().map(|(k, kept)| kept.get_or_init(|| rule(8 << k)).as_slice())
}

/// For a normal variable.
fn rule(nodes: usize) -> Vec<(f64, f64)> {
    gauss(nodes, &|j| j)
}

/// Nodes x in (-1/2, 1/2) and weights v of sum 1: the mean of f over an interval is sum v f(centre + width x), exact for polynomials up to
/// degree 31.
pub(crate) fn interval_rule() -> &'static [(f64, f64)] {
    static RULE: LazyLock<Vec<(f64, f64)>> = LazyLock::new(|| gauss(16, &|j| j * j / (4.0 * (4.0 * j * j - 1.0))));
    &RULE
}

/// Nodes x in (-1/2, 1/2) and weights v of sum 1: the mean of f over the 2^power whole numbers a, a + 1, .. is sum v f(a - 1/2 + (1/2 + x)
/// 2^power), exact for polynomials up to degree 23, and for every f of 8 numbers or fewer. The polynomials are Gram's, orthogonal over whole
/// numbers; where there are many numbers they are Legendre's.
pub(crate) fn sum_rule(power: usize) -> &'static [(f64, f64)] {
    static RULES: [OnceLock<Vec<(f64, f64)>>; 64] = [const { OnceLock::new() }; 64];
    let count = (power as f64).exp2();
    RULES[power].get_or_init(|| {
        gauss(if power < 4 { 1 << power } else { 12 }, &|j| (1.0 - (j / count).powi(2)) * j * j / (4.0 * (4.0 * j * j - 1.0)))
    })
}

/// The rule of the orthonormal polynomials with sqrt(b_(j+1)) p_(j+1) = z p_j - sqrt(b_j) p_(j-1), of a distribution symmetric about 0.
///
/// Nodes are the eigenvalues of the recurrence (Golub and Welsch 1969), sharpened by a Newton step; a weight is 1 over the sum of the
/// polynomials' squares there, exact to rounding also where it is 1e-100. Made exactly symmetric.
fn gauss(nodes: usize, b: &dyn Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let recurrence = DMatrix::from_fn(nodes, nodes, |i, j| if i.abs_diff(j) == 1 { b(i.max(j) as f64).sqrt() } else { 0.0 });
    let values = symmetric_eigen(&recurrence).0;
    (0..nodes)
        .map(|k| {
            let start = 0.5 * (values[k] - values[nodes - 1 - k]);
            let (next, slope, _) = polynomials(nodes, start, b);
            let z = start - next / slope;
            (z, polynomials(nodes, z, b).2.recip())
        })
        .collect()
}

/// sqrt(b_n) times the polynomial of degree n at z, the derivative of that, and the sum of the squares of the polynomials below n.
fn polynomials(n: usize, z: f64, b: &dyn Fn(f64) -> f64) -> (f64, f64, f64) {
    let (mut before, mut own, mut sum) = ((0.0, 0.0), (1.0, 0.0), 0.0);
    for j in 0..n {
        sum += own.0 * own.0;
        let (last, next) = (if j == 0 { 0.0 } else { b(j as f64).sqrt() }, if j + 1 == n { 1.0 } else { b((j + 1) as f64).sqrt() });
        let value = (z * own.0 - last * before.0) / next;
        let slope = (own.0 + z * own.1 - last * before.1) / next;
        (before, own) = (own, (value, slope));
    }
    (own.0, own.1, sum)
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

    /// At their widest, against the rule of 256 nodes.
    #[test]
    fn narrow_variables_need_few_nodes() {
        let exact = doubling_rules().last().unwrap();
        let share = |eta: f64| 1.0 / (1.0 + (-eta).exp());
        for sd in [0.1, 0.2, 0.33, 0.46, 0.57, 0.73] {
            for mean in (-40..=40).map(|k| 0.2 * f64::from(k)) {
                let expected = |rule: &[(f64, f64)], f: &dyn Fn(f64) -> f64| rule.iter().map(|(z, v)| v * f(mean + sd * z)).sum::<f64>();
                let value = |eta: f64| eta.max(0.0) + (-eta.abs()).exp().ln_1p();
                let curvature = |eta: f64| share(eta) * share(-eta);
                for (f, error) in [(&value as &dyn Fn(f64) -> f64, 1e-11), (&share, 3e-11), (&curvature, 1e-10)] {
                    let (own, best) = (expected(&scale_free_rule(sd), f), expected(exact, f));
                    assert!((own - best).abs() < error, "{sd} {mean}: {own} and {best}");
                }
            }
        }
        assert!(scale_free_rule(0.2).len() < scale_free_rule(0.201).len());
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

    #[test]
    fn means_over_intervals_and_over_whole_numbers_are_exact() {
        let mean = |f: &dyn Fn(f64) -> f64| interval_rule().iter().map(|(x, v)| v * f(2.0 + 3.0 * x)).sum::<f64>();
        assert!((mean(&|x| x.powi(31)) / ((3.5f64.powi(32) - 0.5f64.powi(32)) / 96.0) - 1.0).abs() < 1e-13);
        for power in [0, 1, 3, 4, 5, 9, 16] {
            let count = 1u64 << power;
            let sum = |f: &dyn Fn(f64) -> f64| {
                let at = |x: f64| 7.0 - 0.5 + (0.5 + x) * count as f64;
                count as f64 * sum_rule(power).iter().map(|(x, v)| v * f(at(*x))).sum::<f64>()
            };
            let scale = (7 + count) as f64;
            for f in [&|x: f64| (x / scale).powi(23), &|x: f64| (-x / scale).exp()] as [&dyn Fn(f64) -> f64; 2] {
                let exact: f64 = (7..7 + count).map(|k| f(k as f64)).sum();
                assert!((sum(f) / exact - 1.0).abs() < 1e-12, "{power}: {} {exact}", sum(f));
            }
        }
    }
}
