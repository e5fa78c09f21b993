//! Which structure predicts best on held-out rows, by refitting every candidate in every fold.

mod cells;
mod few_shot;
mod gains;
mod guard;
mod journal;
mod plans;
mod rung;
mod verdict;

pub use few_shot::{Curve, FewShot, Shot, few_shot};
pub use gains::Gains;
pub use guard::{Guard, guard};
pub use rung::{Metrics, Rung};
pub use verdict::Verdict;

use crate::error::{Error, Result};
use crate::model::{Fit, Model};
use crate::structure::{self, Sharing, Structure};
use crate::tasks::{Design, Rows};
use cells::{Cell, Cells};
use journal::Journal;
use plans::Plan;
pub(crate) use plans::{stratified, with_rows};
use serde::Serialize;
use std::path::PathBuf;

/// A model to compare: its name and how to make it anew for every fold.
pub struct Candidate {
    name: String,
    arguments: Vec<String>,
    build: Box<dyn Fn() -> Result<Model> + Send + Sync>,
}

impl Candidate {
    /// A candidate from a function that makes the model.
    pub fn new(name: &str, build: impl Fn() -> Result<Model> + Send + Sync + 'static) -> Self {
        Candidate { name: name.into(), arguments: Vec::new(), build: Box::new(build) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn model(&self) -> Result<Model> {
        (self.build)()
    }
}

/// The structures of a ladder by name, simple to rich, as candidates.
///
/// # Errors
/// [`Error::Arguments`] for an unknown name.
pub fn ladder(
    names: &[&str],
    options: &structure::Options,
    model: impl Fn(Box<dyn Structure>) -> Model + Clone + Send + Sync + 'static,
) -> Result<Vec<Candidate>> {
    names
        .iter()
        .map(|name| {
            structure::by_name(name, options)?;
            let (own, options, model) = (name.to_string(), options.clone(), model.clone());
            let build = Box::new(move || Ok(model(structure::by_name(&own, &options)?)));
            Ok(Candidate { name: name.to_string(), arguments: structure::arguments(name)?, build })
        })
        .collect()
}

/// How to compare.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folds of the cross-validation.
    pub folds: usize,
    /// How often, each time with other folds; none for [`Options::repeats_of`] the rows.
    pub repeats: Option<usize>,
    /// Seed of the folds.
    pub seed: u64,
    /// A file in which every fit that is done is noted, so that a comparison that was interrupted goes on where it was.
    pub journal: Option<PathBuf>,
    /// What else makes the candidates what they are, beside rows, folds and names (family, noise, ...): a journal of another is refused.
    pub key: String,
}

impl Default for Options {
    fn default() -> Self {
        Options { folds: 5, repeats: None, seed: 0, journal: None, key: String::new() }
    }
}

impl Options {
    /// How often a table of so many rows is cross-validated: as asked, or as often as makes 3,000 held-out rows, at most three times. Of a few hundred rows the folds decide as much
    /// of a difference as the rows do.
    ///
    /// ```
    /// use cognate::compare::Options;
    /// let options = Options::default();
    /// assert_eq!([100, 2_000, 3_000].map(|rows| options.repeats_of(rows).unwrap()), [3, 2, 1]);
    /// assert!(Options { repeats: Some(0), ..options }.repeats_of(100).is_err());
    /// ```
    ///
    /// # Errors
    /// [`Error::Arguments`] for 0.
    pub fn repeats_of(&self, rows: usize) -> Result<usize> {
        const ENOUGH: usize = 3_000;
        const MOST: usize = 3;
        match self.repeats {
            Some(0) => Err(Error::Arguments("0 repeats hold nothing out; give at least 1".into())),
            Some(repeats) => Ok(repeats),
            None => Ok(ENOUGH.div_ceil(rows.max(1)).min(MOST)),
        }
    }
}

/// What is called whenever a fit is done: the name of the candidate, how many fits are done, and of how many.
pub type Done<'a> = dyn Fn(&str, usize, usize) + Sync + 'a;

/// All rungs of the ladder on the same held-out rows.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// In the order of the candidates.
    pub rungs: Vec<Rung>,
    /// The rung of the highest score, which is the one to predict with.
    pub best: Option<String>,
    /// The first rung whose score is within one standard error of the best, by which the verdict goes. Where one that shares nothing is within two standard errors, the first of those
    /// within one of the best of them.
    pub simplest: Option<String>,
    /// What that says of the tasks; none of one task, or one rung, between which there is nothing to choose.
    pub verdict: Option<Verdict>,
    /// What sharing gains or costs each task against being learned alone.
    #[serde(flatten)]
    pub gains: Gains,
    /// The pick on rows that had no part in picking it.
    pub outer: Option<Outer>,
}

/// A rung picked by cross-validation on one part of the rows and scored on the other.
#[derive(Clone, Debug, Serialize)]
pub struct Outer {
    /// The pick and, where there are any, those of tasks alone, their differences to the pick: [`Rung::score`] is honest for the pick too.
    pub rungs: Vec<Rung>,
    /// Rows that were held out.
    pub rows: usize,
}

impl Comparison {
    /// The rung of that name.
    pub fn rung(&self, name: &str) -> Option<&Rung> {
        self.rungs.iter().find(|rung| rung.name == name)
    }

    fn of(rows: &Rows, plans: &[Plan], candidates: &[Candidate], cells: &Cells) -> Result<Self> {
        let sharing: Vec<Sharing> = candidates.iter().map(|own| Ok(own.model()?.sharing())).collect::<Result<_>>()?;
        let tasks = plans::held_tasks(rows, plans);
        let scored: Vec<rung::Scores> = cells.iter().map(|own| rung::Scores::of(own, plans)).collect();
        let of = |(own, scores): (&Candidate, &rung::Scores)| Rung::of(own, scores, (rows, &tasks), plans);
        let mut rungs: Vec<Rung> = candidates.iter().zip(&scored).map(of).collect();
        let best = verdict::best(&rungs);
        if let Some(best) = best {
            rung::compare_with(best, &mut rungs, &scored, &tasks);
        }
        let simplest = verdict::simplest(&rungs, &sharing, &scored, &tasks);
        let gains = Gains::of((&rungs, best), &sharing, &scored, rows, &tasks);
        let can_share = tasks.iter().any(|task| *task != tasks[0]);
        let is_choice = rungs.iter().filter(|rung| rung.score.is_some()).count() > 1 && can_share;
        let verdict = best.zip(simplest).filter(|_| is_choice).map(|picks| Verdict::of(&rungs, picks, (&sharing, &scored, &tasks)));
        let name = |i: Option<usize>| i.map(|i| rungs[i].name.clone());
        Ok(Comparison { best: name(best), simplest: name(simplest), verdict, gains, outer: None, rungs })
    }
}

/// Compares candidates by cross-validation: folds stratified within tasks (a task's only row is never held out), training statistics by
/// subtraction, every candidate refitted in every fold, the same folds for all, on small tables several times with other folds ([`Options::repeats_of`]), the score of a row its mean over these.
/// Fits of several folds and candidates go side by side.
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
///     compare::Candidate::new("independent", || Ok(Model::new(Gaussian::default(), Independent::default()))),
/// ];
/// let comparison = compare::folds(&rows, &design, &ladder, &compare::Options::default(), &|_, _, _| {})?;
/// assert_eq!(comparison.best.as_deref(), Some("independent"));
/// # Ok::<(), cognate::Error>(())
/// ```
///
/// # Errors
/// [`Error::Arguments`] for fewer than two folds, where no row can be held out, or for a journal of another comparison. A candidate that cannot be
/// fitted is a refused rung, not an error.
pub fn folds(rows: &Rows, design: &Design, candidates: &[Candidate], options: &Options, done: &Done) -> Result<Comparison> {
    let all: Vec<&Candidate> = candidates.iter().collect();
    let plans = plans::folds(rows, design, &all, options)?;
    let journal = options.journal.as_deref().map(|path| Journal::open(path, journal::fingerprint(rows, design, options))).transpose()?;
    let cells = cells::fit_all(rows, &plans, &all, journal, done)?;
    Comparison::of(rows, &plans, candidates, &cells)
}

/// As [`folds`] on three quarters of the rows of every task; then the pick, fitted to these, predicts the last quarter, on which no choice was made
/// ([`Comparison::outer`]).
///
/// # Errors
/// As [`folds`].
pub fn with_outer(rows: &Rows, design: &Design, candidates: &[Candidate], options: &Options, done: &Done) -> Result<Comparison> {
    const PARTS: usize = 4;
    let part = plans::stratified(rows, PARTS, (options.seed.wrapping_add(1), 0));
    let train = |i: usize| part[i] != Some(0);
    let mut comparison = folds(&rows.subset(train), design, candidates, options, done)?;
    let is_best = |name: &String| comparison.best.as_ref() == Some(name);
    let is_alone = |own: &Candidate| own.model().is_ok_and(|model| model.sharing() == Sharing::Nothing);
    let asked: Vec<&Candidate> = candidates.iter().filter(|own| is_best(&own.name) || is_alone(own)).collect();
    let (plans, cells) = on_one_split(rows, design, train, &asked, done)?;
    let cells: Cells = cells.into_iter().map(|own| vec![own.map(|(cell, _)| cell)]).collect();
    let scored: Vec<rung::Scores> = cells.iter().map(|own| rung::Scores::of(own, &plans)).collect();
    let tasks = plans::held_tasks(rows, &plans);
    let mut rungs: Vec<Rung> = asked.iter().zip(&scored).map(|(own, scores)| Rung::of(own, scores, (rows, &tasks), &plans)).collect();
    if let Some(pick) = rungs.iter().position(|rung| is_best(&rung.name)) {
        rung::compare_with(pick, &mut rungs, &scored, &tasks);
    }
    comparison.outer = Some(Outer { rungs, rows: tasks.len() });
    Ok(comparison)
}

type Fitted = Vec<std::result::Result<(Cell, Fit), String>>;

fn on_one_split(
    rows: &Rows,
    design: &Design,
    train: impl Fn(usize) -> bool,
    candidates: &[&Candidate],
    done: &Done,
) -> Result<(Vec<Plan>, Fitted)> {
    let plans = vec![plans::holdout(rows, design, train, candidates)?];
    let fitted = candidates.iter().enumerate().map(|(k, own)| {
        let found = cells::fit_one(rows, &plans[0], own).map_err(|error| error.to_string());
        done(&own.name, k + 1, candidates.len());
        found
    });
    let fitted = fitted.collect();
    Ok((plans, fitted))
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
    done: &Done,
) -> Result<(Comparison, Vec<Option<Fit>>)> {
    let (plans, fitted) = on_one_split(rows, design, train, &candidates.iter().collect::<Vec<_>>(), done)?;
    let (mut cells, mut fits) = (Cells::new(), Vec::new());
    for own in fitted {
        let (cell, fit) = match own {
            Ok((cell, fit)) => (Ok(cell), Some(fit)),
            Err(reason) => (Err(reason), None),
        };
        cells.push(vec![cell]);
        fits.push(fit);
    }
    Ok((Comparison::of(rows, &plans, candidates, &cells)?, fits))
}

fn nothing_is_held_out() -> Error {
    Error::Arguments("no row can be held out: every task has one row only; compare needs tasks with two or more".into())
}
