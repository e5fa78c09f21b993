//! Posteriors of targets that are not Gaussian, against lme4, adaptive quadrature, importance sampling and the exact mode.

#[path = "common/oracles.rs"]
mod oracles;

use cognate::{
    Approximation, Binomial, Coordinates, Design, Dispersion, EdgeMethod, Exchangeable, Family, FamilyRows, FeatureCovariance, Fit, Gamma,
    Gaussian, Generalised, Graph, Inference, Intervals, Likelihood, Mean, Model, NegativeBinomial, Noise, Normal, Null, Observations,
    Ordinal, Poisson, Pooled, Posterior, Prior, Relatedness, Rows, StudentT, TaskGraph,
};
use nalgebra::{DMatrix, DVector};
use oracles::{json, list, matrix, rows};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde_json::Value;
use std::collections::HashMap;

struct Mixed {
    reference: Value,
    rows: Rows,
    design: Design,
    family: Box<dyn Family>,
}

impl Mixed {
    fn approximation(&self, mean: &Value, covariance: &Value, inference: Inference) -> Approximation {
        let kept = FamilyRows::new(&self.rows, &self.design, &Coordinates::identity(&self.design), self.family.as_ref()).unwrap();
        let features = self.design.features();
        let mean = DVector::from_vec(features.iter().map(|name| mean[name].as_f64().unwrap()).collect());
        let prior = Prior {
            mean_features: (0..features.len()).collect(),
            varying: self.design.varying_features(),
            ..Prior::new(Mean::Given(mean), Relatedness::Identity, matrix(covariance).cholesky().unwrap().l())
        };
        Approximation::of(&kept, self.family.as_ref(), &prior, inference).unwrap()
    }
}

/// The generalised linear mixed models of lme4_families.json, each once for every fit.
fn mixed_models() -> Vec<Mixed> {
    let models = json("lme4_families.json");
    let models = models["models"].as_array().unwrap().iter().filter(|model| model.get("laplace_ML_recomputed").is_some());
    models
        .map(|model| {
            let (file, task) = (model["data"].as_str().unwrap(), model["group"].as_str().unwrap());
            let features: Vec<String> = model["fixef"].as_object().unwrap().keys().filter(|k| *k != "(Intercept)").cloned().collect();
            let (target, trials, family): (_, _, Box<dyn Family>) = match file {
                "contraception.csv" => ("use", None, Box::new(Binomial::default())),
                "grouseticks.csv" => ("ticks", None, Box::new(Poisson)),
                _ => ("incidence", Some("size"), Box::new(Binomial::default())),
            };
            let rows = rows(file, task, target, trials, &features);
            let random: Vec<String> = match &model["random_columns"] {
                Value::Array(columns) => columns.iter().map(|c| c.as_str().unwrap().to_string()).collect(),
                column => vec![column.as_str().unwrap().to_string()],
            };
            let varies = |name: &str| random.iter().any(|column| column == if name == "(Intercept)" { "1" } else { name });
            let design = Design::varying(rows.features()).with_varying(varies);
            Mixed { reference: model.clone(), rows, design, family }
        })
        .collect()
}

#[test]
fn laplace_log_likelihoods_and_conditional_modes_are_those_of_lme4() {
    let models = mixed_models();
    assert_eq!(models.len(), 7);
    for model in models {
        let (reference, id) = (&model.reference, model.reference["id"].as_str().unwrap());
        let best = &reference["laplace_ML_recomputed"];
        for (at, expected) in [(reference, &reference["laplace_logLik_here_recomputed"]), (best, &best["logLik"])] {
            let found = model.approximation(&at["fixef"], &at["G"], Inference::Laplace);
            assert!(found.converged, "{id} after {} steps", found.steps);
            let expected = expected.as_f64().unwrap();
            assert!((found.log_likelihood - expected).abs() < 1e-7, "{id}: {} against {expected}", found.log_likelihood);
        }
        let found = model.approximation(&reference["fixef"], &reference["G"], Inference::Laplace);
        for conditional in reference["conditional_first5"].as_array().unwrap() {
            let group = conditional["group"].to_string();
            let task = model.rows.names().iter().position(|name| *name == group).unwrap();
            let (mode, covariance) = found.posterior.conditional(task);
            let expected = match &conditional["mode"] {
                Value::Array(_) => list(&conditional["mode"]),
                one => vec![one.as_f64().unwrap()],
            };
            assert!(mode.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{id}: {mode} against {expected:?}");
            assert!((covariance - matrix(&conditional["cov"])).amax() < 1e-6, "{id}");
        }
    }
}

/// By at most one in a thousand of it.
#[test]
fn bounds_are_below_what_adaptive_quadrature_gives() {
    for model in mixed_models() {
        let reference = &model.reference;
        let exact = reference["exact_logLik_here_adaptive_gh"].as_object().unwrap().values().next_back().unwrap().as_f64().unwrap();
        let found = model.approximation(&reference["fixef"], &reference["G"], Inference::Variational);
        let short = exact - found.log_likelihood;
        assert!(found.converged && (-1e-6..1e-3 * exact.abs()).contains(&short), "{}: {short}", reference["id"]);
    }
}

/// Fits end where no other mean or covariance has a higher bound, near what maximises the exact likelihood.
#[test]
fn fits_have_the_highest_bound() {
    for model in mixed_models().into_iter().filter(|model| model.reference["id"].as_str().unwrap().ends_with("laplace")) {
        let (reference, id) = (&model.reference, model.reference["id"].as_str().unwrap());
        let tasks = model.rows.tasks(&model.design).with_rows(model.rows.clone()).unwrap();
        let likelihood: Box<dyn Likelihood> = match model.family.name() {
            "poisson" => Box::new(Generalised::new(Poisson)),
            _ => Box::new(Generalised::new(Binomial::default())),
        };
        let fit = Model::of(likelihood, Box::new(Exchangeable::new(FeatureCovariance::Full))).fit(&tasks).unwrap();
        assert!(fit.converged() && fit.log_likelihood_is_bound(), "{id}");
        let exact = &reference["exact_ML"];
        let features = model.design.features();
        let at = |mean: &DVector<f64>, covariance: &DMatrix<f64>| {
            let mean = serde_json::json!(features.iter().zip(mean.iter()).map(|(name, v)| (name.clone(), *v)).collect::<HashMap<_, _>>());
            let rows: Vec<Vec<f64>> = covariance.row_iter().map(|row| row.iter().copied().collect()).collect();
            model.approximation(&mean, &serde_json::json!(rows), Inference::Variational).log_likelihood
        };
        let (mean, covariance) = (fit.mean(), fit.feature_covariance().1);
        assert!((at(&mean, &covariance) - fit.log_likelihood()).abs() < 1e-6, "{id}");
        let step = |value: f64| value * 1.01 + 1e-4;
        for k in 0..mean.len() {
            let mut moved = mean.clone();
            moved[k] = step(moved[k]);
            assert!(at(&moved, &covariance) < fit.log_likelihood(), "{id}, mean {k}");
        }
        for scale in [0.98, 1.02] {
            assert!(at(&mean, &(&covariance * scale)) < fit.log_likelihood(), "{id}, K times {scale}");
        }
        for (k, name) in features.iter().enumerate() {
            let se = reference["fixef_se"][name].as_f64().unwrap();
            assert!((mean[k] - exact["fixef"][name].as_f64().unwrap()).abs() < 0.05 * se, "{id}, {name}");
        }
        assert!((&covariance - matrix(&exact["G"])).amax() < 0.05 * covariance.amax(), "{id}: {covariance}");
    }
}

/// lme4's log-likelihood is reached and exceeded by at most .003; no other mean or K nearby has a higher one.
#[test]
fn laplace_fits_reach_those_of_lme4() {
    for model in mixed_models().into_iter().filter(|model| model.reference["id"].as_str().unwrap().ends_with("laplace")) {
        let (reference, id) = (&model.reference, model.reference["id"].as_str().unwrap());
        let tasks = model.rows.tasks(&model.design).with_rows(model.rows.clone()).unwrap();
        let family: std::sync::Arc<dyn Family> =
            if model.family.name() == "poisson" { std::sync::Arc::new(Poisson) } else { std::sync::Arc::new(Binomial::default()) };
        let likelihood = Generalised::of(family).with_inference(Inference::Laplace);
        let fit = Model::new(likelihood, Exchangeable::new(FeatureCovariance::Full)).intervals(Intervals::PlugIn).fit(&tasks).unwrap();
        let beyond = fit.log_likelihood() - reference["laplace_logLik_here_recomputed"].as_f64().unwrap();
        assert!(fit.converged() && !fit.log_likelihood_is_bound() && (-1e-6..0.003).contains(&beyond), "{id}: {beyond}");
        let best = reference["laplace_ML_recomputed"]["logLik"].as_f64().unwrap();
        assert!(fit.log_likelihood() - best > -1e-6, "{id}: {} {best}", fit.log_likelihood());
        // Standard errors are those of lme4, about which the modes and their Hessian decide.
        for (k, name) in model.design.features().iter().enumerate() {
            let se = fit.mean_covariance()[(k, k)].sqrt();
            let expected = reference["fixef_se"][name].as_f64().unwrap();
            assert!((se / expected - 1.0).abs() < 0.05, "{id}, {name}: {se} {expected}");
        }
    }
}

/// Gaussian targets row by row are Gaussian targets by sums, their noise variance learned as well, by either inference.
#[test]
fn a_gaussian_family_gives_the_exact_fit() {
    let mut rows = Rows::new("y", &["a"]);
    for i in 0..90 {
        let (t, a) = (i % 9, f64::from(i * 7 % 11) / 5.0 - 1.0);
        let y = f64::from(t % 4) + (1.0 + 0.3 * f64::from(t % 3)) * a + f64::from(i * 31 % 17) / 9.0;
        rows.push_with_offset(&t.to_string(), &[a], y, 0.5 + f64::from(i % 2), f64::from(i % 5)).unwrap();
    }
    let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows.clone()).unwrap();
    for restricted in [false, true] {
        let fit = |likelihood: Box<dyn Likelihood>| {
            let structure = Box::new(Exchangeable::new(FeatureCovariance::Diagonal));
            Model::of(likelihood, structure).restricted(restricted).intervals(Intervals::PlugIn).fit(&tasks).unwrap()
        };
        let exact = fit(Box::<Gaussian>::default());
        for inference in [Inference::Variational, Inference::Laplace] {
            let own = fit(Box::new(Generalised::new(Normal::default()).with_inference(inference)));
            assert!(own.converged());
            assert!((own.log_likelihood() - exact.log_likelihood()).abs() < 1e-6, "{} {}", own.log_likelihood(), exact.log_likelihood());
            // Both end within 1e-7 of the maximum.
            assert!((own.mean() - exact.mean()).amax() < 1e-3 * exact.mean_covariance().diagonal().min().sqrt());
            assert!((own.mean_covariance() - exact.mean_covariance()).amax() < 1e-5);
            assert!((own.feature_covariance().1 - exact.feature_covariance().1).amax() < 1e-4);
            let (_, variance) = own.family_dispersion(0)[0].clone();
            assert!((variance / exact.noise_variance(0) - 1.0).abs() < 1e-4);
            let (a, b) = (own.predict("3", &[0.4], 0.9).unwrap(), exact.predict("3", &[0.4], 0.9).unwrap());
            assert!(
                (a.mean - b.mean).abs() < 1e-4
                    && (a.lower - b.lower).abs() < 2e-3
                    && (a.log_density(1.0) - b.log_density(1.0)).abs() < 1e-4
            );
        }
    }
}

/// A table of 24 tasks drawn from a family about x' w_t.
fn drawn(family: &dyn Family, draw: impl Fn(f64, &mut ChaCha8Rng) -> f64) -> Rows {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut rows = Rows::new("y", &["x"]);
    for t in 0..24 {
        let w: [f64; 2] = [0.5 + 0.4 * normal(&mut random), 0.3 + 0.3 * normal(&mut random)];
        for _ in 0..60 {
            let x = normal(&mut random);
            let y = draw(w[0] + w[1] * x, &mut random);
            assert!(family.refuses(y, 1.0).is_none());
            rows.push(&format!("t{t}"), &[x], y, 1.0).unwrap();
        }
    }
    rows
}

fn normal(random: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(random)
}

/// Dispersions are where the bound is highest, and near those of the simulation.
#[test]
fn dispersions_are_learned() {
    let uniform = |random: &mut ChaCha8Rng| rand_distr::Open01.sample(random);
    let negative_binomial = |eta: f64, random: &mut ChaCha8Rng| {
        let rate: f64 = rand_distr::Gamma::new(2.0, eta.exp() / 2.0).unwrap().sample(random);
        rand_distr::Poisson::new(rate.max(1e-12)).unwrap().sample(random)
    };
    let gamma = |eta: f64, random: &mut ChaCha8Rng| rand_distr::Gamma::new(4.0, eta.exp() / 4.0).unwrap().sample(random);
    let student = |eta: f64, random: &mut ChaCha8Rng| eta + 0.7 * rand_distr::StudentT::new(4.0).unwrap().sample(random);
    let ordinal = |eta: f64, random: &mut ChaCha8Rng| {
        let u: f64 = uniform(random);
        let logistic = eta + (u / (1.0 - u)).ln();
        1.0 + [0.0, 1.0, 2.5].iter().filter(|threshold| logistic > **threshold).count() as f64
    };
    let cases: Vec<(std::sync::Arc<dyn Family>, Rows, Vec<f64>)> = vec![
        (std::sync::Arc::new(NegativeBinomial::default()), drawn(&NegativeBinomial::default(), negative_binomial), vec![0.5]),
        (std::sync::Arc::new(Gamma::default()), drawn(&Gamma::default(), gamma), vec![0.25]),
        (std::sync::Arc::new(StudentT::default()), drawn(&StudentT::default(), student), vec![0.49, 4.0]),
        (std::sync::Arc::new(Ordinal::default()), drawn(&Ordinal::default(), ordinal), vec![1.0, 1.5]),
    ];
    for (family, rows, truth) in cases {
        let name = family.name();
        let design = Design::varying(rows.features());
        let tasks = rows.tasks(&design).with_rows(rows.clone()).unwrap();
        let fit = |likelihood: Generalised| Model::new(likelihood, Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks).unwrap();
        let own = fit(Generalised::of(family.clone()));
        assert!(own.converged(), "{name}");
        let found: Vec<f64> = own.family_dispersion(0).into_iter().map(|(_, value)| value).collect();
        let bound = |values: &[f64]| {
            let family = family.with_dispersion(values).unwrap();
            let kept = FamilyRows::new(&rows, &design, own.coordinates(), family.as_ref()).unwrap();
            Approximation::of(&kept, family.as_ref(), own.prior(), Inference::Variational).unwrap().log_likelihood
        };
        let best = bound(&found);
        assert!((best - own.log_likelihood()).abs() < 1e-6, "{name}");
        // Twice the difference is a chi-squared variable of at most two degrees of freedom.
        assert!(best - bound(&truth) < 4.6, "{name}: {found:?}, {}", best - bound(&truth));
        for k in 0..found.len() {
            for factor in [0.98, 1.02] {
                let moved: Vec<f64> = found.iter().enumerate().map(|(j, v)| if j == k { v * factor } else { *v }).collect();
                assert!(bound(&moved) < best, "{name}, number {k} times {factor}");
            }
        }
        let laplace = fit(Generalised::of(family.clone()).with_inference(Inference::Laplace));
        assert!(laplace.converged(), "{name}");
        for ((_, value), own) in laplace.family_dispersion(0).iter().zip(&found) {
            assert!((value / own).ln().abs() < 0.05, "{name}: {value} {own}");
        }
        assert!((laplace.log_likelihood() - own.log_likelihood()).abs() < 1.0, "{name}");
        let each = fit(Generalised::of(family.clone()).with_noise(Noise::Task));
        assert!(each.converged() && each.dispersion().is_each(), "{name}");
        assert!(each.dispersion().values.chunks(truth.len()).all(|block| (block[0] / truth[0]).ln().abs() < 1.2), "{name}");
    }
}

/// An exposure is a factor of the rate: doubled everywhere it halves the rates and changes nothing else.
#[test]
fn offsets_move_the_intercept_and_nothing_else() {
    let table = |factor: f64| {
        let mut rows = Rows::new("y", &["x"]);
        for i in 0..120 {
            let (t, x) = (i % 8, f64::from(i * 7 % 11) / 5.0 - 1.0);
            let exposure = 0.5 + f64::from(i % 3);
            let y = (exposure * (0.4 * f64::from(t % 4) + 0.5 * x).exp() + f64::from(i % 2)).round();
            rows.push_with_offset(&t.to_string(), &[x], y, 1.0, (factor * exposure).ln()).unwrap();
        }
        let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows).unwrap();
        Model::new(Generalised::new(Poisson), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks).unwrap()
    };
    let (one, two) = (table(1.0), table(2.0));
    assert!((one.log_likelihood() - two.log_likelihood()).abs() < 1e-6);
    assert!((one.mean()[0] - two.mean()[0] - 2f64.ln()).abs() < 1e-4);
    let rate = |fit: &Fit, exposure: f64| fit.forecast(Some(3), "3", &[0.2], 1.0, exposure.ln()).unwrap().moments().0;
    assert!((rate(&one, 1.5) / rate(&two, 3.0) - 1.0).abs() < 1e-4);
    assert!((rate(&one, 3.0) / rate(&one, 1.5) - 2.0).abs() < 1e-9);
}

/// Saved, loaded and asked for predictions, a fit of a family is the same; what needs its rows is refused.
#[test]
fn a_fit_of_a_family_predicts_and_is_kept() {
    let features = ["x0", "x1", "x2"].map(String::from);
    for (target, likelihood) in [("y_logistic", Generalised::new(Binomial::default())), ("y_poisson", Generalised::new(Poisson))] {
        let rows = rows("posterior_data.csv", "task", target, None, &features);
        let design = Design::varying(&features).without_intercept();
        let tasks = rows.tasks(&design).with_rows(rows.clone()).unwrap();
        let bare = rows.tasks(&design);
        let fit = Model::new(likelihood, Exchangeable::new(FeatureCovariance::Diagonal)).restricted(true).fit(&tasks).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.cognate");
        fit.save(&path).unwrap();
        let loaded = Fit::load(&path).unwrap();
        let name = &rows.names()[2];
        let (a, b) = (fit.predict(name, rows.x(5), 0.9).unwrap(), loaded.predict(name, rows.x(5), 0.9).unwrap());
        assert_eq!((a.mean, a.sd, a.lower, a.upper, a.log_density(1.0)), (b.mean, b.sd, b.lower, b.upper, b.log_density(1.0)));
        assert!(a.lower < a.mean && a.mean < a.upper && a.lower >= 0.0);
        let unseen = loaded.predict("another", rows.x(5), 0.9).unwrap();
        assert!(unseen.upper - unseen.lower > a.upper - a.lower);
        let posterior = loaded.with_posterior(|posterior| posterior.coefficients(2)).unwrap();
        assert!((loaded.coordinates().parameters(&posterior) - loaded.coefficients(2)).amax() < 1e-9);
        let sampled = loaded.sample_edges(&Graph::new(FeatureCovariance::Diagonal).with_edges(EdgeMethod::Exact { sweeps: 50 })).unwrap();
        assert_eq!(sampled.graph.len(), rows.names().len());
        let refused = loaded.null_test(Null::Parametric, &Graph::new(FeatureCovariance::Diagonal), 2, 0, &|| {}).unwrap_err().to_string();
        assert!(refused.contains("holds no rows"), "{refused}");
        let refused = Model::new(Generalised::new(Poisson), Pooled { task_intercepts: false }).fit(&bare).unwrap_err().to_string();
        assert!(refused.contains("Tasks::with_rows"), "{refused}");
    }
}

struct Simulated {
    reference: Value,
    kept: FamilyRows,
    family: Box<dyn Family>,
    priors: Vec<Prior>,
}

fn simulated() -> Vec<Simulated> {
    let families: [(&str, Box<dyn Family>); 2] = [("logistic", Box::new(Binomial::default())), ("poisson", Box::new(Poisson))];
    families
        .into_iter()
        .map(|(name, family)| {
            let reference = json(&format!("posterior_{name}.json"));
            let features = ["x0", "x1", "x2"].map(String::from);
            let rows = rows("posterior_data.csv", "task", reference["y_column"].as_str().unwrap(), None, &features);
            let design = Design::varying(&features).without_intercept();
            let kept = FamilyRows::new(&rows, &design, &Coordinates::identity(&design), family.as_ref()).unwrap();
            let sigma = matrix(&reference["Sigma"]);
            let omega = TaskGraph::of_precision(rows.names(), &sigma.clone().try_inverse().unwrap());
            let prior = |relatedness| {
                let mean = Mean::Given(DVector::from_vec(list(&reference["mu"])));
                Prior::new(mean, relatedness, matrix(&reference["K"]).cholesky().unwrap().l())
            };
            let priors = vec![prior(Relatedness::Dense(sigma)), prior(Relatedness::Graph(omega))];
            Simulated { kept, family, priors, reference }
        })
        .collect()
}

#[test]
fn laplace_is_at_the_mode_and_has_its_hessian() {
    for Simulated { reference, kept, family, priors } in simulated() {
        let laplace = &reference["laplace"];
        let covariance = matrix(&laplace["neg_hessian_at_mode"]).try_inverse().unwrap();
        for prior in &priors {
            let found = Approximation::of(&kept, family.as_ref(), prior, Inference::Laplace).unwrap();
            assert!((found.log_likelihood - laplace["log_marginal_laplace"].as_f64().unwrap()).abs() < 1e-7);
            for (k, mode) in list(&laplace["mode"]).iter().enumerate() {
                assert!((found.posterior.coefficients(k / 3)[k % 3] - mode).abs() < 1e-6);
                let own = found.posterior.covariance(k / 3);
                (0..3).for_each(|j| assert!((own[(k % 3, j)] - covariance[(k, k / 3 * 3 + j)]).abs() < 1e-6));
            }
        }
    }
}

/// Means within .05 posterior sd of importance sampling, the largest error at most half of Laplace's, sds within 3 %.
#[test]
fn variational_means_and_spreads_are_those_of_importance_sampling() {
    for Simulated { reference, kept, family, priors } in simulated() {
        let exact = &reference["importance_sampling"];
        let (means, covariance) = (list(&exact["mean_B"]), matrix(&exact["cov_B"]));
        for prior in &priors {
            let of = |inference| Approximation::of(&kept, family.as_ref(), prior, inference).unwrap();
            let (variational, laplace) = (of(Inference::Variational), of(Inference::Laplace));
            assert!(variational.converged);
            let error = |found: &Approximation| -> f64 {
                let each = means.iter().enumerate();
                each.map(|(k, mean)| (found.posterior.coefficients(k / 3)[k % 3] - mean).abs() / covariance[(k, k)].sqrt())
                    .fold(0.0, f64::max)
            };
            let (own, other) = (error(&variational), error(&laplace));
            let spread = (0..means.len())
                .map(|k| (variational.posterior.covariance(k / 3)[(k % 3, k % 3)] / covariance[(k, k)]).sqrt() - 1.0)
                .fold(0.0, |worst: f64, ratio| worst.max(ratio.abs()));
            assert!(own <= 0.05 && own <= 0.5 * other && spread <= 0.03);
            let evidence = reference["log_marginal_likelihood"].as_f64().unwrap();
            let short = evidence - variational.log_likelihood;
            assert!((-0.003..0.2).contains(&short), "{}: {short}", family.name());
        }
    }
}

/// Where the quadratics are exact, so are bound and Laplace's approximation, whatever becomes of the mean and of some features.
#[test]
fn a_gaussian_family_gives_the_exact_posterior() {
    let mut rows = Rows::new("y", &["a", "b"]);
    for i in 0..30 {
        let (a, b) = (f64::from(i * 7 % 11) / 5.0 - 1.0, f64::from(i * 5 % 13) / 6.0 - 1.0);
        rows.push(["s", "t", "u"][(i % 3) as usize], &[a, b], a - 2.0 * b + f64::from(i % 4), 0.5 + f64::from(i % 2)).unwrap();
    }
    let design = Design::varying(rows.features());
    let tasks = rows.tasks(&design);
    let identity = Coordinates::identity(&design);
    let exact = Gaussian::default().quadratics(&Observations::new(&tasks, &identity), &Dispersion::shared(1.0));
    let kept = FamilyRows::new(&rows, &design, &identity, &Normal::default()).unwrap();
    let mut graph = TaskGraph::empty(rows.names());
    graph.connect(0, 1, -0.4, None);
    for mean in [Mean::Given(DVector::from_vec(vec![0.5, 1.0, -1.0])), Mean::Profiled, Mean::Integrated] {
        for relatedness in [Relatedness::Identity, Relatedness::Graph(graph.clone())] {
            for unrelated in [vec![], vec![0]] {
                let prior = Prior { unrelated, ..Prior::new(mean.clone(), relatedness.clone(), DMatrix::identity(3, 3) * 0.8) };
                let expected = Posterior::given(&exact, &prior).unwrap();
                for inference in [Inference::Variational, Inference::Laplace] {
                    let found = Approximation::of(&kept, &Normal::default(), &prior, inference).unwrap();
                    assert!(found.converged && found.steps <= 3, "{} steps", found.steps);
                    assert!((found.log_likelihood - expected.log_likelihood()).abs() < 1e-9);
                    (0..3).for_each(|t| assert!((found.posterior.coefficients(t) - expected.coefficients(t)).amax() < 1e-9));
                }
            }
        }
    }
}

/// Tasks of one class, of zeros only, and counts of a million give finite, wide answers.
#[test]
fn what_maximum_likelihood_cannot_fit_is_finite_and_wide() {
    let families: [(Box<dyn Family>, [f64; 2]); 2] = [(Box::new(Binomial::default()), [1.0, 0.0]), (Box::new(Poisson), [0.0, 1e6])];
    for (family, [first, last]) in families {
        let mut rows = Rows::new("y", &["x"]);
        for i in 0..20 {
            let x = f64::from(i) / 10.0 - 1.0;
            rows.push("same", &[x], first, 1.0).unwrap();
            rows.push("separated", &[x], if x < 0.0 { first } else { last }, 1.0).unwrap();
        }
        let design = Design::varying(rows.features());
        let kept = FamilyRows::new(&rows, &design, &Coordinates::identity(&design), family.as_ref()).unwrap();
        for inference in [Inference::Variational, Inference::Laplace] {
            let prior = Prior::new(Mean::Given(DVector::zeros(2)), Relatedness::Identity, DMatrix::identity(2, 2) * 3.0);
            let found = Approximation::of(&kept, family.as_ref(), &prior, inference).unwrap();
            assert!(found.converged && found.log_likelihood.is_finite(), "{family:?} {inference:?}");
            assert!(found.posterior.covariance(0)[(0, 0)] > 0.3);
        }
    }
}

/// Tasks of one class are named, and their intervals are wider than those of the others.
#[test]
fn tasks_of_one_class_are_named() {
    let mut rows = Rows::new("well", &["x"]);
    for i in 0..120 {
        let (t, x) = (i % 8, f64::from(i / 8) / 7.0 - 1.0);
        let well = match t {
            0 => 0.0,
            7 => 1.0,
            _ => f64::from(u8::from(x + f64::from(i * 7 % 11) / 5.0 > 1.2)),
        };
        rows.push(&format!("ward {t}"), &[x], well, 1.0).unwrap();
    }
    let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows).unwrap();
    let fit = Model::new(Generalised::new(Binomial::default()), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks).unwrap();
    let named = fit.warnings().iter().find(|warning| warning.contains("one end of their range")).unwrap();
    assert!(named.ends_with("in: ward 0, ward 7"), "{named}");
    let sd = |t: usize| fit.covariance(t)[(0, 0)].sqrt();
    let widest = (1..7).map(sd).fold(0.0, f64::max);
    assert!(fit.converged() && sd(0) > widest && sd(7) > widest && sd(0).is_finite());
}

#[test]
fn a_target_that_the_family_cannot_have_is_refused_by_its_row() {
    let mut rows = Rows::new("ticks", &["x"]);
    rows.push("a", &[0.0], 2.0, 1.0).unwrap();
    rows.push("a", &[1.0], 2.5, 1.0).unwrap();
    let design = Design::varying(rows.features());
    let refused = FamilyRows::new(&rows, &design, &Coordinates::identity(&design), &Poisson).unwrap_err();
    assert_eq!(refused.to_string(), "row 2, column 'ticks': 2.5 is no count; give a whole number from 0 on");
}

/// Whatever the predictor, a distribution function is one.
#[test]
fn distribution_functions_far_out_are_numbers() {
    for name in ["poisson", "negative-binomial", "gamma"] {
        for mean in [-2000.0, -50.0, 50.0, 400.0, 2000.0, 1e8] {
            let forecast = cognate::Forecast::family(name, &[], 1.0, (mean, 2.0)).unwrap();
            for y in [0.0, 1.0, 1e6] {
                let p = forecast.cumulative(y).unwrap();
                assert!((0.0..=1.0).contains(&p), "{name} at {mean}: {p}");
            }
            let (low, high) = forecast.interval(0.95);
            assert!(low <= high || low.is_nan() || high.is_nan(), "{name} at {mean}: {low} to {high}");
        }
    }
}
