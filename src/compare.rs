//! Which structure predicts best on held-out rows, by refitting every candidate in every fold.

use crate::error::{Error, Result};
use crate::model::{Fit, Forecast, Model};
use crate::scores::{Scored, Scores, clustered};
use crate::structure;
use crate::tasks::{Design, Rows, Tasks};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;
use std::time::Instant;

/// A model to compare: its name and how to make it anew for every fold.
pub struct Candidate {
    name: String,
    build: Box<dyn Fn() -> Result<Model>>,
}

impl Candidate {
    /// A candidate from a function that makes the model.
    pub fn new(name: &str, build: impl Fn() -> Result<Model> + 'static) -> Self {
        Candidate { name: name.into(), build: Box::new(build) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Held-out figures of one candidate.
#[derive(Clone, Debug, Serialize)]
pub struct Rung {
    /// Name of the candidate.
    pub name: String,
    /// Mean log predictive density a held-out row; none where a fit was refused.
    pub score: Option<f64>,
    /// Its standard error, clustered by task.
    pub score_se: Option<f64>,
    /// Score less that of the best rung.
    pub difference: Option<f64>,
    /// Standard error of the paired difference, clustered by task.
    pub difference_se: Option<f64>,
    /// Other scores of the same predictions.
    pub metrics: Metrics,
    /// Time spent fitting.
    pub seconds: f64,
    /// Why a fit was refused.
    pub refused: Option<String>,
}

/// Errors of the predictive means, and scores as [`Scores`] has them; none where they mean nothing.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Metrics {
    /// Root mean squared error, in the target's units; none where tasks have units, or families, of their own.
    pub rmse: Option<f64>,
    /// Mean over tasks of the root of squared error / squared deviation from the mean of the task's rows that were fitted.
    pub relative_rmse: Option<f64>,
    /// 1 - squared error / squared deviation from the held-out mean; none where tasks have units, or families, of their own.
    pub explained_variance: Option<f64>,
    /// Mean continuous ranked probability score, in the target's units; none where tasks have units of their own.
    pub crps: Option<f64>,
    /// Mean Brier score of shares, over trials.
    pub brier: Option<f64>,
    /// Mean over tasks, of those with both successes and failures, of the area under the ROC curve.
    pub task_auc: Option<f64>,
    /// Mean unit deviance at the predictive mean, rows by their weight; none where tasks have units of their own.
    pub deviance: Option<f64>,
}

/// All rungs of the ladder on the same held-out rows.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// In the order of the candidates.
    pub rungs: Vec<Rung>,
    /// The rung of the highest score.
    pub best: Option<String>,
    /// The first rung within one standard error of the best.
    pub simplest: Option<String>,
}

/// Compares candidates by `folds`-fold cross-validation: folds stratified within tasks (a task's only row is never held out),
/// training statistics by subtraction, every candidate refitted in every fold, the same folds for all.
///
/// ```
/// use cognate::{Design, Gaussian, Model, Pooled, Independent, Rows, compare};
/// let mut rows = Rows::new("y", &["x"]);
/// for i in 0..80 {
///     let (t, x) = (i % 4, (i / 4) as f64 / 5.0);
///     rows.push(&t.to_string(), &[x], t as f64 * 3.0 + x + ((i * 13) % 7) as f64 * 0.05, 1.0)?;
/// }
/// let design = Design::varying(rows.features());
/// let ladder = [
///     compare::Candidate::new("pooled", || Ok(Model::new(Gaussian::default(), Pooled { task_intercepts: false }))),
///     compare::Candidate::new("independent", || Ok(Model::new(Gaussian::default(), Independent))),
/// ];
/// let comparison = compare::folds(&rows, &design, &ladder, 5, 1, &|_| {})?;
/// assert_eq!(comparison.best.as_deref(), Some("independent"));
/// # Ok::<(), cognate::Error>(())
/// ```
///
/// # Errors
/// [`Error::Arguments`] for fewer than two folds or where no row can be held out. A candidate that cannot be fitted is a
/// refused rung, not an error.
pub fn folds(
    rows: &Rows,
    design: &Design,
    candidates: &[Candidate],
    folds: usize,
    seed: u64,
    progress: &dyn Fn(&str),
) -> Result<Comparison> {
    if folds < 2 {
        return Err(Error::Arguments(format!("{folds} folds hold nothing out; give at least 2")));
    }
    let fold = stratified(rows, folds, seed);
    let all = rows.tasks(design);
    let whole = needs_rows(candidates)?;
    let mut plans = Vec::with_capacity(folds);
    for k in 0..folds {
        let held: Vec<usize> = (0..rows.len()).filter(|i| fold[*i] == Some(k)).collect();
        if !held.is_empty() {
            let training = if whole {
                with_rows(rows, design, |i| fold[i] != Some(k))?
            } else {
                all.without(&rows.tasks_of(design, |i| fold[i] == Some(k)))?
            };
            plans.push((training, held));
        }
    }
    Ok(evaluate(rows, &plans, candidates, progress)?.0)
}

/// Compares candidates on one split: rows with `train(row)` fit, the others are predicted. Also returns each candidate's fit.
///
/// # Errors
/// [`Error::Arguments`] where no row is held out.
pub fn holdout(
    rows: &Rows,
    design: &Design,
    train: impl Fn(usize) -> bool,
    candidates: &[Candidate],
    progress: &dyn Fn(&str),
) -> Result<(Comparison, Vec<Option<Fit>>)> {
    let held: Vec<usize> = (0..rows.len()).filter(|i| !train(*i)).collect();
    let training = if needs_rows(candidates)? { with_rows(rows, design, &train)? } else { rows.tasks_of(design, &train) };
    evaluate(rows, &[(training, held)], candidates, progress)
}

/// Whether any candidate fits rows and not their sums alone.
fn needs_rows(candidates: &[Candidate]) -> Result<bool> {
    candidates.iter().try_fold(false, |any, candidate| Ok(any || (candidate.build)()?.needs_rows()))
}

fn with_rows(rows: &Rows, design: &Design, keep: impl Fn(usize) -> bool) -> Result<Tasks> {
    let part = rows.subset(keep);
    part.tasks(design).with_rows(part)
}

/// A fold for every row, equally often within each task; none for a task's only row. Rows of one unit are in one fold.
fn stratified(rows: &Rows, folds: usize, seed: u64) -> Vec<Option<usize>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    if !rows.units().is_empty() {
        let mut order: Vec<usize> = (0..rows.units().len()).collect();
        order.shuffle(&mut random);
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(k, unit)| place[*unit] = k % folds);
        return (0..rows.len()).map(|i| Some(place[rows.unit(i)])).collect();
    }
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); rows.names().len()];
    (0..rows.len()).for_each(|i| members[rows.task(i)].push(i));
    let mut fold = vec![None; rows.len()];
    for (task, own) in members.iter_mut().enumerate().filter(|(_, own)| own.len() > 1) {
        own.shuffle(&mut random);
        // Tasks start at different folds, so that small tasks do not fill the first.
        own.iter().enumerate().for_each(|(place, i)| fold[*i] = Some((place + task) % folds));
    }
    fold
}

type Plan = (Tasks, Vec<usize>);

/// Sums over the held-out rows of a task: of squared errors, and of squared deviations from the mean of those fitted.
#[derive(Clone, Copy, Default)]
struct Errors {
    squares: f64,
    about_mean: f64,
}

fn evaluate(rows: &Rows, plans: &[Plan], candidates: &[Candidate], progress: &dyn Fn(&str)) -> Result<(Comparison, Vec<Option<Fit>>)> {
    let held: Vec<usize> = plans.iter().flat_map(|(_, held)| held.iter().copied()).collect();
    if held.is_empty() {
        return Err(Error::Arguments("no row can be held out: every task has one row only; compare needs tasks with two or more".into()));
    }
    let tasks: Vec<usize> = held.iter().map(|i| rows.task(*i)).collect();
    let mut densities: Vec<Option<Vec<f64>>> = Vec::new();
    let mut rungs = Vec::new();
    let mut fits = Vec::new();
    for candidate in candidates {
        progress(&candidate.name);
        let begin = Instant::now();
        let outcome = (|| -> Result<(Vec<Forecast>, Vec<Errors>, Fit)> {
            let (mut forecasts, mut last) = (Vec::with_capacity(held.len()), None);
            let mut errors = vec![Errors::default(); rows.names().len()];
            for (training, held) in plans {
                let fit = (candidate.build)()?.fit(training)?;
                for i in held {
                    let task = rows.task(*i);
                    let p = fit.forecast(Some(task), &rows.names()[task], rows.x(*i), rows.weight(*i), rows.offset(*i))?;
                    errors[task].about_mean += (rows.y(*i) - training.target_mean(task)).powi(2);
                    forecasts.push(p);
                }
                last = Some(fit);
            }
            let fit = last.ok_or_else(|| Error::Arguments("no fold holds a row".into()))?;
            Ok((forecasts, errors, fit))
        })();
        let seconds = begin.elapsed().as_secs_f64();
        let mut rung = Rung {
            name: candidate.name.clone(),
            score: None,
            score_se: None,
            difference: None,
            difference_se: None,
            metrics: Metrics::default(),
            seconds,
            refused: None,
        };
        match outcome {
            Ok((forecasts, mut errors, fit)) => {
                let each = |(p, i): (&Forecast, &usize)| Scored::of(p, rows.y(*i), rows.weight(*i), rows.task(*i));
                let scored: Vec<Scored> = forecasts.par_iter().zip(&held).map(each).collect();
                scored.iter().zip(&held).for_each(|(row, i)| errors[rows.task(*i)].squares += (rows.y(*i) - row.mean).powi(2));
                let scores: Vec<f64> = scored.iter().map(|row| row.log_density).collect();
                let (mean, se) = clustered(&scores, None, &tasks);
                let centre = held.iter().map(|i| rows.y(*i)).sum::<f64>() / held.len() as f64;
                let total: f64 = held.iter().map(|i| (rows.y(*i) - centre).powi(2)).sum();
                rung.score = Some(mean);
                rung.score_se = se;
                let squares: f64 = errors.iter().map(|own| own.squares).sum();
                let one_unit = !fit.tasks().has_own_units() && fit.tasks().groups().len() < 2;
                rung.metrics.rmse = one_unit.then(|| (squares / held.len() as f64).sqrt());
                rung.metrics.explained_variance = (one_unit && total > 0.0).then(|| 1.0 - squares / total);
                let relative: Vec<f64> =
                    errors.iter().filter(|own| own.about_mean > 0.0).map(|own| (own.squares / own.about_mean).sqrt()).collect();
                rung.metrics.relative_rmse = (!relative.is_empty()).then(|| relative.iter().sum::<f64>() / relative.len() as f64);
                let own = Scores::of_rows(&scored, |task| rows.names()[task].clone());
                let Scores { all, task_auc, .. } = if one_unit { own } else { own.of_many_units() };
                rung.metrics = Metrics { crps: all.crps, brier: all.brier, task_auc, deviance: all.deviance, ..rung.metrics };
                densities.push(Some(scores));
                fits.push(Some(fit));
            }
            Err(error) => {
                rung.refused = Some(error.to_string());
                densities.push(None);
                fits.push(None);
            }
        }
        rungs.push(rung);
    }
    let order: Vec<usize> = (0..rungs.len()).filter(|i| rungs[*i].score.is_some()).collect();
    let best = order.iter().copied().max_by(|a, b| rungs[*a].score.partial_cmp(&rungs[*b].score).unwrap_or(std::cmp::Ordering::Equal));
    if let Some(best) = best {
        for i in &order {
            if let (Some(own), Some(top)) = (&densities[*i], &densities[best]) {
                let differences: Vec<f64> = own.iter().zip(top).map(|(a, b)| a - b).collect();
                let (mean, se) = clustered(&differences, None, &tasks);
                rungs[*i].difference = Some(mean);
                rungs[*i].difference_se = se;
            }
        }
    }
    let within = |rung: &Rung| matches!((rung.difference, rung.difference_se), (Some(d), se) if -d <= se.unwrap_or(0.0));
    let simplest = rungs.iter().find(|rung| within(rung)).map(|rung| rung.name.clone());
    let best = best.map(|i| rungs[i].name.clone());
    Ok((Comparison { rungs, best, simplest }, fits))
}

/// The structures of a ladder by name, simple to rich, as candidates.
///
/// # Errors
/// [`Error::Arguments`] for an unknown name.
pub fn ladder(
    names: &[&str],
    options: &structure::Options,
    model: impl Fn(Box<dyn structure::Structure>) -> Model + Clone + 'static,
) -> Result<Vec<Candidate>> {
    names
        .iter()
        .map(|name| {
            structure::by_name(name, options)?;
            let (own, options, model) = (name.to_string(), options.clone(), model.clone());
            Ok(Candidate::new(name, move || Ok(model(structure::by_name(&own, &options)?))))
        })
        .collect()
}
