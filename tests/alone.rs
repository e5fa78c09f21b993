//! Tasks of families alone, and with nothing but their intercepts of their own: what is compared with sharing.

use cognate::{
    Binomial, Design, Family, Fit, Gamma, Gaussian, Generalised, Independent, Inference, Likelihood, Model, NegativeBinomial, Normal,
    Ordinal, Poisson, Pooled, Relatedness, Rows, Standardise, Structure, StudentT,
};
use std::sync::Arc;

fn uneven(i: usize, k: usize) -> f64 {
    ((i * 37 + k * 101 + i * i * (k + 3)) % 97) as f64 / 48.5 - 1.0
}

/// Six tasks of 20 to 45 rows and two features, the targets made by `target(task, predictor, noise)`.
fn table(target: impl Fn(usize, f64, f64) -> f64) -> Rows {
    let mut rows = Rows::new("y", &["a", "b"]);
    for t in 0..6 {
        for i in 0..20 + 5 * t {
            let x = [uneven(i + 50 * t, 0), 3.0 + uneven(i + 50 * t, 1)];
            let eta = 0.4 * t as f64 - 1.0 + (1.0 - 0.3 * t as f64) * x[0] + 0.2 * (x[1] - 3.0);
            rows.push(&format!("t{t}"), &x, target(t, eta, uneven(i * 7 + t, 2)), 1.0).unwrap();
        }
    }
    rows
}

fn classes() -> Rows {
    table(|_, eta, noise| f64::from(u8::from(eta + 1.5 * noise > -0.3)))
}

fn fit(rows: &Rows, likelihood: Box<dyn Likelihood>, structure: impl Structure + 'static) -> Fit {
    let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows.clone()).unwrap();
    Model::of(likelihood, Box::new(structure)).standardise(Standardise::None).fit(&tasks).unwrap()
}

fn of(family: impl Family + 'static, inference: Inference) -> Box<dyn Likelihood> {
    Box::new(Generalised::new(family).with_inference(inference))
}

type Make = fn() -> Box<dyn Likelihood>;

fn variances(fit: &Fit) -> Vec<f64> {
    match &fit.prior().relatedness {
        Relatedness::Diagonal(variances) => variances.iter().copied().collect(),
        other => panic!("{other:?}"),
    }
}

/// Gaussian targets row by row are those of sums but for the prior of their level, ten standard deviations wide: a hundredth of a row.
#[test]
fn normal_tasks_are_gaussian_ones() {
    let rows = table(|t, eta, noise| eta + (0.5 + 0.1 * t as f64) * noise);
    let exact = fit(&rows, Box::<Gaussian>::default(), Independent::default());
    for inference in [Inference::Variational, Inference::Laplace] {
        let own = fit(&rows, of(Normal::default(), inference), Independent::default());
        assert_eq!(own.log_likelihood_kind(), exact.log_likelihood_kind());
        assert!((own.log_likelihood() - exact.log_likelihood()).abs() < 0.01);
        for t in 0..6 {
            let sd = exact.covariance(t).diagonal().map(f64::sqrt);
            assert!((own.coefficients(t) - exact.coefficients(t)).component_div(&sd).amax() < 2e-3);
            assert!((own.covariance(t) - exact.covariance(t)).amax() < 2e-3 * exact.covariance(t).amax());
            assert!((own.family_dispersion(t)[0].1 / exact.noise_variance(t) - 1.0).abs() < 2e-3);
            let unit = exact.coordinates().target_scale.powi(2);
            assert!((variances(&own)[t] / (variances(&exact)[t] * unit) - 1.0).abs() < 1e-2);
        }
    }
    // Intercepts free and slopes common, the noise with them.
    let exact = fit(&rows, Box::<Gaussian>::default(), Pooled { task_intercepts: true });
    let own = fit(&rows, of(Normal::default(), Inference::Variational), Pooled { task_intercepts: true });
    for t in 0..6 {
        let sd = exact.covariance(t).diagonal().map(f64::sqrt);
        assert!((own.coefficients(t) - exact.coefficients(t)).component_div(&sd).amax() < 2e-2);
    }
}

/// In the table's units, which do not depend on other tasks.
#[test]
fn no_information_crosses_tasks() {
    let counts = table(|_, eta, noise| (eta + 2.0 * noise).exp().floor());
    let cases: [(Rows, Make); 3] = [
        (classes(), || of(Binomial::default(), Inference::Variational)),
        (classes(), || of(Binomial::default(), Inference::Laplace)),
        (counts, || of(NegativeBinomial::default(), Inference::Variational)),
    ];
    for (rows, likelihood) in cases {
        let all = fit(&rows, likelihood(), Independent::default());
        for t in [0, 3] {
            let mut own = Rows::new("y", rows.features());
            (0..rows.len()).filter(|i| rows.task(*i) == t).for_each(|i| own.push("it", rows.x(i), rows.y(i), 1.0).unwrap());
            let alone = fit(&own, likelihood(), Independent::default());
            assert_eq!(variances(&alone)[0], variances(&all)[t]);
            assert_eq!(alone.family_dispersion(0), all.family_dispersion(t));
            assert_eq!(alone.coefficients(0), all.coefficients(t));
            assert_eq!(alone.covariance(0), all.covariance(t));
        }
    }
}

/// The rows of one task with one feature, and what is believed of its level.
struct One {
    rows: Vec<(f64, f64)>,
    centre: f64,
    start: f64,
}

impl One {
    fn of(rows: Vec<(f64, f64)>) -> One {
        let n = rows.len() as f64;
        let centre = rows.iter().map(|(x, _)| x).sum::<f64>() / n;
        let start = rows.iter().map(|(_, y)| if *y > 0.5 { 3f64.ln() } else { -(3f64.ln()) }).sum::<f64>() / n;
        One { rows, centre, start }
    }

    /// Log joint density at the level m of the mean row and the slope b, with its gradient and minus its Hessian.
    fn at(&self, (m, b): (f64, f64), v: f64) -> (f64, [f64; 2], [f64; 3]) {
        let normal = |x: f64, v: f64| -0.5 * (x * x / v + (2.0 * std::f64::consts::PI * v).ln());
        let mut value = normal(m - self.start, 100.0) + normal(b, v);
        let mut slope = [-(m - self.start) / 100.0, -b / v];
        let mut curvature = [0.01, 0.0, 1.0 / v];
        for (x, y) in &self.rows {
            let z = x - self.centre;
            let eta = m + b * z;
            let p = 1.0 / (1.0 + (-eta).exp());
            value += y * eta - (eta.max(0.0) + (-eta.abs()).exp().ln_1p());
            slope[0] += y - p;
            slope[1] += (y - p) * z;
            let c = p * (1.0 - p);
            curvature = [curvature[0] + c, curvature[1] + c * z, curvature[2] + c * z * z];
        }
        (value, slope, curvature)
    }

    /// Laplace's approximation of the evidence, by Newton steps.
    fn laplace(&self, v: f64) -> f64 {
        let (mut m, mut b) = (self.start, 0.0);
        for _ in 0..100 {
            let (_, g, h) = self.at((m, b), v);
            let determinant = h[0] * h[2] - h[1] * h[1];
            m += (h[2] * g[0] - h[1] * g[1]) / determinant;
            b += (h[0] * g[1] - h[1] * g[0]) / determinant;
        }
        let (value, _, h) = self.at((m, b), v);
        value + (2.0 * std::f64::consts::PI).ln() - 0.5 * (h[0] * h[2] - h[1] * h[1]).ln()
    }

    /// The exact one, by equal steps in both directions.
    fn exact(&self, v: f64) -> f64 {
        let step = 0.1;
        let sum: f64 = (-80..80)
            .flat_map(|i| (-60..60).map(move |k| (self.start + step * f64::from(i), step * f64::from(k))))
            .map(|place| (self.at(place, v).0 + 40.0).exp())
            .sum();
        (sum * step * step).ln() - 40.0
    }
}

/// The prior variance of one logistic task with one slope, where Laplace's evidence is highest, and near where the exact one is.
#[test]
fn a_logistic_task_is_tuned_by_its_evidence() {
    let one: Vec<(f64, f64)> =
        (0..60).map(|i| (2.0 + uneven(i, 0), f64::from(u8::from(0.8 * uneven(i, 0) + 1.2 * uneven(i, 1) > 0.2)))).collect();
    let mut rows = Rows::new("y", &["x"]);
    one.iter().for_each(|(x, y)| rows.push("it", &[*x], *y, 1.0).unwrap());
    let one = One::of(one);
    let grid: Vec<f64> = (-60..=60).map(|k| (0.1 * f64::from(k)).exp()).collect();
    let best = |evidence: &dyn Fn(f64) -> f64| grid.iter().map(|v| (evidence(*v), *v)).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();

    let laplace = fit(&rows, of(Binomial::default(), Inference::Laplace), Independent::default());
    let found = variances(&laplace)[0];
    let (highest, at) = best(&|v| one.laplace(v));
    assert!((found / at).ln().abs() < 0.11, "{found} {at}");
    assert!((laplace.trace()[0].log_likelihood - one.laplace(found)).abs() < 1e-7);
    assert!(
        one.laplace(found) >= highest - 1e-9
            && one.laplace(found) > one.laplace(0.95 * found)
            && one.laplace(found) > one.laplace(1.05 * found)
    );

    let own = fit(&rows, of(Binomial::default(), Inference::Variational), Independent::default());
    let found = variances(&own)[0];
    let (_, at) = best(&|v| one.exact(v));
    assert!((found / at).ln().abs() < 0.3, "{found} {at}");
    let short = one.exact(found) - own.trace()[0].log_likelihood;
    assert!((0.0..0.05).contains(&short), "{short}");
    // Reported is what the rows say at the coefficients.
    let w = own.coefficients(0);
    let there: f64 = one.rows.iter().map(|(x, y)| Binomial::default().at(*y, 1.0, w[0] + w[1] * x).value).sum();
    assert!((own.log_likelihood() - there).abs() < 1e-9);
}

/// The slope of pooled intercepts is where the likelihood is highest once each intercept is integrated over the prior of its level.
#[test]
fn pooled_intercepts_integrate_their_intercepts() {
    let all = classes();
    let mut rows = Rows::new("y", &["a"]);
    (0..all.len()).for_each(|i| rows.push(&all.names()[all.task(i)], &all.x(i)[..1], all.y(i), 1.0).unwrap());
    let tasks: Vec<One> =
        (0..6).map(|t| One::of((0..rows.len()).filter(|i| rows.task(*i) == t).map(|i| (rows.x(i)[0], rows.y(i))).collect())).collect();
    // Without a prior of the slope.
    let of_task = |one: &One, b: f64| {
        let constant = 0.5 * (b * b / 1e8 + (2e8 * std::f64::consts::PI).ln());
        let sum: f64 = (-1000..1000).map(|k| (one.at((one.start + 0.02 * f64::from(k), b), 1e8).0 + constant).exp()).sum();
        (0.02 * sum).ln()
    };
    let value = |b: f64| tasks.iter().map(|one| of_task(one, b)).sum::<f64>();
    for inference in [Inference::Variational, Inference::Laplace] {
        let fit = fit(&rows, of(Binomial::default(), inference), Pooled { task_intercepts: true });
        assert!(fit.converged());
        let (b, h) = (fit.mean()[1], 1e-3);
        let (slope, curvature) = ((value(b + h) - value(b - h)) / (2.0 * h), (2.0 * value(b) - value(b + h) - value(b - h)) / (h * h));
        let se = curvature.sqrt().recip();
        // In standard errors: the approximation's share.
        assert!((slope / curvature / se).abs() < 0.05, "{inference:?}: {b} is {} from the best", slope / curvature);
        assert!((fit.mean_covariance()[(1, 1)].sqrt() / se - 1.0).abs() < 0.05, "{inference:?}");
        let bound = fit.trace()[fit.trace().len() - 1].log_likelihood;
        assert!((value(b) - bound).abs() < 0.2, "{inference:?}: {} {bound}", value(b));
    }
}

/// A task of nothing but zeros and one of nothing but ones: finite, wide and named.
#[test]
fn tasks_of_one_class_are_finite_and_wide() {
    let one_class = |y: f64, t: usize| match t {
        1 => 0.0,
        4 => 1.0,
        _ => y,
    };
    let base = classes();
    let mut rows = Rows::new("y", base.features());
    (0..base.len()).for_each(|i| {
        let t = base.task(i);
        rows.push(&base.names()[t], base.x(i), one_class(base.y(i), t), 1.0).unwrap();
    });
    let likelihoods: [Make; 4] = [
        || of(Binomial::default(), Inference::Variational),
        || of(Binomial::default(), Inference::Laplace),
        || of(Poisson, Inference::Variational),
        || of(NegativeBinomial::default(), Inference::Variational),
    ];
    for likelihood in likelihoods {
        let structures: [Box<dyn Structure>; 2] = [Box::new(Independent::default()), Box::new(Pooled { task_intercepts: true })];
        for structure in structures {
            let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows.clone()).unwrap();
            let fit = Model::of(likelihood(), structure).fit(&tasks).unwrap();
            let name = format!("{} {} {:?}", fit.family(), fit.structure(), fit.inference());
            assert!(
                fit.converged() && fit.warnings().iter().all(|warning| !warning.contains("still moves")),
                "{name}: {:?}",
                fit.warnings()
            );
            let warning = fit.warnings().iter().find(|warning| warning.contains("one end")).unwrap();
            assert!(warning.contains("t1"), "{warning}");
            let x = [0.0, 3.0];
            let level = nalgebra::dvector![1.0, x[0], x[1]];
            let sd = level.dot(&(fit.covariance(1) * &level)).sqrt();
            assert!((1.5..15.0).contains(&sd), "{name}: {sd}");
            let (zeros, mixed) = (fit.predict("t1", &x, 0.95).unwrap(), fit.predict("t2", &x, 0.95).unwrap());
            assert!(zeros.mean < 0.1 && zeros.mean > 0.0 && zeros.mean < mixed.mean, "{name}: {zeros:?}");
            assert!(fit.predict("another", &x, 0.95).is_err());
        }
    }
}

/// Every family fits both, predicts and survives its file.
#[test]
fn every_family_has_its_baselines() {
    let cases: Vec<(Arc<dyn Family>, Rows)> = vec![
        (Arc::new(Binomial { link: cognate::Link::Probit }), classes()),
        (Arc::new(Poisson), table(|_, eta, noise| (eta + noise).exp().floor())),
        (Arc::new(NegativeBinomial::default()), table(|_, eta, noise| (eta + 2.0 * noise).exp().floor())),
        (Arc::new(Gamma::default()), table(|_, eta, noise| (eta + noise).exp())),
        (Arc::new(StudentT::default()), table(|_, eta, noise| eta + noise.powi(3))),
        (Arc::new(Ordinal::default()), table(|_, eta, noise| (2.0 + eta + 1.5 * noise).round().clamp(1.0, 4.0))),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (family, rows) in cases {
        let structures: [Box<dyn Structure>; 2] = [Box::new(Independent::default()), Box::new(Pooled { task_intercepts: true })];
        for structure in structures {
            let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows.clone()).unwrap();
            let fit = Model::of(Box::new(Generalised::of(Arc::clone(&family))), structure).fit(&tasks).unwrap();
            let name = format!("{} {}", fit.family(), fit.structure());
            assert!(fit.converged() && fit.log_likelihood().is_finite(), "{name}");
            let blocks = if fit.structure() == "independent" { 6 } else { 1 };
            assert_eq!(fit.dispersion().values.len(), blocks * fit.dispersion().common.len(), "{name}");
            let path = folder.path().join("m.cognate");
            fit.save(&path).unwrap();
            let loaded = Fit::load(&path).unwrap();
            let (a, b) = (fit.predict("t2", rows.x(5), 0.9).unwrap(), loaded.predict("t2", rows.x(5), 0.9).unwrap());
            assert_eq!((a.mean, a.sd), (b.mean, b.sd), "{name}");
            assert!(a.mean.is_finite() && a.sd > 0.0, "{name}");
            let drawn = loaded.sample(400, 3).unwrap();
            let mean = drawn.iter().map(|draw| draw[(2, 1)]).sum::<f64>() / 400.0;
            let sd = fit.covariance(2)[(1, 1)].sqrt();
            assert!((mean - fit.coefficients(2)[1]).abs() < 0.25 * sd + 1e-9, "{name}");
        }
    }
}
