//! The engine of factors against the dense one, which knows of Sigma alone.

use super::*;
use crate::posterior::Posterior;
use crate::prior::Groups;
use crate::quadratic::Quadratic;
use nalgebra::dvector;
use pulp::{Scalar, WithSimd};
use rand::SeedableRng;

const TASKS: usize = 6;

fn uneven(i: usize) -> f64 {
    ((i * 37 + i * i * 11) % 97) as f64 / 48.0 - 1.0
}

/// Six tasks of four features, one without rows and one with fewer rows than features.
fn quadratics() -> Quadratics {
    let task = |t: usize| {
        let rows = [7, 0, 2, 9, 12, 5][t];
        let design = DMatrix::from_fn(rows, 4, |i, j| uneven(t * 31 + i * 7 + j * 3));
        let linear = design.tr_mul(&DVector::from_fn(rows, |i, _| 2.0 * uneven(t * 13 + i * 5)));
        Quadratic { constant: 0.1 * t as f64, linear, curvature: design.tr_mul(&design) * 1.5 }
    };
    Quadratics::new(&(0..TASKS).map(task).collect::<Vec<_>>()).unwrap()
}

/// However many factors, one task without any; however the mean is treated; K diagonal or not and singular; features that do not vary, that have no
/// mean, that are unrelated; groups.
fn priors() -> Vec<Prior> {
    let mut all = Vec::new();
    for k in [0, 1, 3] {
        let mut loadings = DMatrix::from_fn(TASKS, k, |t, j| 1.2 * uneven(t * 17 + j * 5 + 3));
        loadings.row_mut(3).fill(0.0);
        let relatedness = Relatedness::LowRank { loadings, uniquenesses: DVector::from_fn(TASKS, |t, _| 0.3 + 0.2 * t as f64) };
        let full = DMatrix::from_row_slice(3, 3, &[0.9, 0.0, 0.0, 0.3, 0.7, 0.0, 0.1, -0.2, 1.1]);
        let diagonal = DMatrix::from_diagonal(&dvector![0.8, 0.0, 1.1]);
        for mean in [Mean::Profiled, Mean::Integrated, Mean::Given(dvector![0.3, -0.2, 0.5])] {
            for factor in [&full, &diagonal] {
                let prior = Prior::new(mean.clone(), relatedness.clone(), factor.clone());
                let prior = Prior { mean_features: vec![0, 1, 3], varying: vec![0, 2, 3], ..prior };
                all.push(Prior { mean_precision: DMatrix::identity(3, 3) * 0.2, ..prior.clone() });
                if *factor == diagonal {
                    all.push(Prior { unrelated: vec![3], ..prior.clone() });
                }
                let given = |mean: &Mean| match mean {
                    Mean::Given(values) => Mean::Given(DVector::from_fn(6, |i, _| values[i % 3] + 0.1 * i as f64)),
                    other => other.clone(),
                };
                let groups = Groups::new(vec![0, 1, 1, 0, 1, 0], vec![1.0, 2.5]);
                all.push(Prior { groups, mean: given(&prior.mean), ..prior.clone() });
                all.push(prior);
            }
        }
    }
    all
}

fn as_dense(prior: &Prior) -> Prior {
    Prior { relatedness: Relatedness::Dense(prior.relatedness.covariance(TASKS).unwrap()), ..prior.clone() }
}

fn close(a: &DMatrix<f64>, b: &DMatrix<f64>) -> bool {
    a.shape() == b.shape() && (a.is_empty() || (a - b).amax() < 1e-9 * (1.0 + b.amax()))
}

#[test]
fn every_output_agrees_with_the_dense_engine() {
    let data = quadratics();
    for prior in priors() {
        let (found, dense) = (Posterior::given(&data, &prior).unwrap(), Posterior::given(&data, &as_dense(&prior)).unwrap());
        assert!((found.log_likelihood() - dense.log_likelihood()).abs() < 1e-9, "{} {}", found.log_likelihood(), dense.log_likelihood());
        assert!(close(found.mean_covariance(), dense.mean_covariance()));
        assert!((found.mean_values() - dense.mean_values()).norm() < 1e-9);
        assert!(close(found.whitened_deviations(), dense.whitened_deviations()));
        assert!(close(&found.feature_moment(), &dense.feature_moment()), "{} {}", found.feature_moment(), dense.feature_moment());
        assert!(close(&found.covariance_slope(), &dense.covariance_slope()));
        let (ours, theirs) = (found.related(), dense.related());
        assert!(close(&ours.task_moment(), &theirs.task_moment()));
        let (moments, r) = (ours.factor_moments(), ours.prior().factor.ncols());
        let regressed = FactorMoments::regressed(&prior.relatedness, theirs.task_moment(), r);
        assert!(close(&moments.factors, &regressed.factors) && close(&moments.cross, &regressed.cross));
        assert!((moments.squares - regressed.squares).amax() < 1e-9);
        let (residuals, expected) = (found.residuals(), dense.residuals());
        let root = found.mean_root();
        for t in 0..TASKS {
            assert!((residuals[t] - expected[t]).abs() < 1e-9 * (1.0 + expected[t].abs()), "{} {}", residuals[t], expected[t]);
            assert!((found.coefficients(t) - dense.coefficients(t)).amax() < 1e-9);
            assert!(close(&found.covariance(t), &dense.covariance(t)) && close(&found.deviation(t).1, &dense.deviation(t).1));
            assert!(close(&found.both_covariances(t, &root).0, &dense.both_covariances(t, &dense.mean_root()).0));
            for s in 0..TASKS {
                assert!(close(&found.moment_covariance_between(s, t), &dense.moment_covariance_between(s, t)));
            }
        }
        for (own, other) in found.scale_slopes().iter().zip(dense.scale_slopes()) {
            assert!((own.0 - other.0).abs() < 1e-9 && (own.1 - other.1).abs() < 1e-9);
        }
    }
}

#[test]
fn tasks_side_by_side_have_the_sums_of_tasks_one_by_one() {
    let data = quadratics();
    let near = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-10 * (1.0 + b.abs()));
    for prior in priors().into_iter().filter(|prior| prior.unrelated.is_empty() && !prior.groups.are_several()) {
        let Relatedness::LowRank { loadings, uniquenesses } = &prior.relatedness else { unreachable!() };
        let scales: Vec<f64> = uniquenesses.iter().map(|own| own.sqrt()).collect();
        let (design, loadings) = (Design::new(&data, &prior, Some(&scales)), loadings.transpose());
        let given = Given { design: &design, loadings: &loadings };
        let side = || FirstPass { given: &given, range: 0..TASKS };
        let expected = passes::first_pass(&given, 0..TASKS);
        let firsts = || [Arch::new().dispatch(side()), side().with_simd(Scalar::new())];
        for first in firsts() {
            assert!(near(&first.curvatures, &expected.curvatures) && near(&first.linears, &expected.linears));
            assert!((first.log_determinant - expected.log_determinant).abs() < 1e-11 && first.defined);
        }
        let (k, r, m) = (loadings.nrows(), prior.factor.ncols(), prior.mean_features.len());
        let spread = |n: usize| {
            let root = DMatrix::from_fn(n, n, |i, j| 0.4 * uneven(i * 7 + j * 3));
            &root * root.transpose()
        };
        let (inverse, of_mean) = (spread(k * r), spread(m));
        let answer = DMatrix::from_fn(k * r, m, |i, j| 0.3 * uneven(i * 5 + j * 11));
        let scores = DMatrix::from_fn(r, k, |i, j| uneven(i * 3 + j * 19));
        for of_mean in [None, Some(&of_mean)] {
            let joint = Joint { inverse: &inverse, answer: &answer, of_mean };
            let known = joint.known(&prior, &DVector::from_fn(4, |i, _| uneven(i)), scores.clone());
            let constants = Constants::of(&known);
            let expected = passes::second_pass(&given, &known, 0..TASKS);
            for (number, first) in firsts().into_iter().enumerate() {
                let kept = first.kept.unwrap();
                let pass = SecondPass { given: &given, known: &known, constants: &constants, kept, range: 0..TASKS };
                let second = if number == 0 { Arch::new().dispatch(pass) } else { pass.with_simd(Scalar::new()) };
                assert!((second.log_likelihood - expected.log_likelihood).abs() < 1e-9);
                assert!(near(&second.deviations, &expected.deviations) && near(&second.residuals, &expected.residuals));
                assert!(near(&second.cross, &expected.cross) && near(&second.squares, &expected.squares));
                assert!(near(&second.information, &expected.information) && near(&second.scores, &expected.scores));
                assert!(near(&second.within, &expected.within));
            }
        }
    }
}

/// The feature moment is I + 2/T L'GL, and the M-step's moments are those of the limit, where a task has nothing for itself.
#[test]
fn a_task_with_nothing_for_itself_is_the_limit_of_one_with_next_to_nothing() {
    let data = quadratics();
    for prior in priors() {
        let at = |own: f64| {
            let Relatedness::LowRank { loadings, mut uniquenesses } = prior.relatedness.clone() else { unreachable!() };
            (uniquenesses[0], uniquenesses[4]) = (own, own);
            Posterior::given(&data, &Prior { relatedness: Relatedness::LowRank { loadings, uniquenesses }, ..prior.clone() }).unwrap()
        };
        let (zero, near) = (at(0.0), at(1e-9));
        assert!((zero.log_likelihood() - near.log_likelihood()).abs() < 1e-6);
        let factor = &prior.factor;
        let moment = DMatrix::identity(factor.ncols(), factor.ncols())
            + factor.transpose() * zero.covariance_slope() * factor * (2.0 / TASKS as f64);
        if prior.unrelated.is_empty() {
            assert!(close(&zero.feature_moment(), &moment));
        }
        let (own, other) = (zero.related().factor_moments(), near.related().factor_moments());
        let size = own.squares.amax();
        assert!((own.squares - other.squares).amax() < 1e-6 * size && (own.factors - other.factors).norm() < 1e-6 * size);
    }
}

#[test]
fn draws_have_the_covariance_of_the_posterior() {
    const DRAWS: usize = 15_000;
    let data = quadratics();
    for prior in priors().into_iter().skip(27).step_by(5) {
        let posterior = Posterior::given(&data, &prior).unwrap();
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        let tasks = [0, 4];
        let mut products = DMatrix::<f64>::zeros(4, 4);
        for _ in 0..DRAWS {
            let draw = posterior.sample(&mut random).unwrap();
            let [a, b] = tasks.map(|t| draw.row(t).transpose() - posterior.coefficients(t));
            products += a * b.transpose() / DRAWS as f64;
        }
        if prior.groups.are_several() {
            continue;
        }
        let mut expected = posterior.moment_covariance_between(tasks[0], tasks[1]);
        if matches!(prior.mean, Mean::Profiled) {
            let with = Prior { mean: Mean::Integrated, ..prior.clone() };
            expected = Posterior::given(&data, &with).unwrap().moment_covariance_between(tasks[0], tasks[1]);
        }
        let [a, b] = tasks.map(|t| posterior.covariance(t).diagonal().amax());
        assert!((products - expected).amax() < 0.05 * (a * b).sqrt());
    }
}

#[test]
fn without_varying_features_there_is_the_mean_alone() {
    let data = quadratics();
    let relatedness =
        Relatedness::LowRank { loadings: DMatrix::from_element(TASKS, 2, 0.5), uniquenesses: DVector::from_element(TASKS, 1.0) };
    let prior = Prior { mean_features: vec![0, 1, 2, 3], ..Prior::new(Mean::Integrated, relatedness, DMatrix::zeros(0, 0)) };
    let found = Posterior::given(&data, &prior).unwrap();
    let expected = Posterior::given(&data, &Prior { relatedness: Relatedness::Zero, ..prior }).unwrap();
    assert!((found.log_likelihood() - expected.log_likelihood()).abs() < 1e-10);
    assert!(close(&found.covariance(3), &expected.covariance(3)));
}

/// Fewer rows than features and next to no noise.
#[test]
fn digits_stay_where_the_noise_is_next_to_nothing() {
    let task = |t: usize| {
        let design = DMatrix::from_fn(5, 16, |i, j| uneven(t * 31 + i * 7 + j * 3 + i * j));
        let target = DVector::from_fn(5, |i, _| 2.0 * uneven(t * 13 + i * 5));
        (design, target)
    };
    for noise in [1e-4, 1e-6, 1e-8] {
        let each = (0..TASKS).map(task).map(|(design, target)| Quadratic {
            constant: -0.5 * target.norm_squared() / noise,
            linear: design.tr_mul(&target) / noise,
            curvature: design.tr_mul(&design) / noise,
        });
        let data = Quadratics::new(&each.collect::<Vec<_>>()).unwrap();
        let loadings = DMatrix::from_fn(TASKS, 2, |t, j| uneven(t * 17 + j * 5 + 3));
        let relatedness = Relatedness::LowRank { loadings, uniquenesses: DVector::from_fn(TASKS, |t, _| 0.3 + 0.2 * t as f64) };
        let prior = Prior::new(Mean::Integrated, relatedness, DMatrix::identity(16, 16));
        let (found, dense) = (Posterior::given(&data, &prior).unwrap(), Posterior::given(&data, &as_dense(&prior)).unwrap());
        assert!(
            (found.log_likelihood() - dense.log_likelihood()).abs() < 1e-3,
            "{noise}: {} {}",
            found.log_likelihood(),
            dense.log_likelihood()
        );
        assert!((found.feature_moment() - dense.feature_moment()).amax() < 1e-3);
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let data = quadratics();
    let with = |loadings: DMatrix<f64>, uniquenesses: DVector<f64>| {
        let prior = Prior::new(Mean::Profiled, Relatedness::LowRank { loadings, uniquenesses }, DMatrix::identity(4, 4));
        Posterior::given(&data, &prior).map(|_| ()).unwrap_err().to_string()
    };
    let negative = DVector::from_fn(TASKS, |t, _| if t == 2 { -0.1 } else { 1.0 });
    assert!(with(DMatrix::zeros(TASKS, 1), negative).contains("not negative"));
    assert!(with(DMatrix::zeros(2, 1), DVector::from_element(TASKS, 1.0)).contains('2'));
    assert!(with(DMatrix::zeros(TASKS, 1), DVector::from_element(3, 1.0)).contains('3'));
}
