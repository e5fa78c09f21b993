//! How sure relations are: draws against their law in closed form, a chain made otherwise, integrals and simulations; and the command.

#[path = "common/command.rs"]
mod command;

use cognate::relatedness::{Options, Pair, Relations, Source, stability};
use cognate::simulate::{Layout, NoiseLevel, gaussian, task_graph};
use cognate::{
    Clusters, DescriptorValues, Descriptors, Design, Exchangeable, Factor, FeatureCovariance, Fit, Full, Gaussian, Graph, Independent,
    Intervals, Kernel, KernelShape, Mean, Model, Noise, Pooled, Prior, Relatedness, Robust, Rows, Summaries,
};
use command::cognate;
use nalgebra::{DMatrix, DVector};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use statrs::distribution::{Continuous, ContinuousCDF, Normal};

const SCALAR: FeatureCovariance = FeatureCovariance::Scalar;

fn normal(random: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(random)
}

/// Estimates of tasks with the first two alike and the third their opposite, with those standard errors.
fn estimates(tasks: usize, features: usize, errors: &dyn Fn(usize) -> f64) -> (DMatrix<f64>, Summaries) {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let common = DVector::from_fn(features, |_, _| normal(&mut random));
    let names: Vec<String> = (0..features).map(|j| format!("x{j}")).collect();
    let mut summaries = Summaries::new(&names);
    let mut all = DMatrix::zeros(tasks, features);
    for t in 0..tasks {
        let sign = [1.0, 1.0, -1.0, 0.3][t % 4];
        for j in 0..features {
            all[(t, j)] = sign * common[j] + 0.7 * normal(&mut random) + errors(t) * normal(&mut random);
        }
        let own: Vec<Option<f64>> = all.row(t).iter().map(|value| Some(*value)).collect();
        summaries.push(&format!("t{t}"), &own, &(DMatrix::identity(features, features) * errors(t).powi(2))).unwrap();
    }
    (all, summaries)
}

fn full_of(summaries: &Summaries, strength: f64, zero: bool) -> Fit {
    let structure = Full::new(SCALAR).with_strength(Some(strength));
    Model::new(Gaussian { noise: Noise::Known }, structure).zero_mean(zero).fit(&summaries.tasks()).unwrap()
}

/// The scale kappa of Sigma ~ inverse-Wishart(kappa nu I, nu + T + 1) given Sigma, flat as a standard deviation.
fn drawn_scale(omega: &DMatrix<f64>, strength: i32, random: &mut ChaCha8Rng) -> f64 {
    let (tasks, strength) = (omega.nrows() as f64, f64::from(strength));
    let shape = 0.5 * (tasks * (strength + tasks + 1.0) + 1.0);
    rand_distr::Gamma::new(shape, 2.0 / (strength * omega.trace())).unwrap().sample(random)
}

/// Sigma ~ inverse-Wishart(about, freedom), its inverse a sum of squares of normal vectors.
fn inverse_wishart(about: &DMatrix<f64>, freedom: usize, random: &mut ChaCha8Rng) -> DMatrix<f64> {
    let root = about.clone().try_inverse().unwrap().cholesky().unwrap().l();
    let vectors = root * DMatrix::from_fn(about.nrows(), freedom, |_, _| normal(random));
    (&vectors * vectors.transpose()).try_inverse().unwrap()
}

fn correlation(sigma: &DMatrix<f64>, s: usize, t: usize) -> f64 {
    sigma[(s, t)] / (sigma[(s, s)] * sigma[(t, t)]).sqrt()
}

fn pair(relations: &Relations, s: usize, t: usize) -> &Pair {
    relations.pairs.iter().find(|own| own.tasks == (s, t)).unwrap()
}

/// Mean, standard deviation and 95 % interval of draws.
fn summary(values: &mut [f64]) -> [f64; 4] {
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let sd = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt();
    [mean, sd, values[(0.025 * n) as usize], values[(0.975 * n) as usize]]
}

fn is_near(own: &Pair, expected: [f64; 4], far: f64) {
    let found = [own.correlation.unwrap(), own.sd.unwrap(), own.low.unwrap(), own.high.unwrap()];
    for (found, (expected, far)) in found.iter().zip(expected.iter().zip([far, 0.7 * far, 2.0 * far, 2.0 * far])) {
        assert!((found - expected).abs() < far, "{}-{}: {found} against {expected}", own.first, own.second);
    }
}

/// Parameters known all but exactly leave of the sampler the conjugate law, inverse-Wishart(kappa nu I + B'B, nu + T + 1 + r), and the scale kappa, drawn here given Sigma.
#[test]
fn without_noise_draws_have_the_conjugate_law() {
    let (tasks, features, strength) = (4, 6, 6);
    let (estimates, summaries) = estimates(tasks, features, &|_| 1e-4);
    let fit = full_of(&summaries, f64::from(strength), true);
    let held = Some(f64::from(strength));
    let relations = Relations::of(&fit, &Options { draws: Some(8_000), strength: held, ..Options::default() }).unwrap();
    assert!(relations.effective_draws.unwrap() > 4_000.0);
    assert!((relations.prior_sd.unwrap() - (f64::from(strength) + 3.0).sqrt().recip()).abs() < 1e-12);
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let mut scale = 1.0;
    let mut sigmas: Vec<DMatrix<f64>> = Vec::new();
    for _ in 0..40_000 {
        let about = &estimates * estimates.transpose() + DMatrix::identity(tasks, tasks) * (scale * f64::from(strength));
        let sigma = inverse_wishart(&about, strength as usize + tasks + 1 + features, &mut random);
        scale = drawn_scale(&sigma.clone().try_inverse().unwrap(), strength, &mut random);
        sigmas.push(sigma);
    }
    for (s, t) in [(0, 1), (0, 2), (1, 3), (2, 3)] {
        let mut values: Vec<f64> = sigmas.iter().map(|sigma| correlation(sigma, s, t)).collect();
        is_near(pair(&relations, s, t), summary(&mut values), 0.012);
    }
}

/// A chain that draws all parameters of a feature with the mean at once, and Sigma as the inverse of a sum of squares.
#[test]
fn with_noise_and_a_flat_mean_draws_are_those_of_another_chain() {
    let (tasks, features, strength) = (4, 6, 6);
    let errors = |t: usize| [0.4, 0.9, 0.6, 1.2][t];
    let (estimates, summaries) = estimates(tasks, features, &errors);
    let fit = full_of(&summaries, f64::from(strength), false);
    let held = Some(f64::from(strength));
    let relations = Relations::of(&fit, &Options { draws: Some(8_000), strength: held, ..Options::default() }).unwrap();
    let (mut omega, mut scale) = (DMatrix::identity(tasks, tasks), 1.0);
    let own = DVector::from_fn(tasks, |t, _| errors(t).powi(-2));
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut values = vec![Vec::new(); 6];
    let pairs = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)];
    for sweep in 0..60_000 {
        let mut precision = DMatrix::zeros(tasks + 1, tasks + 1);
        precision.view_mut((0, 0), (tasks, tasks)).copy_from(&(&omega + DMatrix::from_diagonal(&own)));
        for t in 0..tasks {
            (precision[(t, tasks)], precision[(tasks, t)]) = (own[t], own[t]);
        }
        precision[(tasks, tasks)] = own.sum();
        let root = precision.cholesky().unwrap();
        let mut about = DMatrix::identity(tasks, tasks) * (scale * f64::from(strength));
        for j in 0..features {
            let pulls = own.component_mul(&estimates.column(j));
            let right = DVector::from_fn(tasks + 1, |t, _| if t < tasks { pulls[t] } else { pulls.sum() });
            let noise = DVector::from_fn(tasks + 1, |_, _| normal(&mut random));
            let drawn = root.solve(&right) + root.l().transpose().solve_upper_triangular(&noise).unwrap();
            let u = drawn.rows(0, tasks);
            about += u * u.transpose();
        }
        let sigma = inverse_wishart(&about, strength as usize + tasks + 1 + features, &mut random);
        if sweep >= 500 {
            pairs.iter().zip(&mut values).for_each(|((s, t), values)| values.push(correlation(&sigma, *s, *t)));
        }
        omega = sigma.try_inverse().unwrap();
        scale = drawn_scale(&omega, strength, &mut random);
    }
    for ((s, t), values) in pairs.iter().zip(&mut values) {
        is_near(pair(&relations, *s, *t), summary(values), 0.025);
    }
    // One draw of the parameters at the fitted Sigma, and of Sigma, would be too sure: it leaves out that Sigma is not known.
    assert!(relations.pairs.iter().all(|own| own.contraction.unwrap() < 0.9));
}

/// Where the strength is drawn with the covariance: a chain that draws it given Sigma, by random steps, and the law of Sigma by its triangular factor.
#[test]
fn the_strength_is_drawn_as_by_another_chain() {
    let (tasks, features) = (4, 6);
    let (estimates, summaries) = estimates(tasks, features, &|_| 1e-4);
    let relations = Relations::of(&full_of(&summaries, 6.0, true), &Options { draws: Some(8_000), ..Options::default() }).unwrap();
    assert!((relations.prior_sd.unwrap() - 1.0 / 3.0).abs() < 1e-12);
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let count = tasks as f64;
    let (mut scale, mut strength) = (1.0, 6.0);
    let mut values = vec![Vec::new(); 3];
    let pairs = [(0, 1), (0, 2), (2, 3)];
    for _ in 0..150_000 {
        let about = &estimates * estimates.transpose() + DMatrix::identity(tasks, tasks) * (scale * strength);
        let root = about.try_inverse().unwrap().cholesky().unwrap().l();
        let freedom = strength + count + 1.0 + features as f64;
        let triangle = DMatrix::from_fn(tasks, tasks, |i, j| match i.cmp(&j) {
            std::cmp::Ordering::Equal => rand_distr::ChiSquared::new(freedom - i as f64).unwrap().sample(&mut random).sqrt(),
            std::cmp::Ordering::Greater => normal(&mut random),
            std::cmp::Ordering::Less => 0.0,
        });
        let half = root * triangle;
        let omega = &half * half.transpose();
        let trace = omega.trace();
        let log_determinant = omega.determinant().ln();
        // Both given Sigma: kappa gamma, log nu by a step.
        scale =
            rand_distr::Gamma::new(0.5 * (count * (strength + count + 1.0) + 1.0), 2.0 / (strength * trace)).unwrap().sample(&mut random);
        let density = |strength: f64| {
            let freedom = strength + count + 1.0;
            let gammas: f64 = (0..tasks).map(|i| statrs::function::gamma::ln_gamma(0.5 * (freedom - i as f64))).sum();
            let law = 0.5 * freedom * (count * (0.5 * scale * strength).ln() + log_determinant) - gammas - 0.5 * scale * strength * trace;
            law + strength.ln() - 1.5 * (strength + 3.0).ln()
        };
        for _ in 0..3 {
            let there = strength * (0.8 * normal(&mut random)).exp();
            if there < 1e6 && (density(there) - density(strength)) > Normal::standard().cdf(normal(&mut random)).ln() {
                strength = there;
            }
        }
        let sigma = omega.try_inverse().unwrap();
        pairs.iter().zip(&mut values).for_each(|((s, t), values)| values.push(correlation(&sigma, *s, *t)));
    }
    for ((s, t), values) in pairs.iter().zip(&mut values) {
        is_near(pair(&relations, *s, *t), summary(values), 0.025);
    }
}

/// Of one factor: intervals of 80 and 95 % hold about as many, K fitted. The pairs of a table go together, so that shares of a table vary by .25 and .14; the bounds are three
/// standard errors.
#[test]
fn intervals_of_factors_cover() {
    let (tasks, features, tables) = (12, 15, 30);
    let (mut held, mut pairs) = ([0usize; 2], 0);
    for seed in 0..tables {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let own: Vec<f64> = (0..tasks).map(|_| 1.0 / rand_distr::Gamma::new(2.0, 0.5).unwrap().sample(&mut random)).collect();
        let loadings: Vec<f64> = own.iter().map(|own| 1.5 * own.sqrt() * normal(&mut random)).collect();
        let names: Vec<String> = (0..features).map(|j| format!("x{j}")).collect();
        let factors: Vec<f64> = (0..features).map(|_| normal(&mut random)).collect();
        let mut summaries = Summaries::new(&names);
        for t in 0..tasks {
            let value = |j: &f64, random: &mut ChaCha8Rng| 1.0 + loadings[t] * j + own[t].sqrt() * normal(random) + 0.5 * normal(random);
            let estimate: Vec<Option<f64>> = factors.iter().map(|j| Some(value(j, &mut random))).collect();
            summaries.push(&format!("t{t}"), &estimate, &(DMatrix::identity(features, features) * 0.25)).unwrap();
        }
        let fit = Model::new(Gaussian { noise: Noise::Known }, Factor::new(1, SCALAR))
            .intervals(Intervals::PlugIn)
            .fit(&summaries.tasks())
            .unwrap();
        let mut added = 0;
        for (k, level) in [0.8, 0.95].into_iter().enumerate() {
            let relations = Relations::of(&fit, &Options { draws: Some(400), level, ..Options::default() }).unwrap();
            // A fit that finds no factor has no intervals.
            if relations.source == Source::Sampled {
                let truth = |s: usize, t: usize| {
                    let variance = |t: usize| loadings[t].powi(2) + own[t];
                    loadings[s] * loadings[t] / (variance(s) * variance(t)).sqrt()
                };
                let holds = |own: &&Pair| (own.low.unwrap()..own.high.unwrap()).contains(&truth(own.tasks.0, own.tasks.1));
                held[k] += relations.pairs.iter().filter(holds).count();
                added = relations.pairs.len();
            }
        }
        pairs += added;
    }
    let share = |k: usize| held[k] as f64 / pairs as f64;
    assert!(pairs >= 20 * 66, "{pairs} pairs");
    assert!((share(0) - 0.8).abs() < 0.137 && (share(1) - 0.95).abs() < 0.077, "{} of 80 %, {} of 95 %", share(0), share(1));
}

fn related(tasks: usize, features: usize, rows: usize, noise: f64, layout: Layout, seed: u64) -> Rows {
    let names: Vec<String> = (0..tasks).map(|t| t.to_string()).collect();
    let strength = if matches!(layout, Layout::Random { .. }) { 0.6..0.65 } else { 0.4..0.45 };
    let graph = task_graph(layout, &names, strength, seed).unwrap();
    let mean = DVector::from_fn(features, |k, _| 0.5 * (k % 3) as f64);
    let prior = Prior::new(Mean::Given(mean), Relatedness::Graph(graph), DMatrix::identity(features, features));
    gaussian(&prior, tasks, rows, NoiseLevel::Sd(noise), seed).unwrap().rows
}

fn design(rows: &Rows) -> Design {
    Design::varying(rows.features()).without_intercept()
}

/// An edge that is alone among its tasks makes a correlation that is its partial correlation in every draw, so that the means of both are known from the fit's own
/// edges, which are the same draws.
#[test]
fn correlations_of_a_graph_are_those_of_the_draws_of_its_edges() {
    let rows = related(10, 60, 80, 0.5, Layout::Random { edges: 1 }, 3);
    let fit = Model::new(Gaussian::default(), Graph::new(SCALAR)).fit(&rows.tasks(&design(&rows))).unwrap();
    let relations = Relations::of(&fit, &Options::default()).unwrap();
    let edges = fit.edge_probabilities().unwrap();
    let (s, t, edge) = edges.edges().max_by(|a, b| a.2.probability.unwrap().total_cmp(&b.2.probability.unwrap())).unwrap();
    assert!(edge.probability.unwrap() > 0.95);
    let first = &relations.pairs[0];
    assert_eq!((relations.source, first.tasks, first.is_sure()), (Source::Sampled, (s.min(t), s.max(t)), true));
    assert!((first.correlation.unwrap() - edge.probability.unwrap() * edge.partial_correlation).abs() < 0.02);
    let (low, high) = edge.interval.unwrap();
    assert!((first.low.unwrap() - low).abs() < 0.03 && (first.high.unwrap() - high).abs() < 0.03);
    assert!(relations.sure() <= 2);
    assert!(relations.notes.iter().any(|note| note.contains("would have been seen half the time")));
}

/// The probability that two independent normal numbers have the same sign and are within a factor of two, by a sum over one of them.
fn alike(first: (f64, f64), second: (f64, f64)) -> f64 {
    let (a, b) = (Normal::new(first.0, first.1).unwrap(), Normal::new(second.0, second.1).unwrap());
    let steps = 20_000;
    let (low, wide) = (first.0 - 9.0 * first.1, 18.0 * first.1 / f64::from(steps));
    let at = |i: i32| {
        let x = low + wide * (f64::from(i) + 0.5);
        let (one, two) = (b.cdf(0.5 * x), b.cdf(2.0 * x));
        a.pdf(x) * (two - one).abs() * wide
    };
    (0..steps).map(at).sum()
}

#[test]
fn sharing_of_unrelated_tasks_is_an_integral() {
    let rows = related(5, 8, 30, 1.0, Layout::Chain, 1);
    let fit =
        Model::new(Gaussian::default(), Independent::default()).intervals(Intervals::PlugIn).fit(&rows.tasks(&design(&rows))).unwrap();
    let relations = Relations::of(&fit, &Options { draws: Some(4_000), ..Options::default() }).unwrap();
    assert_eq!((relations.source, relations.draws), (Source::Assumed, None));
    let own = |t: usize, j: usize| (fit.coefficients(t)[j], fit.covariance(t)[(j, j)].sqrt());
    let rate = |t: usize, j: usize| Normal::standard().cdf(-(own(t, j).0 / own(t, j).1).abs());
    let mut seen = 0;
    for pair in &relations.pairs {
        let (s, t) = pair.tasks;
        // Rates next to .05 may be on either side of it by chance.
        if (0..8).any(|j| [s, t].iter().any(|task| (rate(*task, j) - 0.05).abs() < 0.015)) {
            continue;
        }
        let asked: Vec<usize> = (0..8).filter(|j| rate(s, *j) < 0.05 || rate(t, *j) < 0.05).collect();
        let expected = asked.iter().map(|j| alike(own(s, *j), own(t, *j))).sum::<f64>() / asked.len() as f64;
        let sharing = pair.sharing.as_ref().unwrap();
        assert_eq!(sharing.features, asked.len());
        assert!((sharing.share - expected).abs() < 0.01, "{} against {expected}", sharing.share);
        assert!(sharing.low <= sharing.share && sharing.share <= sharing.high && sharing.high <= 1.0);
        seen += 1;
    }
    assert!(seen >= 3);
}

/// Whatever the structure: sharing is there, and correlations are drawn, given or assumed.
#[test]
fn every_structure_says_what_it_knows() {
    let rows = related(9, 5, 40, 0.7, Layout::Chain, 4);
    let tasks = rows.tasks(&design(&rows));
    let of = |fit: &Fit| Relations::of(fit, &Options { draws: Some(200), ..Options::default() }).unwrap();
    let exchangeable = of(&Model::new(Gaussian::default(), Exchangeable::new(SCALAR)).fit(&tasks).unwrap());
    assert!(
        exchangeable.source == Source::Assumed && exchangeable.pairs.iter().all(|own| own.correlation.is_none() && own.sharing.is_some())
    );
    let pooled = of(&Model::new(Gaussian::default(), Pooled { task_intercepts: false }).fit(&tasks).unwrap());
    assert!(pooled.sharing_features.is_empty() && pooled.pairs.iter().all(|own| own.sharing.is_none()));
    let fit = Model::new(Gaussian::default(), Clusters::new(SCALAR, 2)).fit(&tasks).unwrap();
    let clusters = of(&fit);
    let together = fit.relatedness().unwrap();
    assert!(clusters.pairs.iter().all(|own| (own.together.unwrap() - together[own.tasks]).abs() < 1e-12 && own.correlation.is_none()));
    let robust = Robust::new(Box::new(Full::new(SCALAR))).unwrap();
    let robust = of(&Model::new(Gaussian::default(), robust).fit(&tasks).unwrap());
    assert!(robust.source == Source::Sampled && robust.pairs.iter().all(|own| own.low < own.high));
    let told = DescriptorValues::Numbers((0..9).map(|t| f64::from(t) * 0.4).collect());
    let kernel = |intervals| {
        let descriptors = Descriptors::new((0..9).map(|t| format!("t{}", t + 1)).collect(), vec![("place".into(), told.clone())]).unwrap();
        let structure = Kernel::new(SCALAR, KernelShape::Matern32, descriptors);
        Model::new(Gaussian::default(), structure).intervals(intervals).fit(&tasks).unwrap()
    };
    let averaged = of(&kernel(Intervals::Full));
    assert!(averaged.source == Source::Hyperparameters && averaged.pairs.iter().all(|own| own.low < own.high && own.sd > Some(0.0)));
    // Their sign is the kernel's.
    assert!(averaged.pairs.iter().all(|own| own.local_false_sign_rate.is_none() && !own.is_sure()));
    let held = of(&kernel(Intervals::PlugIn));
    assert!(held.source == Source::Fitted && held.pairs.iter().all(|own| own.low.is_none() && own.correlation == own.fitted));
}

#[test]
fn what_is_not_identified_is_said() {
    let note = |rows: &Rows, strength: Option<f64>| {
        let structure = Full::new(SCALAR);
        let fit = Model::new(Gaussian::default(), structure).fit(&rows.tasks(&design(rows))).unwrap();
        Relations::of(&fit, &Options { draws: Some(400), strength, ..Options::default() }).unwrap().notes.join("; ")
    };
    let few = note(&related(4, 6, 20, 1.0, Layout::Chain, 1), None);
    assert!(few.contains("not identified: beside a common mean 4 tasks show 3 differences in each of 6 directions"), "{few}");
    let narrow = note(&related(20, 2, 20, 1.0, Layout::Chain, 1), Some(60.0));
    assert!(narrow.contains("the data add") && narrow.contains("190 correlations rest on 2 varying directions"), "{narrow}");
    let saturated = note(&related(8, 12, 10, 0.5, Layout::Chain, 1), None);
    assert!(saturated.contains("8 of 8 tasks have no more rows than the 12 features"), "{saturated}");
    let plain = note(&related(12, 40, 80, 0.3, Layout::Chain, 1), None);
    assert!(!plain.contains("identified") && !plain.contains("add") && !plain.contains("rows"), "{plain}");
}

#[test]
fn draws_are_the_same_whatever_the_thread_count() {
    let rows = related(7, 10, 20, 1.0, Layout::Chain, 2);
    let tasks = rows.tasks(&design(&rows));
    let full = Model::new(Gaussian::default(), Full::new(SCALAR)).fit(&tasks).unwrap();
    let graph = Model::new(Gaussian::default(), Graph::new(SCALAR)).fit(&tasks).unwrap();
    let said = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let options = Options { draws: Some(100), ..Options::default() };
        let of = |fit: &Fit| serde_json::to_string(&Relations::of(fit, &options).unwrap()).unwrap();
        pool.install(|| (of(&full), of(&graph)))
    };
    assert_eq!(said(1), said(3));
}

#[test]
fn stability_tells_plain_relations_from_chance() {
    let moved = |rows: &Rows| {
        let make = |_: u64| Ok(Model::new(Gaussian::default(), Full::new(SCALAR).with_strength(Some(8.0))));
        let fit = make(0).unwrap().fit(&rows.tasks(&design(rows))).unwrap();
        let own = stability(rows, &design(rows), &fit, (4, 0), &make).unwrap();
        assert!(own.seeds.is_none() && own.rows.pairs.iter().all(|pair| pair.low <= pair.high));
        own.rows.moved.unwrap() / own.rows.size.unwrap()
    };
    let (clear, noisy) = (moved(&related(6, 30, 60, 0.2, Layout::Chain, 5)), moved(&related(6, 30, 12, 4.0, Layout::Chain, 5)));
    assert!(clear < 0.1 && noisy > 2.0 * clear, "{clear} and {noisy}");
    let rows = related(10, 60, 80, 0.5, Layout::Random { edges: 1 }, 3);
    let make = |seed: u64| Ok(Model::new(Gaussian::default(), Graph::new(SCALAR).with_seed(seed)));
    let fit = make(0).unwrap().fit(&rows.tasks(&design(&rows))).unwrap();
    let problem = stability(&rows, &design(&rows), &fit, (801, 0), &make).unwrap_err().to_string();
    assert!(problem.contains("more parts than there are rows; give at most 800"), "{problem}");
    let own = stability(&rows, &design(&rows), &fit, (2, 0), &make).unwrap();
    assert_eq!((own.rows.edges, own.rows.edges_kept), (Some(fit.graph().edges().count()), Some(1.0)));
    assert_eq!(own.seeds.unwrap().edges_kept, Some(1.0));
    let make = |_: u64| Ok(Model::new(Gaussian::default(), Exchangeable::new(SCALAR)));
    let fit = make(0).unwrap().fit(&rows.tasks(&design(&rows))).unwrap();
    assert!(stability(&rows, &design(&rows), &fit, (2, 0), &make).unwrap_err().to_string().contains("nothing to be stable"));
}

#[test]
fn the_command_prints_tables_and_refuses_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| cognate(folder.path(), arguments);
    let simulate =
        ["simulate", "--tasks", "6", "--features", "8", "--rows", "30", "--graph", "chain", "--strength", "0.4,0.45", "-o", "table.csv"];
    assert_eq!(run(&simulate).status, 0);
    let fit = [
        "fit",
        "table.csv",
        "--task",
        "task",
        "--target",
        "y",
        "--structure",
        "full",
        "--model",
        "model",
        "--stability=3",
        "--format",
        "json",
    ];
    let fitted = run(&fit);
    assert_eq!(fitted.status, 0, "{}", fitted.err);
    let value: serde_json::Value = serde_json::from_str(&fitted.out).unwrap();
    assert_eq!((value["stability"]["parts"].as_u64(), value["stability"]["rows"]["pairs"].as_array().unwrap().len()), (Some(3), 15));
    let text = run(&["relatedness", "model"]).out;
    assert!(text.starts_with("Relatedness of 6 tasks, structure full: correlations by 1000 draws"), "{text}");
    let csv = run(&["relatedness", "model", "--task", "t1", "--draws", "200", "--format", "csv", "--quiet"]).out;
    assert!(csv.lines().count() == 6 && csv.starts_with("task,other,correlation,low,high,sd,"), "{csv}");
    let json = run(&["relatedness", "model", "--draws", "200", "--interval", "0.8", "--format", "json"]).out;
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((value["source"].as_str(), value["level"].as_f64(), value["draws"].as_u64()), (Some("sampled"), Some(0.8), Some(200)));
    for (arguments, word) in [
        (vec!["relatedness", "model", "--task", "t9"], "did you mean"),
        (vec!["relatedness", "model", "--interval", "95"], "between 0 and 1"),
        (vec!["relatedness", "model", "--draws", "3"], "fewer than 40 draws"),
        (vec!["relatedness", "model", "-o", "model"], "would be overwritten"),
        (vec!["fit", "table.csv", "--task", "task", "--target", "y", "--stability"], "nothing to be stable"),
        (vec!["fit", "table.csv", "--task", "task", "--target", "y", "--structure", "full", "--stability=1"], "at least 2 parts"),
    ] {
        let refused = run(&arguments);
        assert!(refused.status == 1 && refused.err.contains(word), "{arguments:?}: {}", refused.err);
    }
}

/// Covariances drawn from the prior, K fitted: of 40 tables of 15 pairs intervals of 80 and 95 % hold about as many (the bounds are three standard errors of tables by which shares
/// vary, .15 and .08 each).
#[test]
fn intervals_cover_what_was_drawn_from_the_prior() {
    let (tasks, features, strength, tables) = (6, 12, 7usize, 40);
    let mut held = [0usize; 2];
    for seed in 0..tables {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let sigma = inverse_wishart(&(DMatrix::identity(tasks, tasks) * strength as f64), strength + tasks + 1, &mut random);
        let truth = sigma.clone().cholesky().unwrap().l() * DMatrix::from_fn(tasks, features, |_, _| normal(&mut random));
        let names: Vec<String> = (0..features).map(|j| format!("x{j}")).collect();
        let mut summaries = Summaries::new(&names);
        for t in 0..tasks {
            let own: Vec<Option<f64>> = truth.row(t).iter().map(|value| Some(2.0 + value + 0.6 * normal(&mut random))).collect();
            summaries.push(&format!("t{t}"), &own, &(DMatrix::identity(features, features) * 0.36)).unwrap();
        }
        let fit = full_of(&summaries, strength as f64, false);
        for (k, level) in [0.8, 0.95].into_iter().enumerate() {
            let relations =
                Relations::of(&fit, &Options { draws: Some(400), level, strength: Some(strength as f64), ..Options::default() }).unwrap();
            let holds = |own: &&Pair| (own.low.unwrap()..own.high.unwrap()).contains(&correlation(&sigma, own.tasks.0, own.tasks.1));
            held[k] += relations.pairs.iter().filter(holds).count();
        }
    }
    let share = |k: usize| held[k] as f64 / (15 * tables) as f64;
    assert!((share(0) - 0.8).abs() < 0.07 && (share(1) - 0.95).abs() < 0.04, "{} of 80 %, {} of 95 %", share(0), share(1));
}
