//! Are edge probabilities true? Claimed against true edge frequency on simulated graphs, with false discoveries, power and time.
//!
//! `cargo bench --bench calibration` (or `-- --quick`) prints two settings with five seeds, `-- TASKS FEATURES NOISE LAYOUT
//! SEEDS` any other (EDGES=pseudo-gibbs in the environment: by that sampler). `-- --run FILE [MINUTES]` adds fits of the whole study to a table, the cheapest settings first, and goes on where it stopped; `-- --report FILE` prints
//! what the table says, `-- --plot FILE SVG` draws it. The committed table is benches/calibration.csv.

use cognate::simulate::{Layout, NoiseLevel, gaussian, task_graph};
use cognate::{Design, EdgeMethod, Exchangeable, FeatureCovariance, Gaussian, Graph, Mean, Model, Prior, Relatedness, TaskGraph};
use nalgebra::{DMatrix, DVector};
use plotters::prelude::*;
use statrs::distribution::{ContinuousCDF, StudentsT};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::Write;
use std::time::{Duration, Instant};

/// Lower ends of the bins of probability.
const BINS: [f64; 11] = [0.0, 0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
const RATE: f64 = 0.1;
const SEEDS: u64 = 20;
const NOISES: [f64; 3] = [0.0, 0.3, 1.0];
const LAYOUTS: [&str; 4] = ["chain", "random", "hubs", "null"];

#[derive(Clone, PartialEq, PartialOrd)]
struct Setting {
    tasks: usize,
    features: usize,
    noise: f64,
    layout: &'static str,
}

/// What one fit claimed, and what was true; for each bin the pairs, the sum of their probabilities and the edges among them.
struct Outcome {
    edges: usize,
    claimed: usize,
    wrong: usize,
    seconds: f64,
    bins: [(usize, f64, usize); BINS.len()],
}

fn run(setting: &Setting, seed: u64) -> cognate::Result<Outcome> {
    let (tasks, features) = (setting.tasks, setting.features);
    let names: Vec<String> = (1..=tasks).map(|t| format!("t{t}")).collect();
    let truth = match setting.layout {
        "chain" => task_graph(Layout::Chain, &names, 0.25..0.5, seed)?,
        "random" => task_graph(Layout::Random { edges: tasks }, &names, 0.25..0.5, seed)?,
        "hubs" => task_graph(Layout::Hubs, &names, 0.25..0.45, seed)?,
        _ => TaskGraph::empty(&names),
    };
    let prior = Prior::new(
        Mean::Given(DVector::from_fn(features, |k, _| (k % 5) as f64 - 2.0)),
        Relatedness::Graph(truth.clone()),
        DMatrix::identity(features, features),
    );
    // Without noise the targets would leave nothing to estimate its variance from.
    let drawn = gaussian(&prior, tasks, 2 * features, NoiseLevel::Ratio(setting.noise.max(1e-4)), seed)?;
    let table = drawn.rows.tasks(&Design::varying(drawn.rows.features()).without_intercept());
    let clock = Instant::now();
    let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Scalar)).restricted(true).fit(&table)?;
    let method = match std::env::var("EDGES").as_deref() {
        Ok("pseudo-gibbs") => EdgeMethod::PSEUDO_GIBBS,
        _ => EdgeMethod::Auto,
    };
    let sampled = fit.sample_edges(&Graph::new(FeatureCovariance::Scalar).with_edges(method))?;
    let seconds = clock.elapsed().as_secs_f64();
    let is_true = |s: usize, t: usize| truth.edge(s, t).is_some();
    let chosen = sampled.graph.at_false_discovery_rate(RATE);
    let mut bins = [(0, 0.0, 0); BINS.len()];
    bins[0] = (tasks * (tasks - 1) / 2, sampled.expected, truth.edges().count());
    for (s, t, edge) in sampled.graph.edges() {
        let probability = edge.probability.unwrap_or(0.0);
        let bin = BINS.iter().rposition(|low| probability >= *low).unwrap_or(0);
        let found = usize::from(is_true(s, t));
        bins[0] = (bins[0].0 - 1, bins[0].1 - probability, bins[0].2 - found);
        bins[bin] = (bins[bin].0 + 1, bins[bin].1 + probability, bins[bin].2 + found);
    }
    Ok(Outcome {
        edges: truth.edges().count(),
        claimed: chosen.edges().count(),
        wrong: chosen.edges().filter(|(s, t, _)| !is_true(*s, *t)).count(),
        seconds,
        bins,
    })
}

fn summary(outcomes: &[Outcome]) -> String {
    let sum = |value: fn(&Outcome) -> usize| outcomes.iter().map(value).sum::<usize>() as f64;
    let (edges, claimed, wrong) = (sum(|o| o.edges), sum(|o| o.claimed), sum(|o| o.wrong));
    let any = outcomes.iter().filter(|o| o.claimed > 0).count();
    let seconds = outcomes.iter().map(|o| o.seconds).sum::<f64>() / outcomes.len() as f64;
    let power = if edges > 0.0 { format!("{:.2}", (claimed - wrong) / edges) } else { "-".into() };
    format!("{:>5} {claimed:>7} {:>6.3} {power:>6} {any:>9} {seconds:>9.1}", outcomes.len(), wrong / claimed.max(1.0))
}

fn reliability<'a>(outcomes: impl Iterator<Item = &'a Outcome>) {
    let mut bins = [(0, 0.0, 0); BINS.len()];
    for outcome in outcomes {
        for (all, own) in bins.iter_mut().zip(&outcome.bins) {
            *all = (all.0 + own.0, all.1 + own.1, all.2 + own.2);
        }
    }
    for (k, (pairs, claimed, edges)) in bins.iter().enumerate().filter(|(_, bin)| bin.0 > 0) {
        let high = BINS.get(k + 1).unwrap_or(&1.0);
        let (n, low) = (*pairs as f64, BINS[k]);
        println!("    probability {low:.2} to {high:.2}: {pairs:>7} pairs, claimed {:.3}, true {:.3}", claimed / n, *edges as f64 / n);
    }
}

const HEADER: &str = "tasks features noise layout  fits  claimed    FDR  power  with any  s a fit";

fn print_setting(setting: &Setting, outcomes: &[Outcome]) {
    let Setting { tasks, features, noise, layout } = setting;
    println!("{tasks:>5} {features:>8} {noise:>5} {layout:<6} {}", summary(outcomes));
}

fn one(setting: &Setting, seeds: u64) -> cognate::Result<()> {
    let outcomes = (0..seeds).map(|seed| run(setting, seed)).collect::<cognate::Result<Vec<_>>>()?;
    println!("{HEADER}");
    print_setting(setting, &outcomes);
    reliability(outcomes.iter());
    Ok(())
}

fn quick() -> cognate::Result<()> {
    ["random", "null"].into_iter().try_for_each(|layout| one(&Setting { tasks: 20, features: 100, noise: 0.3, layout }, 5))
}

/// All settings, the cheapest first.
fn study() -> Vec<Setting> {
    let mut settings = Vec::new();
    for tasks in [20, 50, 139] {
        for features in [30, 100, 300] {
            for noise in NOISES {
                settings.extend(LAYOUTS.map(|layout| Setting { tasks, features, noise, layout }));
            }
        }
    }
    settings.sort_by_key(|s| s.tasks * s.features * s.features);
    settings
}

fn key(setting: &Setting, seed: u64) -> String {
    format!("{},{},{},{},{seed}", setting.tasks, setting.features, setting.noise, setting.layout)
}

fn add_fits(file: &str, minutes: f64) -> Result<(), Box<dyn Error>> {
    let done: BTreeSet<String> = std::fs::read_to_string(file)
        .unwrap_or_default()
        .lines()
        .map(|line| line.split(',').take(5).collect::<Vec<_>>().join(","))
        .collect();
    let mut out = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
    let end = Instant::now() + Duration::from_secs_f64(60.0 * minutes);
    for setting in study() {
        for seed in (0..SEEDS).filter(|seed| !done.contains(&key(&setting, *seed))) {
            if Instant::now() > end {
                return Ok(());
            }
            let o = run(&setting, seed)?;
            let bins: Vec<String> = o.bins.iter().map(|(pairs, claimed, edges)| format!("{pairs},{claimed:.4},{edges}")).collect();
            writeln!(out, "{},{},{},{},{:.2},{}", key(&setting, seed), o.edges, o.claimed, o.wrong, o.seconds, bins.join(","))?;
        }
    }
    Ok(())
}

/// Share of false edges, and its lower 99 % bound with the fits as the independent units (Student's t).
fn false_share(outcomes: &[Outcome]) -> (f64, f64) {
    let n = outcomes.len() as f64;
    let claimed = outcomes.iter().map(|o| o.claimed as f64).sum::<f64>().max(1.0);
    let share = outcomes.iter().map(|o| o.wrong as f64).sum::<f64>() / claimed;
    let spread: f64 = outcomes.iter().map(|o| (o.wrong as f64 - share * o.claimed as f64).powi(2)).sum();
    let quantile = StudentsT::new(0.0, 1.0, (n - 1.0).max(1.0)).map_or(f64::INFINITY, |t| t.inverse_cdf(0.99));
    (share, share - quantile * (spread * n / (n - 1.0).max(1.0)).sqrt() / claimed)
}

type Found = BTreeMap<String, Vec<Outcome>>;

fn read(file: &str) -> Result<Found, Box<dyn Error>> {
    let mut found = Found::new();
    for line in std::fs::read_to_string(file)?.lines() {
        let words: Vec<&str> = line.split(',').collect();
        let number =
            |k: usize| words.get(k).and_then(|word| word.parse::<f64>().ok()).ok_or_else(|| format!("not a line of the study: {line}"));
        let mut bins = [(0, 0.0, 0); BINS.len()];
        for (k, bin) in bins.iter_mut().enumerate() {
            *bin = (number(9 + 3 * k)? as usize, number(10 + 3 * k)?, number(11 + 3 * k)? as usize);
        }
        let outcome =
            Outcome { edges: number(5)? as usize, claimed: number(6)? as usize, wrong: number(7)? as usize, seconds: number(8)?, bins };
        found.entry(words[..4].join(",")).or_default().push(outcome);
    }
    Ok(found)
}

fn of<'a>(found: &'a Found, setting: &Setting) -> Option<&'a Vec<Outcome>> {
    found.get(key(setting, 0).trim_end_matches(",0"))
}

/// The fits of a noise level, nulls left out.
fn at_noise(found: &Found, noise: f64) -> Vec<&Outcome> {
    study().iter().filter(|s| s.noise == noise && s.layout != "null").filter_map(|s| of(found, s)).flatten().collect()
}

fn report(file: &str) -> Result<(), Box<dyn Error>> {
    let found = read(file)?;
    println!("{HEADER}");
    let mut settings = study();
    settings.sort_by(|a, b| a.partial_cmp(b).expect("settings are ordered"));
    let mut nulls = (0, 0);
    for setting in &settings {
        if let Some(outcomes) = of(&found, setting) {
            print_setting(setting, outcomes);
            if setting.layout == "null" {
                nulls = (nulls.0 + outcomes.iter().filter(|o| o.claimed > 0).count(), nulls.1 + outcomes.len());
            }
        }
    }
    println!("\n{} of {} nulls with any edge at a false discovery rate of {RATE}", nulls.0, nulls.1);
    for setting in &settings {
        if let Some((share, low)) = of(&found, setting).map(|outcomes| false_share(outcomes)).filter(|(_, low)| *low > RATE) {
            let Setting { tasks, features, noise, layout } = setting;
            println!("{tasks} tasks, {features} features, noise {noise}, {layout}: FDR {share:.3}, lower 99 % bound {low:.3}");
        }
    }
    for noise in NOISES {
        let here = at_noise(&found, noise);
        let (claimed, wrong) = here.iter().fold((0, 0), |sum, o| (sum.0 + o.claimed, sum.1 + o.wrong));
        println!(
            "\nnoise/signal {noise}, all graphs with edges: {} fits, FDR {:.3}",
            here.len(),
            wrong as f64 / f64::max(claimed as f64, 1.0)
        );
        reliability(here.into_iter());
    }
    Ok(())
}

/// Claimed against true frequency, a line a noise level; beside the diagonal the probabilities would be wrong.
fn plot(file: &str, svg: &str) -> Result<(), Box<dyn Error>> {
    let found = read(file)?;
    let root = SVGBackend::new(svg, (560, 520)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart =
        ChartBuilder::on(&root).margin(16).x_label_area_size(44).y_label_area_size(52).build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
    chart.configure_mesh().x_desc("claimed probability of an edge").y_desc("share that are edges").disable_mesh().draw()?;
    chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], &BLACK))?;
    for (noise, colour) in NOISES.into_iter().zip([BLUE, GREEN, RED]) {
        let mut bins = [(0.0, 0.0, 0.0); BINS.len()];
        for outcome in at_noise(&found, noise) {
            for (all, own) in bins.iter_mut().zip(&outcome.bins) {
                *all = (all.0 + own.0 as f64, all.1 + own.1, all.2 + own.2 as f64);
            }
        }
        let points: Vec<(f64, f64)> = bins.iter().filter(|bin| bin.0 > 0.0).map(|bin| (bin.1 / bin.0, bin.2 / bin.0)).collect();
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
            .label(format!("noise/signal {noise}"))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
    }
    chart.configure_series_labels().position(SeriesLabelPosition::UpperLeft).border_style(BLACK).draw()?;
    root.present()?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).filter(|own| own != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] | ["--quick"] => Ok(quick()?),
        ["--run", file] => add_fits(file, 1e6),
        ["--run", file, minutes] => add_fits(file, minutes.parse()?),
        ["--report", file] => report(file),
        ["--plot", file, svg] => plot(file, svg),
        [tasks, features, noise, layout, seeds] => {
            let layout = LAYOUTS.into_iter().find(|name| name == layout).ok_or("the layout is chain, random, hubs or null")?;
            Ok(one(&Setting { tasks: tasks.parse()?, features: features.parse()?, noise: noise.parse()?, layout }, seeds.parse()?)?)
        }
        _ => Err("use --quick, TASKS FEATURES NOISE LAYOUT SEEDS, --run FILE [MINUTES], --report FILE or --plot FILE SVG".into()),
    }
}
