//! Exact evidence against lme4's adaptive quadrature, importance sampling from elsewhere, closed forms and brute force.

#[path = "common/oracles.rs"]
mod oracles;

use cognate::{
    Approximation, Binomial, Coordinates, Design, Dispersion, Evidence, Exchangeable, Family, FamilyRows, FeatureCovariance, Fit, Gaussian,
    Generalised, Independent, Inference, Link, Mean, Model, Normal, Observations, Poisson, Posterior, Prior, Quadratic, Quadratics,
    Relatedness, Rows, TaskGraph, report,
};
use nalgebra::{DMatrix, DVector};
use oracles::{json, list, matrix, path, rows};
use serde_json::Value;
use std::sync::Arc;

struct Mixed {
    reference: Value,
    rows: Rows,
    design: Design,
    family: Arc<dyn Family>,
}

impl Mixed {
    fn name(&self) -> &str {
        self.reference["id"].as_str().unwrap()
    }

    fn evidence(&self, at: &Value, inference: Inference) -> Evidence {
        let features = self.design.features();
        let kept = FamilyRows::new(&self.rows, &self.design, &Coordinates::identity(&self.design), self.family.as_ref()).unwrap();
        let mean = DVector::from_vec(features.iter().map(|name| at["fixef"][name].as_f64().unwrap()).collect());
        let prior = Prior {
            mean_features: (0..features.len()).collect(),
            varying: self.design.varying_features(),
            ..Prior::new(Mean::Given(mean), Relatedness::Identity, matrix(&at["G"]).cholesky().unwrap().l())
        };
        let found = Approximation::of(&kept, self.family.as_ref(), &prior, inference).unwrap();
        found.evidence(&kept, self.family.as_ref()).unwrap()
    }

    fn fit(&self, inference: Inference) -> Fit {
        let tasks = self.rows.tasks(&self.design).with_rows(self.rows.clone()).unwrap();
        let likelihood = Generalised::of(Arc::clone(&self.family)).with_inference(inference);
        Model::new(likelihood, Exchangeable::new(FeatureCovariance::Full)).exact_evidence(true).fit(&tasks).unwrap()
    }
}

/// The generalised linear mixed models of lme4_families.json.
fn mixed_models() -> Vec<Mixed> {
    let models = json("lme4_families.json");
    let models = models["models"].as_array().unwrap().iter().filter(|model| model.get("exact_ML").is_some());
    models
        .map(|model| {
            let (file, task) = (model["data"].as_str().unwrap(), model["group"].as_str().unwrap());
            let features: Vec<String> = model["fixef"].as_object().unwrap().keys().filter(|k| *k != "(Intercept)").cloned().collect();
            let (target, trials, family): (_, _, Arc<dyn Family>) = match file {
                "contraception.csv" => ("use", None, Arc::new(Binomial::default())),
                "grouseticks.csv" => ("ticks", None, Arc::new(Poisson)),
                _ => ("incidence", Some("size"), Arc::new(Binomial::default())),
            };
            let rows = rows(file, task, target, trials, &features);
            let random = model["random_columns"].to_string();
            let varies = |name: &str| random.contains(&format!("\"{}\"", if name == "(Intercept)" { "1" } else { name }));
            let design = Design::varying(rows.features()).with_varying(varies);
            Mixed { reference: model.clone(), rows, design, family }
        })
        .collect()
}

/// To 1e-6 at lme4's parameters and at those of the exact maximum, whichever Gaussian places the nodes.
#[test]
fn evidence_of_lme4s_models_is_that_of_adaptive_quadrature() {
    let models = mixed_models();
    assert_eq!(models.len(), 7);
    for model in models {
        let reference = &model.reference;
        let there = reference["exact_logLik_here_adaptive_gh"].as_object().unwrap().values().next_back().unwrap();
        let best = &reference["exact_ML"];
        for (at, expected) in [(reference, there), (best, &best["logLik"])] {
            for inference in [Inference::Variational, Inference::Laplace] {
                let found = model.evidence(at, inference);
                let expected = expected.as_f64().unwrap();
                assert!((found.log_likelihood - expected).abs() < 1e-6, "{}: {} {expected}", model.name(), found.log_likelihood);
                assert_eq!((found.standard_error, found.worrying().count()), (0.0, 0), "{}: {:?}", model.name(), found.pareto_k);
                assert_eq!(found.pareto_k.len(), model.rows.names().len());
            }
        }
    }
}

/// At the fit's own optimum the exact log-likelihood is at most .02 below its maximum, kept with the fit, and what AIC goes by.
#[test]
fn fits_have_exact_evidence_near_its_maximum() {
    for model in mixed_models().into_iter().filter(|model| model.name().ends_with("laplace")) {
        for inference in [Inference::Variational, Inference::Laplace] {
            let fit = model.fit(inference);
            let exact = fit.evidence().unwrap();
            let short = model.reference["exact_ML"]["logLik"].as_f64().unwrap() - exact.log_likelihood;
            println!("{} {inference:?}: {:.6}, {short:.6} below the maximum", model.name(), exact.log_likelihood);
            assert!((-1e-6..0.02).contains(&short), "{} {inference:?}: {short}", model.name());
            assert!(exact.log_likelihood > fit.log_likelihood(), "{}", model.name());
            assert_eq!(fit.aic().unwrap(), -2.0 * exact.log_likelihood + 2.0 * fit.parameters() as f64);
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("m.cognate");
            fit.save(&file).unwrap();
            assert_eq!(Fit::load(&file).unwrap().evidence().unwrap(), exact);
            let printed = report::fit_json(&fit);
            assert_eq!(printed["evidence"]["log_likelihood"].as_f64().unwrap(), exact.log_likelihood);
            assert_eq!(printed["evidence"]["pareto_k"].as_object().unwrap().len(), exact.pareto_k.len());
            assert!(fit.to_string().contains(&format!("Exact log-likelihood: {:.3} (adaptive quadrature)", exact.log_likelihood)));
        }
    }
}

/// The posteriors of eight related tasks of three features, 24 coordinates in one integral.
#[test]
fn evidence_of_related_tasks_is_that_of_other_programs() {
    let cases: [(&str, &str, Arc<dyn Family>); 3] = [
        ("gaussian", "y_gaussian", Arc::new(Normal { variance: 0.49 })),
        ("logistic", "y_logistic", Arc::new(Binomial::default())),
        ("poisson", "y_poisson", Arc::new(Poisson)),
    ];
    for (name, target, family) in cases {
        let reference = json(&format!("posterior_{name}.json"));
        let features = ["x0", "x1", "x2"].map(String::from);
        let rows = rows("posterior_data.csv", "task", target, None, &features);
        let design = Design::varying(&features).without_intercept();
        let kept = FamilyRows::new(&rows, &design, &Coordinates::identity(&design), family.as_ref()).unwrap();
        let sigma = matrix(&reference["Sigma"]);
        let graph = TaskGraph::of_precision(rows.names(), &sigma.clone().try_inverse().unwrap());
        let expected = reference["log_marginal_likelihood"].as_f64().unwrap();
        let other_error = reference["log_marginal_likelihood_se"].as_f64().unwrap_or(0.0);
        for relatedness in [Relatedness::Dense(sigma), Relatedness::Graph(graph)] {
            let mean = Mean::Given(DVector::from_vec(list(&reference["mu"])));
            let prior = Prior::new(mean, relatedness, matrix(&reference["K"]).cholesky().unwrap().l());
            for inference in [Inference::Variational, Inference::Laplace] {
                let found = Approximation::of(&kept, family.as_ref(), &prior, inference).unwrap().evidence(&kept, family.as_ref()).unwrap();
                let (off, error) = (found.log_likelihood - expected, found.standard_error.hypot(other_error));
                println!(
                    "{name} {inference:?}: off by {off:.5}, standard error {:.5}, k-hat {:.2}",
                    found.standard_error, found.pareto_k[0]
                );
                assert!(off.abs() < 3.0 * error + 1e-7 && off.abs() < 0.02, "{name} {inference:?}: {off} {error}");
                assert!(found.sampled && found.standard_error < 0.0051 && found.worrying().count() == 0, "{found:?}");
            }
        }
    }
}

fn gaussian_rows() -> Rows {
    let mut rows = Rows::new("y", &["a", "b"]);
    for i in 0..30 {
        let (a, b) = (f64::from(i * 7 % 11) / 5.0 - 1.0, f64::from(i * 5 % 13) / 6.0 - 1.0);
        rows.push(["s", "t", "u"][(i % 3) as usize], &[a, b], a - 2.0 * b + f64::from(i % 4), 0.5 + f64::from(i % 2)).unwrap();
    }
    rows
}

/// Gaussian targets row by row, whose evidence has a closed form: by quadrature in one and two directions, by sampling in more, with the mean
/// known, at its estimate and integrated, tasks unrelated, related in components and apart in some features.
#[test]
fn evidence_of_gaussian_targets_is_the_closed_form() {
    let rows = gaussian_rows();
    let design = Design::varying(rows.features());
    let identity = Coordinates::identity(&design);
    let exact = Gaussian::default().quadratics(&Observations::new(&rows.tasks(&design), &identity), &Dispersion::shared(1.0));
    let kept = FamilyRows::new(&rows, &design, &identity, &Normal::default()).unwrap();
    let mut graph = TaskGraph::empty(rows.names());
    graph.connect(0, 1, -0.4, None);
    let sigma = DMatrix::from_row_slice(3, 3, &[1.2, 0.5, 0.1, 0.5, 0.9, -0.2, 0.1, -0.2, 1.0]);
    let (mut by_quadrature, mut sampled) = (0, 0);
    for mean in [Mean::Given(DVector::from_vec(vec![0.5, 1.0, -1.0])), Mean::Profiled, Mean::Integrated] {
        for relatedness in [Relatedness::Zero, Relatedness::Identity, Relatedness::Graph(graph.clone()), Relatedness::Dense(sigma.clone())]
        {
            for (varying, unrelated) in [(1, vec![]), (2, vec![]), (3, vec![]), (3, vec![0])] {
                if !unrelated.is_empty() && !matches!(relatedness, Relatedness::Graph(_) | Relatedness::Dense(_)) {
                    continue;
                }
                // A direction of variance 0 is none.
                let mut factor = DMatrix::identity(3, 3) * 0.8;
                (varying..3).for_each(|k| factor[(k, k)] = 0.0);
                let prior = Prior { unrelated, ..Prior::new(mean.clone(), relatedness.clone(), factor) };
                let expected = Posterior::given(&exact, &prior).unwrap().log_likelihood();
                let found = Approximation::of(&kept, &Normal::default(), &prior, Inference::Variational).unwrap();
                let own = found.evidence(&kept, &Normal::default()).unwrap();
                let off = (own.log_likelihood - expected).abs();
                assert!(
                    off < 1e-7 + 4.0 * own.standard_error && own.standard_error < 1e-6,
                    "{mean:?} {relatedness:?} {varying}: {own:?} {expected}"
                );
                assert_eq!(own.worrying().count(), 0);
                if own.sampled { sampled += 1 } else { by_quadrature += 1 }
            }
        }
    }
    assert!(by_quadrature > 8 && sampled > 15, "{by_quadrature} {sampled}");
}

/// Tasks of one direction and their rows: ordinary, separated, one row, huge counts, no successes among many trials.
fn hard_tasks(poisson: bool) -> Rows {
    let mut rows = Rows::new("y", &["x"]);
    for i in 0..12 {
        let x = f64::from(i) / 6.0 - 1.0;
        let own = if poisson { f64::from(i * 5 % 7) } else { f64::from(u8::from(i * 5 % 7 > 2)) };
        rows.push("ordinary", &[x], own, 1.0).unwrap();
        rows.push("ones", &[x], if poisson { 0.0 } else { 1.0 }, 1.0).unwrap();
        rows.push("huge", &[x], if poisson { 1e5 } else { 0.0 }, if poisson { 1.0 } else { 1000.0 }).unwrap();
    }
    rows.push("single", &[0.3], 1.0, 1.0).unwrap();
    rows
}

/// Against sums over 400,000 equal steps, also where the Gaussian is a poor stand.
#[test]
fn one_direction_is_integrated_as_by_brute_force() {
    let families: [Box<dyn Family>; 3] = [Box::new(Binomial::default()), Box::new(Binomial { link: Link::Probit }), Box::new(Poisson)];
    let mut by_quadrature = 0;
    for family in families {
        let rows = hard_tasks(family.name() == "poisson");
        let design = Design::varying(rows.features()).with_varying(|name| name == "(Intercept)");
        let kept = FamilyRows::new(&rows, &design, &Coordinates::identity(&design), family.as_ref()).unwrap();
        for sd in [0.3, 1.0, 4.0] {
            let mean = DVector::from_vec(vec![0.4, -0.7]);
            let prior = Prior {
                varying: vec![0],
                mean_features: vec![0, 1],
                ..Prior::new(Mean::Given(mean.clone()), Relatedness::Identity, DMatrix::from_element(1, 1, sd))
            };
            let task = |t: usize| {
                let log = |b: f64| {
                    let density = |row: cognate::FamilyRow| family.at(row.y, row.weight, mean[0] + sd * b + mean[1] * row.x[1]).value;
                    kept.of(t).map(density).sum::<f64>() - 0.5 * (b * b + (2.0 * std::f64::consts::PI).ln())
                };
                let step = 80.0 / 400_000.0;
                let all: Vec<f64> = (0..=400_000).map(|k| log(step * f64::from(k) - 40.0)).collect();
                let most = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                most + (step * all.iter().map(|own| (own - most).exp()).sum::<f64>()).ln()
            };
            let expected: f64 = (0..kept.tasks()).map(task).sum();
            for inference in [Inference::Variational, Inference::Laplace] {
                let found = Approximation::of(&kept, family.as_ref(), &prior, inference).unwrap();
                let own = found.evidence(&kept, family.as_ref()).unwrap();
                let off = own.log_likelihood - expected;
                println!("{} {sd} {inference:?}: {expected:.6} {off:.2e} {:?}", family.name(), own.pareto_k);
                assert!(
                    off.abs() < 1e-6 + 4.0 * own.standard_error && off.abs() < 0.02,
                    "{} {sd} {inference:?}: {off} {own:?}",
                    family.name()
                );
                by_quadrature += usize::from(!own.sampled);
            }
        }
    }
    assert!(by_quadrature > 15, "{by_quadrature} of 18");
}

/// The command line prints the exact log-likelihoods of lme4's models, to three digits those of adaptive quadrature at their own maximum.
#[test]
fn the_command_line_prints_exact_evidence() {
    let fit = |file: &str, formula: &str, family: &str, rest: &[&str]| {
        let output = assert_cmd::Command::cargo_bin("cognate")
            .unwrap()
            .args(["fit", path(file).to_str().unwrap(), "--formula", formula, "--family", family, "--evidence", "exact"])
            .args(rest)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let contraception = fit("contraception.csv", "use ~ age + (1 | district)", "bernoulli", &[]).0;
    assert!(
        contraception.contains("Exact log-likelihood: -1265.786 (adaptive quadrature)\nPareto k-hat: 0 of 60 tasks above 0.7; largest ")
    );
    let grouseticks = fit("grouseticks.csv", "ticks ~ y96 + y97 + h100 + (1 | location)", "poisson", &["--inference", "laplace"]).0;
    assert!(grouseticks.contains("Exact log-likelihood: -1133.402 (adaptive quadrature)"), "{grouseticks}");
    let cbpp = fit("cbpp.csv", "incidence ~ p2 + p3 + p4 + (1 | herd)", "binomial", &["--trials", "size", "--format", "json"]).0;
    let cbpp: Value = serde_json::from_str(&cbpp).unwrap();
    assert!((cbpp["evidence"]["log_likelihood"].as_f64().unwrap() + 91.98356).abs() < 1e-4);
    assert_eq!((&cbpp["evidence"]["standard_error"], &cbpp["evidence"]["sampled"]), (&Value::from(0.0), &Value::from(false)));
    let (_, notes) = fit("cbpp.csv", "incidence ~ p2 + p3 + p4 + (1 | herd)", "poisson", &["--structure", "pooled"]);
    assert!(notes.contains("--evidence means nothing to the structure 'pooled'"), "{notes}");
}

/// Two directions that no row sees leave the evidence as it is, but let it be sampled.
#[test]
fn sampling_and_quadrature_agree() {
    let mut rows = Rows::new("y", &["x", "unseen", "neither"]);
    for i in 0..60 {
        let (t, x) = (i % 5, f64::from(i) / 20.0 - 1.5);
        rows.push(&t.to_string(), &[x, 0.0, 0.0], f64::from((i * 7 + t) % 5), 1.0).unwrap();
    }
    let design = Design::varying(rows.features());
    let kept = FamilyRows::new(&rows, &design, &Coordinates::identity(&design), &Poisson).unwrap();
    for directions in [1, 2] {
        let evidence = |sampled: bool| {
            let mut factor = DMatrix::zeros(4, 4);
            (factor[(0, 0)], factor[(1, 0)]) = (0.7, 0.2);
            factor[(1, 1)] = if directions == 2 { 0.5 } else { 0.0 };
            if sampled {
                (factor[(2, 2)], factor[(3, 3)]) = (0.6, 0.4);
            }
            let prior = Prior::new(Mean::Given(DVector::from_vec(vec![0.4, 0.1, 0.0, 0.0])), Relatedness::Identity, factor);
            let found = Approximation::of(&kept, &Poisson, &prior, Inference::Variational).unwrap();
            found.evidence(&kept, &Poisson).unwrap()
        };
        let (nodes, draws) = (evidence(false), evidence(true));
        assert!(!nodes.sampled && draws.sampled && draws.standard_error < 0.0051, "{draws:?}");
        assert!((nodes.log_likelihood - draws.log_likelihood).abs() < 3.0 * draws.standard_error, "{nodes:?} {draws:?}");
    }
}

/// A Gaussian a tenth as wide as the posterior, or far from it.
#[test]
fn a_bad_gaussian_is_told_by_its_tail() {
    let rows = gaussian_rows();
    let design = Design::varying(rows.features());
    let family = Normal::default();
    let kept = FamilyRows::new(&rows, &design, &Coordinates::identity(&design), &family).unwrap();
    let prior = Prior::new(Mean::Given(DVector::zeros(3)), Relatedness::Identity, DMatrix::identity(3, 3));
    let mut found = Approximation::of(&kept, &family, &prior, Inference::Variational).unwrap();
    assert_eq!(found.evidence(&kept, &family).unwrap().worrying().count(), 0);
    let spoilt = |t: usize, scale: f64, shift: f64| {
        let own = found.quadratics.task(t);
        Quadratic { linear: own.linear.add_scalar(shift) * scale, curvature: own.curvature * scale, ..own }
    };
    let sites = [spoilt(0, 1.0, 0.0), spoilt(1, 100.0, 0.0), spoilt(2, 1.0, 40.0)];
    found.quadratics = Quadratics::new(&sites).unwrap();
    let own = found.evidence(&kept, &family).unwrap();
    assert_eq!(own.worrying().collect::<Vec<_>>(), [1, 2], "{:?}", own.pareto_k);
}

#[test]
fn results_do_not_depend_on_threads() {
    let rows = gaussian_rows();
    let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows.clone()).unwrap();
    let fit = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let likelihood = Generalised::new(Normal::default());
        let model = Model::new(likelihood, Exchangeable::new(FeatureCovariance::Scalar)).restricted(true).exact_evidence(true);
        pool.install(|| model.fit(&tasks).unwrap())
    };
    let (one, three) = (fit(1), fit(3));
    assert_eq!(one.evidence(), three.evidence());
    assert!(one.evidence().unwrap().sampled);
}

/// By sums it is the log-likelihood itself; of tasks without a marginal likelihood there is none; too large a joint integral is refused.
#[test]
fn what_needs_no_integral_is_exact_and_what_is_too_large_is_refused() {
    let rows = gaussian_rows();
    let tasks = rows.tasks(&Design::varying(rows.features()));
    let exchangeable = || Exchangeable::new(FeatureCovariance::Diagonal);
    for restricted in [false, true] {
        let fit = Model::new(Gaussian::default(), exchangeable()).restricted(restricted).exact_evidence(true).fit(&tasks).unwrap();
        let expected = Evidence { log_likelihood: fit.log_likelihood(), standard_error: 0.0, sampled: false, pareto_k: vec![] };
        assert_eq!(fit.evidence(), Some(&expected));
        assert!(fit.to_string().contains("(in closed form)"));
    }
    assert!(Model::new(Gaussian::default(), Independent::default()).exact_evidence(true).fit(&tasks).unwrap().evidence().is_none());

    let mut rows = Rows::new("y", &["x"]);
    for i in 0..180 {
        rows.push(&(i % 60).to_string(), &[f64::from(i % 7)], f64::from(i * 5 % 4), 1.0).unwrap();
    }
    let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows).unwrap();
    let model = Model::new(Generalised::new(Poisson), exchangeable()).restricted(true).exact_evidence(true);
    let refused = model.fit(&tasks).unwrap_err().to_string();
    assert!(refused.contains("62 and at most 50") && refused.contains("--reml"), "{refused}");
}
