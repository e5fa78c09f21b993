//! Clusters of tasks that nobody has named: against brute force, and found where they are.

#[path = "common/agreement.rs"]
mod agreement;
#[path = "common/command.rs"]
mod command;

use agreement::rand_index;
use cognate::{
    Binomial, Clusters, Design, Exchangeable, Family, FeatureCovariance, Fit, Gamma, Gaussian, Generalised, Inference, Intervals, Mean,
    Mixture, Model, Normal, Poisson, Posterior, Prior, Quadratic, Quadratics, Relatedness, Rows,
};
use command::cognate;
use nalgebra::{DMatrix, DVector, dmatrix, dvector};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma as Gammas, Poisson as Counts, StandardNormal};
use std::fmt::Write;

fn normal(random: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(random)
}

fn quadratics(tasks: usize) -> (Quadratics, Vec<Quadratic>) {
    let task = |t: usize| {
        let root = DMatrix::from_fn(4, 3, |i, j| ((i * 5 + j * 3 + t * 7) % 11) as f64 / 5.0 - 1.0);
        let linear = DVector::from_fn(3, |i, _| ((i * 3 + t * 5) % 7) as f64 - 2.0);
        Quadratic { constant: 0.3, linear, curvature: root.transpose() * &root + DMatrix::identity(3, 3) * 0.2 }
    };
    let each: Vec<Quadratic> = (0..tasks).map(task).collect();
    (Quadratics::new(&each).unwrap(), each)
}

fn log_normal(x: &DVector<f64>, covariance: &DMatrix<f64>) -> f64 {
    let inverse = covariance.clone().try_inverse().unwrap();
    -0.5 * (x.len() as f64 * (2.0 * std::f64::consts::PI).ln() + covariance.determinant().ln() + x.dot(&(inverse * x)))
}

/// J^-1 h are observations of w_t with covariance J^-1, so that a mixture of normal priors has a closed form.
#[test]
fn posteriors_equal_the_mixture_in_closed_form() {
    let (tasks, p) = (6, 3);
    let (data, each) = quadratics(tasks);
    let mixture = Mixture {
        shares: vec![0.5, 0.3, 0.2],
        scales: vec![0.7, 1.4],
        positions: dmatrix![-0.8, 1.1; 0.5, 0.2],
        spread: dmatrix![0.9, 0.0; 0.3, 1.2],
    };
    let factor = dmatrix![0.8, 0.0; 0.3, 0.5];
    // The third feature does not vary.
    let mean = dvector![0.4, -0.3, 0.2];
    let prior = Prior {
        mean_features: vec![0, 1, 2],
        varying: vec![0, 1],
        mixture: Some(mixture.clone()),
        ..Prior::new(Mean::Given(mean.clone()), Relatedness::Identity, factor.clone())
    };
    let posterior = Posterior::given(&data, &prior).unwrap();
    let memberships = posterior.memberships().unwrap();
    let mut total = 0.0;
    for (t, own) in each.iter().enumerate() {
        let noise = own.curvature.clone().try_inverse().unwrap();
        let y = &noise * &own.linear;
        let volume = 0.5 * (p as f64 * (2.0 * std::f64::consts::PI).ln() - own.curvature.determinant().ln());
        let constant = own.constant + 0.5 * own.linear.dot(&y) + volume;
        let parts: Vec<(f64, DVector<f64>, DMatrix<f64>)> = (0..3)
            .map(|c| {
                let (away, root) = match c {
                    2 => (dvector![0.0, 0.0], &mixture.spread * 2.0),
                    c => (&mixture.spread * mixture.positions.column(c), &factor * mixture.scales[c]),
                };
                let mut k = DMatrix::zeros(p, p);
                k.view_mut((0, 0), (2, 2)).copy_from(&(&root * root.transpose()));
                let centre = &mean + dvector![away[0], away[1], 0.0];
                let seen = &k + &noise;
                let gain = &k * seen.clone().try_inverse().unwrap();
                let height = mixture.shares[c].ln() + constant + log_normal(&(&y - &centre), &seen);
                (height, &centre + &gain * (&y - &centre), &k - &gain * &k)
            })
            .collect();
        let sum: f64 = parts.iter().map(|part| part.0.exp()).sum();
        total += sum.ln();
        let shares: Vec<f64> = parts.iter().map(|part| part.0.exp() / sum).collect();
        shares.iter().enumerate().for_each(|(c, share)| assert!((memberships[(c, t)] - share).abs() < 1e-10));
        let w = parts.iter().zip(&shares).fold(DVector::zeros(p), |all, (part, share)| all + &part.1 * *share);
        let covariance = parts.iter().zip(&shares).fold(DMatrix::zeros(p, p), |all, (part, share)| {
            let away = &part.1 - &w;
            all + (&part.2 + &away * away.transpose()) * *share
        });
        assert!((posterior.coefficients(t) - &w).amax() < 1e-10);
        assert!((posterior.covariance(t) - &covariance).amax() < 1e-10);
        assert!((posterior.deviation(t).0 - (&w - &mean)).amax() < 1e-10);
        let squares = own.curvature.dot(&(&covariance + &w * w.transpose())) - 2.0 * own.linear.dot(&w);
        assert!((posterior.residuals()[t] - squares).abs() < 1e-9);
    }
    assert!((posterior.log_likelihood() - total).abs() < 1e-10);
    // Draws have these moments.
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let draws: Vec<DMatrix<f64>> = (0..20_000).map(|_| posterior.sample(&mut random).unwrap()).collect();
    for t in 0..tasks {
        let (w, covariance) = (posterior.coefficients(t), posterior.covariance(t));
        for k in 0..p {
            let mean = draws.iter().map(|own| own[(t, k)]).sum::<f64>() / draws.len() as f64;
            let variance = draws.iter().map(|own| (own[(t, k)] - mean).powi(2)).sum::<f64>() / draws.len() as f64;
            let error = (covariance[(k, k)] / draws.len() as f64).sqrt();
            assert!((mean - w[k]).abs() < 5.0 * error + 1e-12, "task {t}, feature {k}");
            assert!(
                k == 2 || (variance / covariance[(k, k)] - 1.0).abs() < 0.08,
                "task {t}, feature {k}: {variance} against {}",
                covariance[(k, k)]
            );
        }
    }
}

/// K = dl/dK by differences, and what is refused.
#[test]
fn slopes_in_the_feature_covariance_are_differences_and_odd_priors_are_refused() {
    let (data, _) = quadratics(6);
    let mixture = Mixture { shares: vec![0.6, 0.4, 0.0], scales: vec![1.0, 1.5], positions: dmatrix![-0.8, 1.1], spread: dmatrix![1.0] };
    let at = |k: f64| {
        let prior = Prior::new(Mean::Given(dvector![0.1, 0.2, 0.3]), Relatedness::Identity, dmatrix![k.sqrt()]);
        Prior { mean_features: vec![0, 1, 2], varying: vec![1], mixture: Some(mixture.clone()), ..prior }
    };
    // Nobody is of none.
    assert_eq!(Posterior::given(&data, &at(0.5)).unwrap().memberships().unwrap().row(2).sum(), 0.0);
    for k in [0.5, 1e-3] {
        let step = 1e-5 * k;
        let value = |k: f64| Posterior::given(&data, &at(k)).unwrap().log_likelihood();
        let difference = (value(k + step) - value(k - step)) / (2.0 * step);
        let slope = Posterior::given(&data, &at(k)).unwrap().covariance_slope()[(0, 0)];
        assert!((slope - difference).abs() < 1e-5 * (1.0 + difference.abs()), "{slope} against {difference}");
    }
    let refused = [
        Prior { mixture: Some(Mixture { shares: vec![0.6, 0.6, 0.0], ..mixture.clone() }), ..at(0.5) },
        Prior { mixture: Some(Mixture { scales: vec![1.0], ..mixture.clone() }), ..at(0.5) },
        Prior { mean: Mean::Profiled, ..at(0.5) },
        Prior { relatedness: Relatedness::Dense(DMatrix::identity(6, 6)), ..at(0.5) },
    ];
    refused.iter().for_each(|prior| assert!(Posterior::given(&data, prior).is_err()));
}

/// Tasks of two kinds, alternating but for the last, which is of neither; targets by the linear predictor.
fn two_kinds(tasks: usize, rows_each: usize, target: impl Fn(f64, &mut ChaCha8Rng) -> f64) -> Rows {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut rows = Rows::new("y", &["a", "b"]);
    for t in 0..tasks {
        let centre = [[0.8, 0.7, -0.5], [-0.3, -0.6, 0.5]][t % 2];
        let other = [1.5, -2.5, -2.5];
        let w: Vec<f64> = (0..3).map(|k| if t + 1 == tasks { other[k] } else { centre[k] + 0.1 * normal(&mut random) }).collect();
        for _ in 0..rows_each {
            let x = [normal(&mut random), normal(&mut random)];
            let eta = w[0] + w[1] * x[0] + w[2] * x[1];
            rows.push(&format!("task {t}"), &x, target(eta, &mut random), 1.0).unwrap();
        }
    }
    rows
}

fn of_family(rows: &Rows, family: impl Family + 'static, clusters: Clusters) -> Fit {
    let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows.clone()).unwrap();
    Model::new(Generalised::new(family), clusters).intervals(Intervals::PlugIn).fit(&tasks).unwrap()
}

fn assert_found(fit: &Fit, tasks: usize) {
    assert!(fit.converged(), "{}", fit.structure());
    for t in 0..tasks - 1 {
        assert_eq!(fit.cluster_of(t).unwrap(), fit.cluster_of(t % 2).unwrap(), "{} of {}: {}", t, fit.family(), fit.memberships().unwrap());
    }
    assert_ne!(fit.cluster_of(0), fit.cluster_of(1));
    assert_eq!(fit.cluster_of(tasks - 1), None, "{}: {:.3}", fit.family(), fit.memberships().unwrap());
}

#[test]
fn clusters_are_found_in_every_family_and_a_task_of_neither_is_let_go() {
    let clusters = || Clusters::new(FeatureCovariance::Diagonal, 2);
    let gaussian = two_kinds(15, 40, |eta, random| eta + 0.5 * normal(random));
    let plain = Model::new(Gaussian::default(), clusters())
        .intervals(Intervals::PlugIn)
        .fit(&gaussian.tasks(&Design::varying(gaussian.features())))
        .unwrap();
    assert_found(&plain, 15);
    // The same row by row, as far as the exchangeable tasks from which both start are at their optimum.
    let rowwise = of_family(&gaussian, Normal::default(), clusters());
    assert!(
        (plain.log_likelihood() - rowwise.log_likelihood()).abs() < 1e-3,
        "{} and {}",
        plain.log_likelihood(),
        rowwise.log_likelihood()
    );
    assert!((plain.memberships().unwrap() - rowwise.memberships().unwrap()).amax() < 1e-3);
    assert!((plain.coefficients(3) - rowwise.coefficients(3)).amax() < 1e-3);
    assert_found(
        &of_family(&two_kinds(15, 40, |eta, random| Counts::new(eta.min(6.0).exp()).unwrap().sample(random)), Poisson, clusters()),
        15,
    );
    let gamma = two_kinds(15, 40, |eta, random| Gammas::new(3.0, eta.exp() / 3.0).unwrap().sample(random));
    let fit = of_family(&gamma, Gamma::default(), clusters());
    assert_found(&fit, 15);
    // The squared coefficient of variation, 1 / 3.
    assert!((fit.family_dispersion(0)[0].1 * 3.0 - 1.0).abs() < 0.2, "{:?}", fit.family_dispersion(0));
    let coin = |eta: f64, random: &mut ChaCha8Rng| f64::from(u8::from(random.random::<f64>() < 1.0 / (1.0 + (-eta).exp())));
    assert_found(&of_family(&two_kinds(15, 300, coin), Binomial::default(), clusters()), 15);
}

/// With no variation inside a cluster each task's likelihood is that of known parameters.
#[test]
fn bounds_are_exact_where_clusters_do_not_vary() {
    let coin = |eta: f64, random: &mut ChaCha8Rng| f64::from(u8::from(random.random::<f64>() < 1.0 / (1.0 + (-eta).exp())));
    let rows = two_kinds(7, 25, coin);
    let design = Design::varying(rows.features());
    let kept = cognate::FamilyRows::new(&rows, &design, &cognate::Coordinates::identity(&design), &Binomial::default()).unwrap();
    let mixture = Mixture {
        shares: vec![0.7, 0.3, 0.0],
        scales: vec![1.0, 1.0],
        positions: dmatrix![0.5, -0.5; 0.4, -0.4; -0.3, 0.3],
        spread: DMatrix::identity(3, 3),
    };
    let prior = Prior::new(Mean::Given(dvector![0.1, 0.0, 0.0]), Relatedness::Identity, DMatrix::zeros(3, 3));
    let prior = Prior { mixture: Some(mixture.clone()), ..prior };
    let found = cognate::Approximation::of(&kept, &Binomial::default(), &prior, Inference::Variational).unwrap();
    let mut total = 0.0;
    for t in 0..7 {
        let of = |c: usize| {
            let w = dvector![0.1, 0.0, 0.0] + mixture.positions.column(c);
            let row = |row: cognate::FamilyRow| {
                let eta = w.iter().zip(row.x).map(|(w, x)| w * x).sum::<f64>();
                -(1.0 + (if row.y == 1.0 { -eta } else { eta }).exp()).ln()
            };
            mixture.shares[c] * kept.of(t).map(row).sum::<f64>().exp()
        };
        total += (of(0) + of(1)).ln();
    }
    assert!((found.log_likelihood - total).abs() < 1e-9, "{} and {total}", found.log_likelihood);
}

#[test]
fn many_tasks_of_four_kinds_are_told_apart() {
    let (tasks, d) = (200, 10);
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let centres: Vec<DVector<f64>> = (0..4).map(|_| DVector::from_fn(d, |_, _| 0.5 * normal(&mut random))).collect();
    let names: Vec<String> = (1..d).map(|k| format!("x{k}")).collect();
    let mut rows = Rows::new("y", &names);
    for t in 0..tasks {
        let w = &centres[t % 4] + DVector::from_fn(d, |_, _| 0.3 * normal(&mut random));
        for _ in 0..50 {
            let x: Vec<f64> = (1..d).map(|_| normal(&mut random)).collect();
            let y = w[0] + x.iter().zip(w.iter().skip(1)).map(|(x, w)| x * w).sum::<f64>() + normal(&mut random);
            rows.push(&t.to_string(), &x, y, 1.0).unwrap();
        }
    }
    let design = Design::varying(rows.features());
    let fit = Model::new(Gaussian::default(), Clusters::new(FeatureCovariance::Diagonal, 4)).fit(&rows.tasks(&design)).unwrap();
    assert!(rand_index(&fit, |t| t % 4) >= 0.95);
    // The means of the clusters are known as well as they say.
    let clusters = fit.clusters();
    let away = (0..4).flat_map(|kind| {
        let own = &clusters[fit.cluster_of(kind).unwrap()];
        let centre = &centres[kind];
        (0..d).map(|k| (own.mean[k] - centre[k]) / own.mean_covariance[(k, k)].sqrt()).collect::<Vec<_>>()
    });
    let squares = away.map(|z| z * z).sum::<f64>() / (4 * d) as f64;
    assert!((0.5..1.7).contains(&squares), "mean squared standard score {squares}");
    // Tasks of a kind are joined, and others are not.
    let graph = fit.graph();
    assert!(graph.edges().all(|(_, _, edge)| edge.is_membership()));
    let right = graph.edges().filter(|(s, t, _)| s % 4 == t % 4).count();
    assert!(right * 20 > graph.edges().count() * 19 && right > 4 * 50 * 49 / 2 * 9 / 10);
    let together = fit.relatedness().unwrap();
    assert!(together[(0, 4)] > 0.9 && together[(0, 1)] < 0.1);
    // It predicts better than tasks of one kind.
    let plain = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&rows.tasks(&design)).unwrap();
    assert!(fit.log_likelihood() > plain.log_likelihood() + 100.0);
}

/// The numbers of tasks do not matter, nor the units of the target.
#[test]
fn relabelling_tasks_and_rescaling_the_target_change_nothing_else() {
    let rows = two_kinds(15, 40, |eta, random| eta + 0.5 * normal(random));
    let of = |rows: &Rows| {
        let tasks = rows.tasks(&Design::varying(rows.features()));
        Model::new(Gaussian::default(), Clusters::new(FeatureCovariance::Diagonal, 2)).fit(&tasks).unwrap()
    };
    let plain = of(&rows);
    let mut moved = Rows::new("y", &["a", "b"]);
    for i in (0..rows.len()).rev() {
        moved.push(&rows.names()[rows.task(i)], rows.x(i), 3.0 + 10.0 * rows.y(i), 1.0).unwrap();
    }
    let other = of(&moved);
    let shift = rows.len() as f64 * 10f64.ln();
    assert!((plain.log_likelihood() - shift - other.log_likelihood()).abs() < 1e-5);
    for t in 0..15 {
        let there = other.task_number(&plain.tasks().names()[t]).unwrap();
        let (own, others) = (plain.coefficients(t) * 10.0 + dvector![3.0, 0.0, 0.0], other.coefficients(there));
        assert!((own - others).amax() < 2e-3, "task {t}");
        let none = |fit: &Fit, t: usize| fit.memberships().unwrap()[(2, t)];
        assert!((none(&plain, t) - none(&other, there)).abs() < 1e-4);
    }
}

#[test]
fn the_command_line_fits_saves_and_predicts_clusters() {
    let folder = tempfile::tempdir().unwrap();
    let rows = two_kinds(13, 40, |eta, random| eta + 0.5 * normal(random));
    let mut table = String::from("task,y,a,b\n");
    for i in 0..rows.len() {
        writeln!(table, "{},{},{},{}", rows.names()[rows.task(i)], rows.y(i), rows.x(i)[0], rows.x(i)[1]).unwrap();
    }
    std::fs::write(folder.path().join("t.csv"), &table).unwrap();
    let fit = ["fit", "t.csv", "--task", "task", "--target", "y", "--structure", "clusters", "--groups", "2", "--model", "m"];
    let text = cognate(folder.path(), &fit);
    assert_eq!(text.status, 0, "{}", text.err);
    assert!(text.out.contains("Clusters (") && text.out.contains("none  share"), "{}", text.out);
    let json = cognate(folder.path(), &[&fit[..], &["--format", "json"]].concat());
    let value: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(value["clusters"]["clusters"].as_array().unwrap().len(), 2);
    assert!(value["clusters"]["tasks"]["task 12"]["cluster"].is_null());
    let own = Fit::load(folder.path().join("m")).unwrap();
    assert_found(&own, 13);
    assert_eq!(own.clusters()[0].share, value["clusters"]["clusters"][0]["share"].as_f64().unwrap());
    // A task that nobody has seen may be of any.
    std::fs::write(folder.path().join("new.csv"), "task,a,b\ntask 1,0,0\nsomebody,0,0\n").unwrap();
    let predicted = cognate(folder.path(), &["predict", "m", "new.csv"]);
    assert_eq!(predicted.status, 0, "{}", predicted.err);
    let sd = |line: &str| line.split(',').nth(3).unwrap().parse::<f64>().unwrap();
    let lines: Vec<&str> = predicted.out.lines().collect();
    assert!(sd(lines[2]) > 1.2 * sd(lines[1]), "{}", predicted.out);
    let edges = cognate(folder.path(), &["graph", "m", "--format", "csv"]);
    assert!(edges.out.lines().count() == 1 + 2 * 15, "{}", edges.out);
    // It can be read back, the probabilities as weights.
    for format in ["csv", "graphml", "dot"] {
        let name = format!("g.{format}");
        std::fs::write(folder.path().join(&name), cognate(folder.path(), &["graph", "m", "--format", format]).out).unwrap();
        let known = cognate(folder.path(), &[&fit[..6], &["--structure", "known", "--graph", &name]].concat());
        assert_eq!(known.status, 0, "{format}: {}", known.err);
    }
    for (more, problem) in [
        (vec!["--groups", "0"], "--groups 0"),
        (vec!["--varying", "none", "--no-task-intercept"], "no feature varies"),
        (vec!["--groups", "2", "--test-variance", "a"], "variances are tested"),
        (vec!["--family", "bernoulli", "--inference", "laplace"], "--inference laplace"),
        (vec!["--groups", "40"], "--groups 12 or fewer"),
    ] {
        let refused = cognate(folder.path(), &[&fit[..8], &more].concat());
        assert_eq!(refused.status, 1);
        assert!(refused.err.contains(problem), "{}", refused.err);
    }
}
