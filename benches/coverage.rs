//! How often 95 % intervals of the tasks' parameters hold the truth, all hyperparameters estimated: 30 tasks of 20 rows, three features.
//! `cargo bench --bench coverage -- 200` simulates so many data sets a setting (3 unless said), `-- 200 poisson` of one family only.

use cognate::{
    Binomial, Design, Exchangeable, Family, FeatureCovariance, Fit, Gamma, Gaussian, Generalised, Inference, Intervals, Likelihood, Link,
    Model, NegativeBinomial, Noise, Normal, Ordinal, Poisson, Result, Rows, Standardise, StudentT,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use std::sync::Arc;

const TASKS: usize = 30;
const ROWS: usize = 20;

/// A family to draw from and the likelihood to fit by.
struct Setting {
    name: &'static str,
    family: Arc<dyn Family>,
    likelihood: fn() -> Box<dyn Likelihood>,
    mean: [f64; 3],
}

fn by<F: Family + 'static>(family: F) -> Box<dyn Likelihood> {
    Box::new(Generalised::new(family))
}

fn settings() -> Vec<Setting> {
    let setting = |name, family, likelihood, mean| Setting { name, family, likelihood, mean };
    let normal = || Arc::new(Normal { variance: 1.0 });
    vec![
        setting("gaussian", normal(), || Box::new(Gaussian::default()), [1.0, 0.5, -0.5]),
        setting("gaussian, noise a task", normal(), || Box::new(Gaussian { noise: Noise::Task }), [1.0, 0.5, -0.5]),
        setting("bernoulli", Arc::new(Binomial::default()), || by(Binomial::default()), [0.3, 0.5, -0.5]),
        setting(
            "bernoulli, laplace",
            Arc::new(Binomial::default()),
            || Box::new(Generalised::new(Binomial::default()).with_inference(Inference::Laplace)),
            [0.3, 0.5, -0.5],
        ),
        setting("probit", Arc::new(Binomial { link: Link::Probit }), || by(Binomial { link: Link::Probit }), [0.2, 0.3, -0.3]),
        setting("poisson", Arc::new(Poisson), || by(Poisson), [0.5, 0.3, -0.3]),
        setting("negative-binomial", Arc::new(NegativeBinomial { dispersion: 0.5 }), || by(NegativeBinomial::default()), [1.0, 0.3, -0.3]),
        setting("gamma", Arc::new(Gamma { dispersion: 0.5 }), || by(Gamma::default()), [1.0, 0.3, -0.3]),
        setting("student", Arc::new(StudentT { scale2: 1.0, freedom: 5.0 }), || by(StudentT::default()), [1.0, 0.5, -0.5]),
        setting("ordinal", Arc::new(Ordinal { gaps: vec![1.0, 1.0] }), || by(Ordinal::default()), [1.0, 0.5, -0.5]),
    ]
}

/// A target at a linear predictor, by the family's distribution.
fn draw(family: &dyn Family, eta: f64, random: &mut ChaCha8Rng) -> f64 {
    let u: f64 = random.random();
    match family.name() {
        "normal" | "student" | "gamma" => continuous(family, eta, u),
        "ordinal" => {
            let mut sum = 0.0;
            (1..4)
                .map(f64::from)
                .find(|y| {
                    sum += family.at(*y, 1.0, eta).value.exp();
                    sum >= u
                })
                .unwrap_or(4.0)
        }
        "bernoulli" | "binomial" | "probit" => f64::from(u < family.mean(eta)),
        _ => {
            let (mut y, mut sum) = (0.0, family.at(0.0, 1.0, eta).value.exp());
            while sum < u && y < 1e5 {
                y += 1.0;
                sum += family.at(y, 1.0, eta).value.exp();
            }
            y
        }
    }
}

/// The quantile of a continuous target, by bisection.
fn continuous(family: &dyn Family, eta: f64, u: f64) -> f64 {
    let sd = family.variance(1.0, eta).sqrt();
    let (mut low, mut high) = (family.mean(eta) - 1e3 * sd, family.mean(eta) + 1e3 * sd);
    if family.name() == "gamma" {
        low = 0.0;
    }
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if family.cumulative(middle, 1.0, eta).unwrap_or(0.5) < u { low = middle } else { high = middle }
    }
    high
}

type Simulated = (Rows, Vec<[f64; 3]>, [f64; 3]);

/// Tasks about the mean, their parameters, and the mean information on each of these.
fn simulate(setting: &Setting, tasks: usize, sds: [f64; 3], seed: u64) -> Result<Simulated> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = Rows::new("y", &["a", "b"]);
    let (mut parameters, mut information) = (Vec::new(), [0.0; 3]);
    for t in 0..tasks {
        let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
        let w: [f64; 3] = std::array::from_fn(|k| setting.mean[k] + sds[k] * normal());
        for _ in 0..ROWS {
            let x: [f64; 3] = [1.0, StandardNormal.sample(&mut random), StandardNormal.sample(&mut random)];
            let eta = w.iter().zip(&x).map(|(w, x)| w * x).sum();
            let y = draw(setting.family.as_ref(), eta, &mut random);
            rows.push(&format!("t{t}"), &x[1..], y, 1.0)?;
            let curvature = setting.family.at(y, 1.0, eta).curvature;
            (0..3).for_each(|k| information[k] += curvature * x[k] * x[k] / tasks as f64);
        }
        parameters.push(w);
    }
    Ok((rows, parameters, information))
}

/// Standard deviations between tasks at which K_jj times the mean of J_t,jj is the ratio.
fn calibrated(setting: &Setting, ratio: f64) -> Result<[f64; 3]> {
    let mut sds = [0.3; 3];
    for _ in 0..8 {
        let (_, _, information) = simulate(setting, 1000, sds, 12345)?;
        sds = information.map(|own: f64| (ratio / own).sqrt());
    }
    Ok(sds)
}

/// Shares of the intervals of parameters and of the mean that hold the truth, and the mean length of the former over the standard deviation.
#[derive(Clone, Copy, Default)]
struct Score {
    parameters: f64,
    length: f64,
    mean: f64,
}

fn score(fit: &Fit, truth: &[[f64; 3]], mean: [f64; 3], sds: [f64; 3]) -> Score {
    let mut score = Score::default();
    let share = 1.0 / (3 * truth.len()) as f64;
    for (t, own) in truth.iter().enumerate() {
        let (estimate, covariance) = (fit.coefficients(t), fit.covariance(t));
        for k in 0..3 {
            let (error, reach) = ((own[k] - estimate[k]).abs(), 1.96 * covariance[(k, k)].sqrt());
            score.parameters += share * f64::from(error <= reach);
            score.length += share * 2.0 * reach / sds[k];
        }
    }
    let (estimate, covariance) = (fit.mean(), fit.mean_covariance());
    score.mean = (0..3).filter(|k| (mean[*k] - estimate[*k]).abs() <= 1.96 * covariance[(*k, *k)].sqrt()).count() as f64 / 3.0;
    score
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|own| own != "--bench").collect();
    let sets: u64 = arguments.first().and_then(|text| text.parse().ok()).unwrap_or(3);
    println!("{sets} data sets a setting; after the slash with plug-in intervals; lengths over the sd between tasks");
    println!("{:<24} {:>5}  {:>25}  {:>15}  {:>15}", "family", "ratio", "covered % (se)", "mean covered %", "length");
    for setting in settings().iter().filter(|setting| arguments.get(1).is_none_or(|name| name == setting.name)) {
        for ratio in [4.0, 1.0] {
            let sds = calibrated(setting, ratio)?;
            let scores: Vec<(Score, Score)> = (0..sets)
                .into_par_iter()
                .map(|seed| {
                    let (rows, truth, _) = simulate(setting, TASKS, sds, seed)?;
                    let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows)?;
                    let fit = |intervals| {
                        Model::of((setting.likelihood)(), Box::new(Exchangeable::new(FeatureCovariance::Diagonal)))
                            .standardise(Standardise::None)
                            .intervals(intervals)
                            .fit(&tasks)
                    };
                    let own = |intervals| Ok(score(&fit(intervals)?, &truth, setting.mean, sds));
                    Ok((own(Intervals::Full)?, own(Intervals::PlugIn)?))
                })
                .collect::<Result<_>>()?;
            let of = |part: &dyn Fn(&(Score, Score)) -> f64| {
                let mean = scores.iter().map(part).sum::<f64>() / sets as f64;
                let variance = scores.iter().map(|own| (part(own) - mean).powi(2)).sum::<f64>() / (sets.max(2) - 1) as f64;
                (mean, (variance / sets as f64).sqrt())
            };
            let percent = |(mean, error): (f64, f64)| format!("{:.1} ({:.1})", 100.0 * mean, 100.0 * error);
            println!(
                "{:<24} {ratio:>5}  {:>25}  {:>15}  {:>15}",
                setting.name,
                format!("{} / {}", percent(of(&|own| own.0.parameters)), percent(of(&|own| own.1.parameters))),
                format!("{:.1} / {:.1}", 100.0 * of(&|own| own.0.mean).0, 100.0 * of(&|own| own.1.mean).0),
                format!("{:.2} / {:.2}", of(&|own| own.0.length).0, of(&|own| own.1.length).0),
            );
        }
    }
    Ok(())
}
