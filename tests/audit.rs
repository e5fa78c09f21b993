//! Who taught whom, against E-steps with rows taken away or added, and against the posterior means themselves.

use cognate::audit::Audit;
use cognate::{
    Binomial, CorrelatedGaussian, DescriptorValues, Descriptors, Design, Exchangeable, Factor, Family, FeatureCovariance, Fit, Full,
    Gaussian, Generalised, Graph, Independent, Inference, Intervals, Kernel, KernelShape, Known, KnownRelation, Model, Noise, Normal,
    Observations, Poisson, Pooled, Posterior, Quadratic, Quadratics, Robust, Rows, Structure, Summaries,
};
use nalgebra::{DMatrix, DVector};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

fn normal(random: &mut ChaCha8Rng) -> f64 {
    (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0
}

/// The parameters of a task, and the source of its rows.
fn parameters(task: usize, seed: u64) -> (Vec<f64>, ChaCha8Rng) {
    let mut random = ChaCha8Rng::seed_from_u64(seed * 100 + task as u64);
    ((0..3).map(|k| k as f64 + (1.0 + (task % 2) as f64) * 0.7 * normal(&mut random)).collect(), random)
}

/// Ragged weighted rows of seven tasks on two features, in an order of the tasks.
fn rows_in(order: &[usize], seed: u64) -> Rows {
    let mut rows = Rows::new("y", &["a", "b"]);
    for t in order {
        let (w, mut random) = parameters(*t, seed);
        for i in 0..5 + 3 * t {
            let x = [3.0 + normal(&mut random), 2.0 * normal(&mut random)];
            let y = 40.0 + w[0] + w[1] * x[0] + w[2] * x[1] + 0.8 * normal(&mut random);
            rows.push(&format!("t{t}"), &x, y, 1.0 + (i % 2) as f64).unwrap();
        }
    }
    rows
}

fn rows() -> Rows {
    rows_in(&[0, 1, 2, 3, 4, 5, 6], 1)
}

type Make = Box<dyn Fn() -> Box<dyn Structure>>;

/// Every way in which tasks are tied, with engines of their own.
fn structures() -> Vec<(&'static str, Make)> {
    const KIND: FeatureCovariance = FeatureCovariance::Diagonal;
    let chain = || KnownRelation::Graph((0..6).map(|t| (format!("t{t}"), format!("t{}", t + 1), 1.0)).collect());
    let told = || {
        let slopes = DescriptorValues::Numbers((0..7).map(|t| parameters(t, 1).0[1]).collect());
        Descriptors::new((0..7).map(|t| format!("t{t}")).collect(), vec![("slope".into(), slopes)]).unwrap()
    };
    vec![
        ("exchangeable", Box::new(|| Box::new(Exchangeable::new(KIND)))),
        ("full covariance", Box::new(|| Box::new(Exchangeable::new(FeatureCovariance::Full)))),
        ("known", Box::new(move || Box::new(Known::new(KIND, chain())))),
        ("factor", Box::new(|| Box::new(Factor::new(1, KIND)))),
        ("graph", Box::new(|| Box::new(Graph::new(KIND)))),
        ("full", Box::new(|| Box::new(Full::new(KIND)))),
        ("robust", Box::new(|| Box::new(Robust::new(Box::new(Exchangeable::new(KIND))).unwrap()))),
        // Factors that are known: a descriptor that tells a slope.
        ("linear kernel", Box::new(move || Box::new(Kernel::new(KIND, KernelShape::Linear, told())))),
        ("pooled", Box::new(|| Box::new(Pooled { task_intercepts: false }))),
        ("pooled-intercepts", Box::new(|| Box::new(Pooled { task_intercepts: true }))),
        ("independent", Box::new(|| Box::new(Independent::default()))),
    ]
}

fn fit_of(rows: &Rows, structure: Box<dyn Structure>) -> Fit {
    let tasks = rows.tasks(&Design::varying(rows.features()));
    Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn).fit(&tasks).unwrap()
}

fn fits() -> Vec<(&'static str, Fit)> {
    structures().into_iter().map(|(name, make)| (name, fit_of(&rows(), make()))).collect()
}

/// What the rows of a Gaussian fit say, in fitted coordinates.
fn said(fit: &Fit) -> Vec<Quadratic> {
    let all = Gaussian::default().quadratics(&Observations::new(fit.tasks(), fit.coordinates()), fit.dispersion());
    (0..all.len()).map(|t| all.task(t)).collect()
}

/// Parameters and covariance of a task by an E-step, in the table's units.
fn by_an_e_step(fit: &Fit, all: &[Quadratic], task: usize) -> (DVector<f64>, DMatrix<f64>) {
    let quadratics = Quadratics::new(all).unwrap();
    let posterior = Posterior::given(&quadratics, fit.prior()).unwrap();
    let map = fit.coordinates().to_original();
    (fit.coordinates().parameters(&posterior.coefficients(task)), &map * posterior.covariance(task) * map.transpose())
}

/// Relative to the largest.
fn hardly_differ(a: &DMatrix<f64>, b: &DMatrix<f64>, tolerance: f64) -> bool {
    (a - b).amax() <= tolerance * b.amax()
}

#[test]
fn weights_add_up_to_the_parameters() {
    for (name, fit) in fits() {
        let audit = Audit::of(&fit).unwrap();
        for t in 0..7 {
            let w = (0..7).fold(DVector::zeros(3), |sum, s| sum + audit.weights(t, s).unwrap() * audit.estimate(s).unwrap());
            let donors = audit.donors(t).unwrap();
            let all = donors.own + donors.donors.iter().map(|donor| donor.weight).sum::<f64>() + donors.prior;
            assert!((all - 1.0).abs() < 1e-12, "{name}: {all}");
            for donor in &donors.donors {
                let weights = audit.weights(t, donor.number).unwrap();
                assert!((weights.trace() / 3.0 - donor.weight).abs() < 1e-9, "{name}");
            }
            assert!((w - fit.coefficients(t)).amax() < 1e-8, "{name}, task {t}");
            // Slopes of independent tasks have the prior mean 0.
            if name == "independent" {
                assert!(donors.donors.is_empty() && donors.effective_donors == 0.0 && donors.prior > 0.0, "{donors:?}");
            } else {
                assert_eq!(donors.prior, 0.0, "{name}");
            }
        }
    }
}

/// Pooled tasks teach by their information, exchangeable ones through the mean, related ones also beside it.
#[test]
fn donors_are_what_they_should_be() {
    for (name, fit) in fits() {
        let audit = Audit::of(&fit).unwrap();
        let donors = audit.donors(2).unwrap();
        let direct = donors.donors.iter().any(|donor| donor.direct != 0.0);
        match name {
            "pooled" => {
                let said = said(&fit);
                let total = said.iter().fold(DMatrix::zeros(3, 3), |sum, own| sum + &own.curvature).try_inverse().unwrap();
                let share = |t: usize| (&total * &said[t].curvature).trace() / 3.0;
                assert!((donors.own - share(2)).abs() < 1e-12 && (donors.mean - 1.0).abs() < 1e-12);
                donors.donors.iter().for_each(|donor| assert!((donor.weight - share(donor.number)).abs() < 1e-12));
                assert!(donors.donors.windows(2).all(|pair| pair[0].weight >= pair[1].weight));
            }
            "pooled-intercepts" => assert!((donors.mean - 2.0 / 3.0).abs() < 1e-12 && !direct),
            "exchangeable" | "full covariance" | "robust" => assert!(!direct && donors.effective_donors > 2.0 && donors.donors.len() == 6),
            // The neighbours of t2 in the chain.
            "known" => assert!(
                donors.donors.iter().all(|donor| (donor.direct > 0.01) == [1, 3].contains(&donor.number) || donor.direct.abs() < 0.2)
            ),
            "full" | "linear kernel" => assert!(direct, "{name}"),
            _ => {}
        }
    }
}

/// What is missing to 1 is the prior's where tasks vary about 0, and nothing is missing from the parameters.
#[test]
fn a_mean_of_zero_has_a_weight() {
    for (name, make) in structures().into_iter().take(3) {
        let tasks = rows().tasks(&Design::varying(&["a", "b"]));
        let model = Model::of(Box::new(Gaussian::default()), make()).zero_mean(true).intervals(Intervals::PlugIn);
        let fit = model.fit(&tasks).unwrap();
        let (audit, all) = (Audit::of(&fit).unwrap(), said(&fit));
        for t in 0..7 {
            let donors = audit.donors(t).unwrap();
            let sum = donors.own + donors.donors.iter().map(|donor| donor.weight).sum::<f64>();
            assert!(donors.prior > 0.0 && (sum + donors.prior - 1.0).abs() < 1e-12 && donors.mean == 0.0, "{name}: {donors:?}");
            let w = (0..7).fold(DVector::zeros(3), |sum, s| sum + audit.weights(t, s).unwrap() * audit.estimate(s).unwrap());
            assert!((w - fit.coefficients(t)).amax() < 1e-8, "{name}, task {t}");
            let parts = audit.explain(t, &[1.0, 2.0]).unwrap();
            assert!((parts.own + parts.neighbours - parts.prediction).abs() < 1e-9 && parts.mean == 0.0 && parts.mean_weights.is_empty());
            let mut rest = all.clone();
            (rest[1].linear, rest[1].curvature) = (DVector::zeros(3), DMatrix::zeros(3, 3));
            let (mean, covariance) = by_an_e_step(&fit, &rest, t);
            let without = audit.without(t, 1).unwrap();
            assert!((without.0 - &mean).amax() < 1e-9 * (1.0 + mean.amax()) && hardly_differ(&without.1, &covariance, 1e-9), "{name}");
        }
    }
}

#[test]
fn exchangeable_scalars_have_closed_forms() {
    // One parameter a task, so that own shares are k / (k + v) and the mean weighs by 1 / (k + v).
    let mut summaries = Summaries::new(&["effect"]);
    let variances = [0.2, 0.5, 1.0, 2.0, 0.1];
    for (t, v) in variances.iter().enumerate() {
        summaries.push(&format!("t{t}"), &[Some([1.0, 3.0, -2.0, 5.0, 0.5][t])], &DMatrix::from_element(1, 1, *v)).unwrap();
    }
    let model = Model::new(Gaussian { noise: Noise::Known }, Exchangeable::new(FeatureCovariance::Diagonal));
    let fit = model.intervals(Intervals::PlugIn).fit(&summaries.tasks()).unwrap();
    let k = fit.feature_covariance().1[(0, 0)];
    let audit = Audit::of(&fit).unwrap();
    let total: f64 = variances.iter().map(|v| 1.0 / (k + v)).sum();
    for (t, v) in variances.iter().enumerate() {
        let (own, in_mean) = (k / (k + v), |s: usize| 1.0 / (k + variances[s]) / total);
        let donors = audit.donors(t).unwrap();
        assert!((donors.own - (own + (1.0 - own) * in_mean(t))).abs() < 1e-9 && (donors.mean - (1.0 - own)).abs() < 1e-9);
        donors.donors.iter().for_each(|donor| assert!((donor.weight - (1.0 - own) * in_mean(donor.number)).abs() < 1e-9));
        let parts = audit.explain(t, &[1.0]).unwrap();
        assert!((parts.mean_weights.iter().find(|part| part.task == format!("t{t}")).unwrap().value - in_mean(t)).abs() < 1e-9);
        assert!((parts.own - own * (audit.estimate(t).unwrap()[0] - parts.mean)).abs() < 1e-9);
    }
    assert!(audit.value(0, 1, 1.0).unwrap_err().to_string().contains("estimates from elsewhere"));
    assert!(audit.explain_average(0).unwrap().is_none());
}

#[test]
fn without_a_task_is_an_e_step_without_its_rows() {
    for (name, fit) in fits() {
        let (audit, all) = (Audit::of(&fit).unwrap(), said(&fit));
        for (t, s) in [(0, 1), (0, 6), (3, 3), (5, 0), (6, 5)] {
            let free = name == "independent" || name == "pooled-intercepts";
            if free && s == t {
                assert!(audit.without(t, s).unwrap_err().to_string().contains("not decided"), "{name}");
                continue;
            }
            let mut rest = all.clone();
            // Free coefficients of a task without rows have no posterior, so those of others are asked with next to none.
            let left = if free { 1e-9 } else { 0.0 };
            (rest[s].linear, rest[s].curvature) = (&all[s].linear * left, &all[s].curvature * left);
            let (mean, covariance) = by_an_e_step(&fit, &rest, t);
            let (own_mean, own_covariance) = audit.without(t, s).unwrap();
            let tolerance = if free { 1e-7 } else { 1e-9 };
            assert!((&own_mean - &mean).amax() < tolerance * (1.0 + mean.amax()), "{name} {t} {s}: {own_mean} {mean}");
            assert!(hardly_differ(&own_covariance, &covariance, tolerance), "{name} {t} {s}");
        }
    }
}

#[test]
fn more_rows_are_worth_what_an_e_step_with_them_says() {
    for (name, fit) in fits() {
        let (audit, all) = (Audit::of(&fit).unwrap(), said(&fit));
        let variance = |all: &[Quadratic], t: usize| {
            let covariance = by_an_e_step(&fit, all, t).1;
            let own: Vec<(DVector<f64>, f64)> = (0..rows().len())
                .filter(|i| rows().task(*i) == t)
                .map(|i| (DVector::from_vec(vec![1.0, rows().x(i)[0], rows().x(i)[1]]), rows().weight(i)))
                .collect();
            let weight: f64 = own.iter().map(|(_, weight)| weight).sum();
            own.iter().map(|(x, own)| own * x.dot(&(&covariance * x))).sum::<f64>() / weight
        };
        let with = |s: usize, count: f64| {
            let mut more = all.clone();
            let factor = 1.0 + count / fit.tasks().statistics(s).rows() as f64;
            (more[s].linear, more[s].curvature) = (&all[s].linear * factor, &all[s].curvature * factor);
            more
        };
        let before: Vec<f64> = (0..7).map(|t| variance(&all, t)).collect();
        for (t, s, count) in [(0, 0, 1.0), (0, 6, 10.0), (4, 2, 3.0)] {
            let value = audit.value(t, s, count).unwrap();
            let reduction = before[t] - variance(&with(s, count), t);
            assert!((value.variance - before[t]).abs() < 1e-9 * before[t], "{name}: {} {}", value.variance, before[t]);
            assert!((value.reduction - reduction).abs() < 1e-9 * before[t], "{name} {t} {s}: {} {reduction}", value.reduction);
        }
        let allocation = audit.allocation(4.0).unwrap();
        assert!((allocation.variance - before.iter().sum::<f64>() / 7.0).abs() < 1e-9 * allocation.variance, "{name}");
        assert!(allocation.tasks.windows(2).all(|pair| pair[0].total() >= pair[1].total()));
        for gain in &allocation.tasks {
            let each: Vec<f64> = (0..7).map(|t| audit.value(t, gain.number, 4.0).unwrap().reduction / 7.0).collect();
            assert!((gain.own - each[gain.number]).abs() < 1e-9 * allocation.variance, "{name}");
            let others = each.iter().sum::<f64>() - each[gain.number];
            assert!((gain.others - others).abs() < 1e-9 * allocation.variance, "{name}: {} {others}", gain.others);
        }
        assert!(audit.value(0, 0, 0.0).is_err() && audit.allocation(f64::NAN).is_err());
    }
}

#[test]
fn parts_add_up_to_the_prediction() {
    for (name, fit) in fits() {
        let audit = Audit::of(&fit).unwrap();
        for t in 0..7 {
            let x = [2.0 + t as f64, -1.0];
            let parts = audit.explain(t, &x).unwrap();
            assert!((parts.prediction - fit.predict(&format!("t{t}"), &x, 0.9).unwrap().mean).abs() < 1e-9, "{name}");
            assert!((parts.mean + parts.own + parts.neighbours - parts.prediction).abs() < 1e-9, "{name}");
            assert!((parts.parts.iter().map(|part| part.value).sum::<f64>() - parts.neighbours).abs() < 1e-12, "{name}");
            let of_mean: f64 = parts.mean_weights.iter().map(|part| part.value).sum();
            assert!((of_mean - if name == "independent" { 0.0 } else { 1.0 }).abs() < 1e-9, "{name}: {of_mean}");
            assert_eq!(parts.parts.is_empty(), parts.neighbours == 0.0, "{name}");
        }
        assert!(audit.explain(0, &[1.0]).is_err());
        assert!(audit.explain_average(0).unwrap().unwrap().prediction.is_finite());
    }
}

#[test]
fn tasks_in_another_order_have_the_same_donors() {
    let order = [4, 2, 6, 0, 5, 1, 3];
    for (name, make) in structures().into_iter().filter(|(name, _)| !["graph", "factor"].contains(name)) {
        let (plain, other) = (fit_of(&rows(), make()), fit_of(&rows_in(&order, 1), make()));
        let (first, second) = (Audit::of(&plain).unwrap(), Audit::of(&other).unwrap());
        let (own, there) = (first.donors(2).unwrap(), second.donors(second.task("t2").unwrap()).unwrap());
        assert!((own.own - there.own).abs() < 1e-4, "{name}: {} {}", own.own, there.own);
        for donor in &own.donors {
            let same = there.donors.iter().find(|same| same.task == donor.task).unwrap();
            assert!((same.weight - donor.weight).abs() < 1e-4, "{name}");
        }
    }
}

/// Counts and labels, at the fitted Gaussian, and groups of tasks with means of their own.
#[test]
fn families_are_asked_at_the_fitted_approximation() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut labels = Rows::new("y", &["x"]);
    let mut counts = labels.clone();
    let mut both = labels.clone();
    for i in 0..240 {
        let (t, x) = (i % 6, normal(&mut random));
        let eta = 0.3 * f64::from(t) - 0.8 + 0.7 * x;
        let label = f64::from(u8::from(random.random::<f64>() < 1.0 / (1.0 + (-eta).exp())));
        let count = (eta.exp() + random.random::<f64>()).floor();
        labels.push(&format!("t{t}"), &[x], label, 1.0).unwrap();
        counts.push(&format!("t{t}"), &[x], count, 1.0).unwrap();
        both.push(&format!("t{t}"), &[x], if t % 2 == 0 { count } else { 5.0 + 3.0 * eta + normal(&mut random) }, 1.0).unwrap();
    }
    (0..6).for_each(|t| both.set_group(&format!("t{t}"), if t % 2 == 0 { "counts" } else { "numbers" }).unwrap());
    let structures: [fn() -> Box<dyn Structure>; 2] =
        [|| Box::new(Exchangeable::new(FeatureCovariance::Diagonal)), || Box::new(Full::new(FeatureCovariance::Diagonal))];
    for make in structures {
        for (rows, kind) in [(&labels, 0), (&counts, 1), (&both, 2)] {
            let groups: [(&str, Arc<dyn Family>); 2] = [("counts", Arc::new(Poisson)), ("numbers", Arc::new(Normal::default()))];
            let likelihood = match kind {
                0 => Generalised::new(Binomial::default()),
                1 => Generalised::new(Poisson).with_inference(Inference::Variational),
                _ => Generalised::by_group(groups),
            };
            let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows.clone()).unwrap();
            let fit = Model::of(Box::new(likelihood), make()).intervals(Intervals::PlugIn).fit(&tasks).unwrap();
            let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows.clone()).unwrap();
            if kind == 1 {
                // The mean of Laplace's approximation is not that of the Gaussian, and the parts still add up.
                let likelihood = Generalised::new(Poisson).with_inference(Inference::Laplace);
                let fit = Model::of(Box::new(likelihood), make()).intervals(Intervals::PlugIn).fit(&tasks).unwrap();
                let parts = Audit::of(&fit).unwrap().explain(3, &[0.4]).unwrap();
                assert!((parts.mean + parts.own + parts.neighbours - parts.prediction).abs() < 1e-9);
            }
            let audit = Audit::of(&fit).unwrap();
            for t in 0..6 {
                let donors = audit.donors(t).unwrap();
                let all = donors.own + donors.donors.iter().map(|donor| donor.weight).sum::<f64>();
                assert!((all - 1.0).abs() < 1e-9, "{all}");
                let w = (0..6).fold(DVector::zeros(2), |sum, s| sum + audit.weights(t, s).unwrap() * audit.estimate(s).unwrap());
                assert!((&w - fit.coefficients(t)).amax() < 1e-6 * (1.0 + w.amax()), "{w} {}", fit.coefficients(t));
                let parts = audit.explain(t, &[0.4]).unwrap();
                assert!((parts.mean + parts.own + parts.neighbours - parts.prediction).abs() < 1e-9);
                assert!((parts.prediction - (w[0] + 0.4 * w[1])).abs() < 1e-6);
            }
            let allocation = audit.allocation(5.0).unwrap();
            assert!(allocation.tasks.iter().all(|gain| gain.own > 0.0 && gain.others >= 0.0));
        }
    }
}

/// Rows that all tasks share, with targets in one unit or each in its own.
#[test]
fn tasks_that_share_rows_have_donors() {
    for own_units in [false, true] {
        let mut random = ChaCha8Rng::seed_from_u64(8);
        let mut rows = Rows::new("y", &["a", "b"]);
        for i in 0..40 {
            let (x, common) = ([normal(&mut random), normal(&mut random)], normal(&mut random));
            for t in 0..4 {
                let y = 3.0 + x[0] + 0.5 * f64::from(t) * x[1] + common + 0.5 * normal(&mut random);
                rows.push_of_unit(&i.to_string(), &format!("t{t}"), &x, y, 1.0).unwrap();
            }
        }
        let design = Design::varying(rows.features());
        let design = if own_units { design.with_own_units() } else { design };
        let tasks = rows.tasks(&design).with_rows(rows.clone()).unwrap();
        let model = Model::new(CorrelatedGaussian::default(), Full::new(FeatureCovariance::Diagonal));
        let fit = model.intervals(Intervals::PlugIn).fit(&tasks).unwrap();
        let audit = Audit::of(&fit).unwrap();
        for t in 0..4 {
            let donors = audit.donors(t).unwrap();
            let all = donors.own + donors.donors.iter().map(|donor| donor.weight).sum::<f64>() + donors.prior;
            assert!((all - 1.0).abs() < 1e-9 && (donors.prior > 0.0) == own_units, "{donors:?}");
            let parts = audit.explain(t, &[0.5, 1.0]).unwrap();
            assert!((parts.mean + parts.own + parts.neighbours - parts.prediction).abs() < 1e-9);
            assert!((parts.prediction - fit.predict(&format!("t{t}"), &[0.5, 1.0], 0.9).unwrap().mean).abs() < 1e-9);
            if !own_units {
                let w = (0..4).fold(DVector::zeros(3), |sum, s| sum + audit.weights(t, s).unwrap() * audit.estimate(s).unwrap());
                assert!((w - fit.coefficients(t)).amax() < 1e-8);
            }
            assert!(audit.value(t, 0, 5.0).unwrap().reduction > 0.0);
        }
        assert!(audit.without(0, 1).unwrap_err().to_string().contains("share rows"));
    }
}

/// A task without rows is taught all it is, and its first rows are worth most.
#[test]
fn a_task_without_rows_is_taught_everything() {
    let (rows, design) = (rows(), Design::varying(&["a", "b"]));
    let structures: [fn() -> Box<dyn Structure>; 2] =
        [|| Box::new(Exchangeable::new(FeatureCovariance::Diagonal)), || Box::new(Full::new(FeatureCovariance::Diagonal))];
    for make in structures {
        let tasks = rows.tasks(&design).without(&rows.tasks_of(&design, |i| rows.task(i) == 4)).unwrap();
        let fit = Model::of(Box::new(Gaussian::default()), make()).intervals(Intervals::PlugIn).fit(&tasks).unwrap();
        let audit = Audit::of(&fit).unwrap();
        let donors = audit.donors(4).unwrap();
        let sum = donors.donors.iter().map(|donor| donor.weight).sum::<f64>();
        assert!(donors.own == 0.0 && donors.rows == 0 && (sum - 1.0).abs() < 1e-9, "{donors:?}");
        assert!(audit.donors(0).unwrap().donors.iter().all(|donor| donor.task != "t4"));
        let (value, allocation) = (audit.value(4, 4, 5.0).unwrap(), audit.allocation(5.0).unwrap());
        assert!(value.reduction > 0.5 * value.variance && allocation.tasks[0].task == "t4", "{value:?}");
        assert!(audit.estimate(4).is_none() && audit.explain_average(4).unwrap().is_none());
        let lesson = audit.lesson(4, 5.0).unwrap();
        assert!(lesson.sd.is_none() && lesson.itself.reduction == Some(value.reduction));
        let (without, covariance) = audit.without(4, 4).unwrap();
        assert!((without - fit.coefficients(4)).amax() < 1e-9 && hardly_differ(&covariance, &fit.covariance(4), 1e-9));
    }
}

/// With targets missing nobody knows which said what, and the weights still add to 1.
#[test]
fn tasks_that_share_some_rows_have_donors() {
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let mut rows = Rows::new("y", &["a"]);
    for i in 0..40 {
        let (x, common) = (normal(&mut random), normal(&mut random));
        for t in (0..3).filter(|t| (i + t) % 5 > 0) {
            let y = 3.0 + (1.0 + 0.5 * t as f64) * x + common + 0.5 * normal(&mut random);
            rows.push_of_unit(&i.to_string(), &format!("t{t}"), &[x], y, 1.0).unwrap();
        }
    }
    let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows.clone()).unwrap();
    let model = Model::new(CorrelatedGaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal));
    let fit = model.intervals(Intervals::PlugIn).fit(&tasks).unwrap();
    let audit = Audit::of(&fit).unwrap();
    for t in 0..3 {
        let donors = audit.donors(t).unwrap();
        let all = donors.own + donors.donors.iter().map(|donor| donor.weight).sum::<f64>();
        assert!((all - 1.0).abs() < 1e-9, "{donors:?}");
        assert!(audit.explain(t, &[0.5]).unwrap_err().to_string().contains("share some of their rows"));
        let lesson = audit.lesson(t, 5.0).unwrap();
        assert!(lesson.prediction.is_none() && lesson.itself.prediction_without.is_none() && lesson.itself.reduction > Some(0.0));
    }
}

/// Tasks related in the directions of some features only, and along a known graph, with factors or with any covariance.
#[test]
fn graph_features_have_donors() {
    let chain = || KnownRelation::Graph((0..6).map(|t| (format!("t{t}"), format!("t{}", t + 1), 1.0)).collect());
    let structures: [Box<dyn Structure>; 3] = [
        Box::new(Known::new(FeatureCovariance::Diagonal, chain())),
        Box::new(Factor::new(1, FeatureCovariance::Diagonal)),
        Box::new(Full::new(FeatureCovariance::Diagonal)),
    ];
    for structure in structures {
        let design = Design::varying(&["a", "b"]).with_graph_features(|name| name != "(Intercept)");
        let fit = Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn).fit(&rows().tasks(&design)).unwrap();
        let (audit, all) = (Audit::of(&fit).unwrap(), said(&fit));
        for t in 0..7 {
            let w = (0..7).fold(DVector::zeros(3), |sum, s| sum + audit.weights(t, s).unwrap() * audit.estimate(s).unwrap());
            assert!((w - fit.coefficients(t)).amax() < 1e-8, "{}", fit.structure());
            let parts = audit.explain(t, &[2.0, 1.0]).unwrap();
            assert!((parts.mean + parts.own + parts.neighbours - parts.prediction).abs() < 1e-9);
            let mut rest = all.clone();
            (rest[3].linear, rest[3].curvature) = (DVector::zeros(3), DMatrix::zeros(3, 3));
            let (mean, covariance) = by_an_e_step(&fit, &rest, t);
            let (own_mean, own_covariance) = audit.without(t, 3).unwrap();
            assert!((&own_mean - &mean).amax() < 1e-9 * (1.0 + mean.amax()) && hardly_differ(&own_covariance, &covariance, 1e-9));
        }
    }
}

/// Numbers that do not depend on how a task is asked: one at a time, all at once, or as a whole.
#[test]
fn the_overview_and_the_lesson_say_the_same() {
    for (name, fit) in fits() {
        let audit = Audit::of(&fit).unwrap();
        let (overview, few) = (audit.overview(7, 4.0).unwrap(), audit.overview(2, 4.0).unwrap());
        assert!(overview.tasks.windows(2).all(|pair| pair[0].own <= pair[1].own), "{name}");
        assert_eq!((few.tasks.len(), &few.tasks[0].task, few.count), (2, &overview.tasks[0].task, 7), "{name}");
        for summary in &overview.tasks {
            let t = audit.task(&summary.task).unwrap();
            let (donors, lesson) = (audit.donors(t).unwrap(), audit.lesson(t, 4.0).unwrap());
            assert!((donors.own - summary.own).abs() < 1e-12 && (lesson.own - summary.own).abs() < 1e-12, "{name}");
            assert_eq!(summary.strongest_donor, donors.donors.first().map(|donor| donor.task.clone()), "{name}");
            let x = lesson.prediction.as_ref().unwrap();
            let mean: Vec<f64> = (0..2)
                .map(|k| {
                    let own: Vec<(f64, f64)> =
                        (0..rows().len()).filter(|i| rows().task(*i) == t).map(|i| (rows().x(i)[k], rows().weight(i))).collect();
                    own.iter().map(|(x, weight)| x * weight).sum::<f64>() / own.iter().map(|(_, weight)| weight).sum::<f64>()
                })
                .collect();
            let row = DVector::from_vec(vec![1.0, mean[0], mean[1]]);
            assert!((x.prediction - row.dot(&fit.coefficients(t))).abs() < 1e-9, "{name}");
            assert!((lesson.sd.unwrap().powi(2) - row.dot(&(fit.covariance(t) * &row))).abs() < 1e-9, "{name}");
            for given in lesson.donors.iter().chain([&lesson.itself]) {
                let s = audit.task(&given.task).unwrap();
                assert!((given.by_itself.unwrap() - row.dot(&audit.estimate(s).unwrap())).abs() < 1e-9, "{name}");
                assert!((given.reduction.unwrap() - audit.value(t, s, 4.0).unwrap().reduction).abs() < 1e-12, "{name}");
                match audit.without(t, s) {
                    Ok((w, covariance)) => {
                        assert!((given.prediction_without.unwrap() - row.dot(&w)).abs() < 1e-8, "{name}");
                        assert!((given.sd_without.unwrap().powi(2) - row.dot(&(covariance * &row))).abs() < 1e-8, "{name}");
                    }
                    Err(_) => assert!(given.prediction_without.is_none() && s == t, "{name}"),
                }
            }
        }
        assert!(audit.task("t9").unwrap_err().to_string().contains("did you mean"), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the rows, weights add to 1 and parts to the prediction.
    #[test]
    fn everything_adds_up(seed in 0u64..1000, kind in 0usize..11, a in -3.0..3.0, b in -3.0..3.0) {
        let (name, make) = structures().swap_remove(kind);
        let fit = fit_of(&rows_in(&[0, 1, 2, 3, 4, 5, 6], seed), make());
        let audit = Audit::of(&fit).unwrap();
        for t in 0..7 {
            let donors = audit.donors(t).unwrap();
            let all = donors.own + donors.donors.iter().map(|donor| donor.weight).sum::<f64>() + donors.prior;
            prop_assert!((all - 1.0).abs() < 1e-9, "{name}: {all}");
            let parts = audit.explain(t, &[a, b]).unwrap();
            let sum = parts.mean + parts.own + parts.parts.iter().map(|part| part.value).sum::<f64>();
            prop_assert!((sum - parts.prediction).abs() < 1e-8 * (1.0 + sum.abs()), "{name}: {sum} {}", parts.prediction);
        }
    }
}
