//! Common coefficients whose likeliest values are infinite: finite answers, wide intervals and a warning that names the features.

use cognate::{
    Approximation, Binomial, Coordinates, Design, Exchangeable, FamilyRows, FeatureCovariance, Fit, Full, Generalised, Graph, Inference,
    Mean, Model, Poisson, Pooled, Prior, Relatedness, Rows, Structure,
};

/// Four tasks of 30 rows. `second` is `first` but in two rows, in both of which the target is 1, so that the difference of their coefficients has
/// no finite maximum, while neither alone is separated.
fn separated(with_the_two: bool) -> Rows {
    let mut rows = Rows::new("y", &["x", "first", "second"]);
    for i in 0..120 {
        let (t, k) = (i % 4, i / 4);
        let x = f64::from(i * 7 % 11) / 5.0 - 1.0;
        let first = f64::from(u8::from(k % 5 == 0));
        let special = (t == 0 && k == 6) || (t == 2 && k == 13);
        let y = f64::from(u8::from(special || x + 0.3 * f64::from(t) + f64::from(i * 31 % 17) / 6.0 > 1.6));
        if with_the_two || !special {
            rows.push(&format!("t{t}"), &[x, first, if special { 1.0 } else { first }], y, 1.0).unwrap();
        }
    }
    rows
}

fn fit(rows: Rows, structure: Box<dyn Structure>, inference: Inference) -> Fit {
    let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows).unwrap();
    Model::of(Box::new(Generalised::new(Binomial::default()).with_inference(inference)), structure).fit(&tasks).unwrap()
}

fn warned(fit: &Fit) -> Option<&String> {
    fit.warnings().iter().find(|warning| warning.contains("undecided"))
}

#[test]
fn a_separated_common_mean_is_finite_wide_and_named() {
    let structures: [fn() -> Box<dyn Structure>; 4] = [
        || Box::new(Pooled { task_intercepts: false }),
        || Box::new(Exchangeable::new(FeatureCovariance::Diagonal)),
        || Box::new(Full::new(FeatureCovariance::Diagonal)),
        || Box::new(Graph::new(FeatureCovariance::Diagonal)),
    ];
    for structure in structures {
        for inference in [Inference::Variational, Inference::Laplace] {
            let fit = fit(separated(true), structure(), inference);
            let name = format!("{} {inference:?}", fit.structure());
            assert!(fit.converged(), "{name}");
            assert!(fit.mean().iter().chain(fit.mean_covariance().iter()).all(|value| value.is_finite()), "{name}");
            let (mean, covariance) = (fit.mean(), fit.mean_covariance());
            let effect = mean[3] - mean[2];
            let se = (covariance[(3, 3)] + covariance[(2, 2)] - covariance[(2, 3)] - covariance[(3, 2)]).sqrt();
            assert!((2.0..30.0).contains(&effect) && (2.0..30.0).contains(&se), "{name}: {effect} +- {se}");
            // What the rows decide they decide as ever.
            assert!(covariance[(1, 1)].sqrt() < 1.5, "{name}: {covariance}");
            let warning = warned(&fit).unwrap();
            assert!(warning.contains("first") && warning.contains("second") && !warning.contains("x,"), "{warning}");
            let prediction = fit.predict("t0", &[0.0, 0.0, 1.0], 0.95).unwrap();
            assert!(prediction.mean > 0.5 && prediction.mean < 1.0 && prediction.upper - prediction.lower > 0.1, "{name}: {prediction:?}");
        }
    }
}

/// The two rows alone say anything of the difference, and at its infinite best they say nothing else: the highest log-likelihood is that
/// without them. A normal prior of standard deviation 10 costs the little that it keeps them from being certain.
#[test]
fn the_likelihood_is_all_but_the_limit() {
    let pooled = |rows: Rows| fit(rows, Box::new(Pooled { task_intercepts: false }), Inference::Variational);
    let (whole, without) = (pooled(separated(true)), pooled(separated(false)));
    assert!(without.dropped().contains(&"second".to_string()) && warned(&without).is_none());
    let short = without.log_likelihood() - whole.log_likelihood();
    assert!((0.0..0.15).contains(&short), "{short}");
    // Along the direction (-1, 1) of `first` and `second` both rows move by half of the difference a, which solves sum_i p_i(-) = a / 100.
    let mean = whole.mean();
    let effect = 0.5 * (mean[3] - mean[2]);
    let rows = separated(true);
    let two: Vec<f64> = (0..rows.len())
        .filter(|i| rows.x(*i)[1] != rows.x(*i)[2])
        .map(|i| 1.0 / (1.0 + (mean[0] + mean[1] * rows.x(i)[0] + mean[3]).exp()))
        .collect();
    assert_eq!(two.len(), 2);
    assert!((two.iter().sum::<f64>() / (effect / 100.0) - 1.0).abs() < 0.03, "{two:?} against {effect}");
}

/// Where the rows decide every coefficient, the mean stays flat.
#[test]
fn a_decided_mean_is_flat() {
    let fit = fit(separated(false), Box::new(Exchangeable::new(FeatureCovariance::Diagonal)), Inference::Variational);
    assert!(fit.prior().mean_precision.is_empty() && warned(&fit).is_none());
}

/// Counts that are all 0 wherever a feature is 1, which is in one task only.
#[test]
fn counts_that_are_all_zero_for_a_feature_are_finite() {
    let mut rows = Rows::new("y", &["x", "rare"]);
    for i in 0..120 {
        let (t, x) = (i % 6, f64::from(i * 7 % 11) / 5.0 - 1.0);
        let rare = t == 2 && i % 5 == 0;
        rows.push(&format!("t{t}"), &[x, f64::from(u8::from(rare))], if rare { 0.0 } else { f64::from(i * 13 % 4) }, 1.0).unwrap();
    }
    let design = Design::varying(rows.features()).with_varying(|name| name == "(Intercept)");
    let tasks = rows.tasks(&design).with_rows(rows).unwrap();
    for restricted in [false, true] {
        let model = Model::new(Generalised::new(Poisson), Exchangeable::new(FeatureCovariance::Diagonal)).restricted(restricted);
        let fit = model.fit(&tasks).unwrap();
        assert!(fit.converged() && fit.mean()[2] < -2.0 && fit.mean()[2] > -40.0, "{}", fit.mean());
        assert!(fit.mean_covariance()[(2, 2)].sqrt() > 2.0);
        assert!(warned(&fit).unwrap().ends_with("in: rare"), "{:?}", fit.warnings());
    }
}

/// Over nothing but zeros, which leave a flat mean without an integral: exp(-1/2 P m^2) prod_i p(0 | m), by equal steps.
#[test]
fn an_integrated_mean_carries_its_prior() {
    let mut rows = Rows::new("y", &["x"]);
    (0..12).for_each(|i| rows.push(&format!("t{}", i % 3), &[f64::from(i)], 0.0, 1.0).unwrap());
    let design = Design::varying(rows.features());
    let kept = FamilyRows::new(&rows, &design, &Coordinates::identity(&design), &Poisson).unwrap();
    let precision = 0.04;
    let prior = Prior {
        mean_features: vec![0],
        varying: vec![0],
        mean_precision: nalgebra::dmatrix![precision],
        ..Prior::new(Mean::Integrated, Relatedness::Identity, nalgebra::dmatrix![0.0])
    };
    let found = Approximation::of(&kept, &Poisson, &prior, Inference::Variational).unwrap();
    let exact = found.evidence(&kept, &Poisson).unwrap();
    let density = |m: f64| (-0.5 * precision * m * m - 12.0 * m.exp()).exp();
    let expected = (0..60_000).map(|k| 1e-3 * density(-50.0 + 1e-3 * f64::from(k))).sum::<f64>().ln();
    assert!(found.converged && (exact.log_likelihood - expected).abs() < 1e-5 + 4.0 * exact.standard_error, "{exact:?} {expected}");
    assert!((0.0..0.2).contains(&(expected - found.log_likelihood)), "{} {expected}", found.log_likelihood);
}
