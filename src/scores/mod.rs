//! How good forecasts were once the targets are known: proper scores, coverage and calibration tables, over all rows and task by task.

mod mean;
mod tables;

pub(crate) use mean::clustered;
pub use tables::{Coverage, Reliability, wilson_interval};

use crate::error::{Error, Result};
use crate::model::{Fit, Forecast};
use crate::tasks::Rows;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tables::LEVELS;

/// What was forecast of one row, and what came.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The row's task.
    pub task: String,
    /// What was said of the target before.
    pub forecast: Forecast,
    /// The target; the share of successes where they are counted.
    pub target: f64,
    /// Its weight, or its number of trials: how much it counts in the means of Brier scores and deviances, in AUC and in reliability.
    pub weight: f64,
}

/// Scores of some rows. One is none where it means nothing for any of them; lower is better but for log density, AUC and coverage.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// How many there are.
    pub rows: usize,
    /// Mean log predictive density (of counts, shares and levels log probability).
    pub log_density: f64,
    /// Its standard error, clustered by task as those below; none of a single task.
    pub log_density_se: Option<f64>,
    /// Root of the mean squared error of the expectation, of shares where successes are counted; none where tasks have units of their own.
    pub rmse: Option<f64>,
    /// Mean [`Forecast::crps`], in the target's units; none where tasks have units of their own.
    pub crps: Option<f64>,
    /// Its standard error.
    pub crps_se: Option<f64>,
    /// Mean [`Forecast::brier`] over trials.
    pub brier: Option<f64>,
    /// Its standard error.
    pub brier_se: Option<f64>,
    /// Probability that of a success and a failure the success was predicted to be likelier, ties counting half: the area under the ROC curve.
    pub auc: Option<f64>,
    /// Mean [`Forecast::deviance`], rows by their weight; none where tasks have units of their own.
    pub deviance: Option<f64>,
    /// Its standard error.
    pub deviance_se: Option<f64>,
    /// Of the central intervals of 50, 80 and 95 %; empty for shares and levels, whose intervals are not of targets.
    pub coverage: Vec<Coverage>,
    /// Whether targets are counts, whose intervals end at whole numbers and so hold more than their probability.
    pub are_counts: bool,
    /// Shares of the rows whose [`Forecast::pit`] is in each tenth of (0, 1): all .1 where forecasts are calibrated.
    pub pit: Option<Vec<f64>>,
    /// Predicted probabilities against shares of successes, in tenths.
    pub reliability: Option<Vec<Reliability>>,
}

/// The scores of one task.
#[derive(Clone, Debug, Serialize)]
pub struct TaskScores {
    /// Its name.
    pub task: String,
    /// Its scores.
    #[serde(flatten)]
    pub scores: Summary,
}

/// The scores of all rows and of every task.
#[derive(Clone, Debug, Serialize)]
pub struct Scores {
    /// Over all rows.
    #[serde(flatten)]
    pub all: Summary,
    /// Mean AUC over the tasks that have both successes and failures.
    pub task_auc: Option<f64>,
    /// Task by task, in the order of their first rows.
    pub tasks: Vec<TaskScores>,
}

/// What is looked at of one row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Scored {
    pub task: usize,
    weight: f64,
    pub target: f64,
    pub mean: f64,
    pub log_density: f64,
    crps: Option<f64>,
    brier: Option<f64>,
    deviance: Option<f64>,
    pit: Option<(f64, f64)>,
    has_interval: bool,
}

impl Scored {
    pub(crate) fn of(forecast: &Forecast, target: f64, weight: f64, task: usize) -> Self {
        Scored {
            task,
            weight,
            target,
            mean: forecast.moments().0,
            log_density: forecast.log_density(target),
            crps: forecast.crps(target),
            brier: forecast.brier(target),
            deviance: forecast.deviance(target),
            pit: forecast.pit(target),
            has_interval: forecast.has_interval(),
        }
    }
}

impl Summary {
    fn of(rows: &[&Scored]) -> Self {
        let tasks: Vec<usize> = rows.iter().map(|row| row.task).collect();
        let weights: Vec<f64> = rows.iter().map(|row| row.weight).collect();
        let mean = |each: Option<Vec<f64>>, weights: Option<&[f64]>| match each.map(|values| clustered(&values, weights, &tasks)) {
            Some((mean, se)) => (Some(mean), se),
            None => (None, None),
        };
        let densities: Vec<f64> = rows.iter().map(|row| row.log_density).collect();
        let (log_density, log_density_se) = clustered(&densities, None, &tasks);
        let (crps, crps_se) = mean(rows.iter().map(|row| row.crps).collect(), None);
        let (brier, brier_se) = mean(rows.iter().map(|row| row.brier).collect(), Some(&weights));
        let (deviance, deviance_se) = mean(rows.iter().map(|row| row.deviance).collect(), Some(&weights));
        let pit: Option<Vec<(f64, f64)>> = rows.iter().map(|row| row.pit).collect();
        let covered = |level: f64, pit: &[(f64, f64)]| {
            let inside: Vec<f64> = pit.iter().map(|own| f64::from(u8::from(tables::holds(level, *own)))).collect();
            let (covered, covered_se) = clustered(&inside, None, &tasks);
            Coverage { level, covered, covered_se }
        };
        let intervals = pit.as_ref().filter(|_| rows.iter().all(|row| row.has_interval));
        let trials = brier.map(|_| rows.iter().map(|row| (row.mean, row.weight, row.weight * row.target)).collect::<Vec<_>>());
        Summary {
            rows: rows.len(),
            log_density,
            log_density_se,
            rmse: Some((rows.iter().map(|row| (row.target - row.mean).powi(2)).sum::<f64>() / rows.len() as f64).sqrt()),
            crps,
            crps_se,
            brier,
            brier_se,
            auc: trials.as_ref().and_then(|rows| tables::auc(rows)),
            deviance,
            deviance_se,
            are_counts: intervals.is_some_and(|pit| pit.iter().any(|(below, at)| below < at)),
            coverage: intervals.map_or_else(Vec::new, |pit| LEVELS.iter().map(|level| covered(*level, pit)).collect()),
            pit: pit.map(|all| tables::histogram(&all)),
            reliability: trials.map(|rows| tables::reliability(&rows)),
        }
    }
}

impl Scores {
    /// The scores of these rows. O(n log n), and for a family's row about a hundred of its distribution functions.
    ///
    /// ```
    /// use cognate::{Forecast, Outcome, Scores};
    /// let outcome = |task: &str, mean: f64, target: f64| {
    ///     Ok::<_, cognate::Error>(Outcome { task: task.into(), forecast: Forecast::normal(mean, 1.0)?, target, weight: 1.0 })
    /// };
    /// let scores = Scores::of(&[outcome("a", 0.0, 0.5)?, outcome("a", 1.0, 4.0)?, outcome("b", 2.0, 2.0)?])?;
    /// assert_eq!((scores.all.rows, scores.tasks.len()), (3, 2));
    /// assert_eq!(scores.tasks[1].scores.rmse, Some(0.0));
    /// // Two of the three are within .674 standard deviations of their mean.
    /// assert!((scores.all.coverage[0].covered - 2.0 / 3.0).abs() < 1e-15);
    /// # Ok::<(), cognate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Arguments`] without any row, for a weight that is not positive, or for a target that cannot occur.
    pub fn of(outcomes: &[Outcome]) -> Result<Self> {
        if outcomes.is_empty() {
            return Err(Error::Arguments("there are no rows to score; give at least one".into()));
        }
        let mut names: Vec<&str> = Vec::new();
        let mut numbers = std::collections::HashMap::new();
        for (k, Outcome { task, forecast, target, weight }) in outcomes.iter().enumerate() {
            let problem =
                if *weight > 0.0 && weight.is_finite() { forecast.refuses(*target) } else { Some("has a weight that is not positive") };
            if let Some(problem) = problem {
                return Err(Error::Arguments(format!("outcome {}, task '{task}': the target {target} {problem}", k + 1)));
            }
            numbers.entry(task.as_str()).or_insert_with(|| {
                names.push(task);
                names.len() - 1
            });
        }
        let each = |own: &Outcome| Scored::of(&own.forecast, own.target, own.weight, numbers[own.task.as_str()]);
        let rows: Vec<Scored> = outcomes.par_iter().map(each).collect();
        Ok(Scores::of_rows(&rows.iter().collect::<Vec<_>>(), |task| names[task].to_string()))
    }

    /// Of at least one row, tasks by number.
    pub(crate) fn of_rows(rows: &[&Scored], name: impl Fn(usize) -> String) -> Self {
        let mut members: BTreeMap<usize, Vec<&Scored>> = BTreeMap::new();
        rows.iter().for_each(|row| members.entry(row.task).or_default().push(*row));
        let tasks: Vec<TaskScores> = members.iter().map(|(task, own)| TaskScores { task: name(*task), scores: Summary::of(own) }).collect();
        let known: Vec<f64> = tasks.iter().filter_map(|own| own.scores.auc).collect();
        let task_auc = (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64);
        Scores { all: Summary::of(rows), task_auc, tasks }
    }

    /// What means something where tasks have units or families of their own.
    pub(crate) fn of_many_units(self) -> Self {
        let all = Summary { rmse: None, crps: None, crps_se: None, deviance: None, deviance_se: None, ..self.all };
        Scores { all, ..self }
    }
}

impl Fit {
    /// The scores of its predictions of these rows, each by the posterior of its task or, where the fit has not seen the task, by the prior. Rows
    /// that were fitted are predicted too well. As many O(d^2) as rows beside [`Scores::of`].
    ///
    /// ```
    /// use cognate::{Design, Exchangeable, FeatureCovariance, Generalised, Model, Poisson, Rows};
    /// let (mut train, mut test) = (Rows::new("calls", &["hour"]), Rows::new("calls", &["hour"]));
    /// for i in 0..120 {
    ///     let (t, hour) = (i % 6, f64::from(i / 6) / 10.0);
    ///     let calls = f64::from((i * 7 % 5 + t) / 2);
    ///     (if i % 4 == 0 { &mut test } else { &mut train }).push(&format!("office {t}"), &[hour], calls, 1.0)?;
    /// }
    /// let tasks = train.tasks(&Design::varying(train.features())).with_rows(train)?;
    /// let fit = Model::new(Generalised::new(Poisson), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks)?;
    /// let scores = fit.scores(&test)?;
    /// assert!(scores.all.rows == 30 && scores.all.crps.unwrap() < 1.0 && scores.all.brier.is_none());
    /// assert!((scores.all.pit.unwrap().iter().sum::<f64>() - 1.0).abs() < 1e-12);
    /// # Ok::<(), cognate::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Fit::predict`] and [`Scores::of`]; [`Error::Shape`] for rows of other features.
    pub fn scores(&self, rows: &Rows) -> Result<Scores> {
        let numbers: Vec<Option<usize>> = rows.names().iter().map(|name| self.task_number(name)).collect();
        let outcomes = (0..rows.len()).map(|i| {
            let (task, weight) = (&rows.names()[rows.task(i)], rows.weight(i));
            let (x, offset, group) = (rows.x(i), rows.offset(i), rows.groups().get(rows.group(rows.task(i))));
            let forecast = match (numbers[rows.task(i)], group) {
                (None, Some(group)) => self.forecast_new(group, task, x, weight, offset)?,
                (number, _) => self.forecast(number, task, x, weight, offset)?,
            };
            Ok(Outcome { task: task.clone(), forecast, target: rows.y(i), weight })
        });
        self.scores_of(&outcomes.collect::<Result<Vec<_>>>()?)
    }

    /// The scores of predictions that it made.
    pub(crate) fn scores_of(&self, outcomes: &[Outcome]) -> Result<Scores> {
        let scores = Scores::of(outcomes)?;
        let many = self.tasks().has_own_units() || self.tasks().groups().len() > 1;
        Ok(if many { scores.of_many_units() } else { scores })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, Gamma, StandardNormal, StudentT};

    /// Everything that may occur, or all of it but 1e-12, with probabilities.
    fn support(forecast: &Forecast, name: &str, weight: f64) -> Vec<(f64, f64)> {
        let targets: Vec<f64> = match name {
            "binomial" | "probit" => (0..=weight as u32).map(|won| f64::from(won) / weight).collect(),
            "ordinal" => (1..=4).map(f64::from).collect(),
            _ => (0..4000).map(f64::from).take_while(|y| forecast.pit(*y).unwrap().0 < 1.0 - 1e-12).collect(),
        };
        targets.into_iter().map(|y| (y, forecast.log_density(y).exp())).collect()
    }

    const DISCRETE: [(&str, &[f64], f64); 6] = [
        ("bernoulli", &[], 1.0),
        ("binomial", &[], 3.0),
        ("probit", &[], 5.0),
        ("poisson", &[], 1.0),
        ("negative-binomial", &[0.6], 1.0),
        ("ordinal", &[0.7, 1.8], 1.0),
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        /// In expectation no other forecast is better than the truth, by any of the scores; the truth's transforms are uniform, and its own score is
        /// half the mean distance between two of its targets.
        #[test]
        fn the_truth_scores_best_and_is_calibrated(
            truth in (-1.5..1.5f64, 0.0..1.0f64), other in (-1.5..1.5f64, 0.0..1.0f64), kind in 0..DISCRETE.len()
        ) {
            let (name, dispersion, weight) = DISCRETE[kind];
            let forecast = |predictor| Forecast::family(name, dispersion, weight, predictor).unwrap();
            let (truth, other) = (forecast(truth), forecast(other));
            let targets = support(&truth, if name == "bernoulli" { "binomial" } else { name }, weight);
            prop_assert!((targets.iter().map(|(_, p)| p).sum::<f64>() - 1.0).abs() < 1e-6);
            let expected = |score: &dyn Fn(f64) -> f64| targets.iter().map(|(y, p)| p * score(*y)).sum::<f64>();
            let crps = |of: &Forecast| expected(&|y| of.crps(y).unwrap());
            prop_assert!(crps(&truth) <= crps(&other) + 1e-9);
            prop_assert!(expected(&|y| truth.log_density(y)) >= expected(&|y| other.log_density(y)) - 1e-9);
            if truth.brier(0.0).is_some() {
                // The expectation is by the 20-node rule, the log densities about their peaks.
                prop_assert!(expected(&|y| truth.brier(y).unwrap()) <= expected(&|y| other.brier(y).unwrap()) + 1e-6);
            }
            if truth.deviance(0.0).is_some() {
                prop_assert!(expected(&|y| truth.deviance(y).unwrap()) <= expected(&|y| other.deviance(y).unwrap()) + 1e-6);
            }
            let mean_distance = targets.iter().map(|(y, p)| p * expected(&|x| (x - y).abs())).sum::<f64>();
            prop_assert!((crps(&truth) - 0.5 * mean_distance).abs() < 1e-6 * (1.0 + mean_distance), "{} {mean_distance}", crps(&truth));
            let mut bins = vec![0.0; 10];
            for (y, p) in &targets {
                let own = tables::histogram(&[truth.pit(*y).unwrap()]);
                bins.iter_mut().zip(own).for_each(|(bin, share)| *bin += p * share);
            }
            prop_assert!(bins.iter().all(|bin| (bin - 0.1).abs() < 1e-6), "{bins:?}");
        }
    }

    /// Draws from predictor and family, scored by the truth, by one that is too sure, one that is not sure enough and one beside it.
    #[test]
    fn the_true_forecast_of_numbers_scores_best_and_is_calibrated() {
        const ROWS: usize = 1500;
        let mut random = ChaCha8Rng::seed_from_u64(7);
        for name in ["normal", "gamma", "student"] {
            let (mean, sd, numbers): (f64, f64, &[f64]) = match name {
                "gamma" => (0.4, 0.5, &[1.8]),
                "student" => (0.4, 0.5, &[0.7, 3.0]),
                _ => (0.4, 0.5, &[1.3]),
            };
            let mut targets = Vec::new();
            for _ in 0..ROWS {
                let eta = mean + sd * random.sample::<f64, _>(StandardNormal);
                targets.push(match name {
                    "gamma" => eta.exp() * numbers[0] * Gamma::new(numbers[0].recip(), 1.0).unwrap().sample(&mut random),
                    "student" => eta + numbers[0].sqrt() * StudentT::new(numbers[1]).unwrap().sample(&mut random),
                    _ => eta + numbers[0].sqrt() * random.sample::<f64, _>(StandardNormal),
                });
            }
            let scores = |shift: f64, factor: f64| {
                let dispersion: Vec<f64> = numbers.iter().enumerate().map(|(k, v)| if k == 0 { v * factor } else { *v }).collect();
                let forecast = Forecast::family(name, &dispersion, 1.0, (mean + shift, sd)).unwrap();
                let outcome = |target: &f64| Outcome { task: "a".into(), forecast: forecast.clone(), target: *target, weight: 1.0 };
                Scores::of(&targets.iter().map(outcome).collect::<Vec<_>>()).unwrap().all
            };
            let truth = scores(0.0, 1.0);
            for (shift, factor) in [(0.0, 0.5), (0.0, 2.0), (0.3, 1.0), (-0.3, 1.0)] {
                let other = scores(shift, factor);
                assert!(other.log_density < truth.log_density && other.crps > truth.crps, "{name} {shift} {factor}");
            }
            // Standard errors of shares of 1,500 rows: four of them.
            let error = |share: f64| 4.0 * (share * (1.0 - share) / ROWS as f64).sqrt();
            assert!(truth.pit.unwrap().iter().all(|share| (share - 0.1).abs() < error(0.1)), "{name}");
            assert!(truth.coverage.iter().all(|own| (own.covered - own.level).abs() < error(own.level)), "{name}: {:?}", truth.coverage);
            let narrow = scores(0.0, 0.2).pit.unwrap();
            assert!(narrow[0] + narrow[9] > 0.25, "{name}: {narrow:?}");
        }
    }

    #[test]
    fn what_cannot_be_scored_is_refused_by_place() {
        let outcome = |target: f64, weight: f64| Outcome {
            task: "a".into(),
            forecast: Forecast::family("poisson", &[], 1.0, (0.0, 0.1)).unwrap(),
            target,
            weight,
        };
        let complaint = |outcomes: &[Outcome]| Scores::of(outcomes).unwrap_err().to_string();
        assert!(complaint(&[]).contains("no rows to score"));
        assert!(complaint(&[outcome(1.0, 1.0), outcome(0.5, 1.0)]).contains("outcome 2, task 'a': the target 0.5 is no count"));
        assert!(complaint(&[outcome(1.0, 0.0)]).contains("a weight that is not positive"));
        for refused in [
            Forecast::normal(0.0, 0.0),
            Forecast::family("gaussian", &[], 1.0, (0.0, 1.0)),
            Forecast::family("student", &[1.0], 1.0, (0.0, 1.0)),
            Forecast::family("gamma", &[-1.0], 1.0, (0.0, 1.0)),
            Forecast::family("poisson", &[], 1.0, (f64::NAN, 1.0)),
        ] {
            assert!(refused.is_err());
        }
        let far = Forecast::family("poisson", &[], 1.0, (800.0, 0.1)).unwrap();
        assert_eq!((far.crps(3.0), far.pit(3.0)), (None, Some((0.0, 0.0))));
        let part = Forecast::family("binomial", &[], 2.5, (0.0, 0.1)).unwrap();
        assert_eq!(part.crps(0.0), None);
    }
}
