//! What `cognate compare --format json` printed, as far as a page shows it.

use crate::error::{Error, Result};
use crate::model::Gain;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A comparison, or curves of new tasks; unknown keys are left out.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Compared {
    rungs: Vec<Rung>,
    best: Option<String>,
    simplest: Option<String>,
    verdict: Option<Said>,
    gains_of: Option<String>,
    #[serde(skip_serializing)]
    tasks: Vec<Gain>,
    outer: Option<Outer>,
    curves: Vec<Curve>,
    command: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Rung {
    name: String,
    score: Option<f64>,
    score_se: Option<f64>,
    difference: Option<f64>,
    difference_se: Option<f64>,
    #[serde(default)]
    metrics: Metrics,
    refused: Option<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Metrics {
    rmse: Option<f64>,
    explained_variance: Option<f64>,
    brier: Option<f64>,
    task_auc: Option<f64>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Said {
    text: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct Outer {
    rungs: Vec<Rung>,
    rows: usize,
}

#[derive(Debug, Deserialize, Serialize)]
struct Curve {
    name: String,
    shots: Vec<Shot>,
    refused: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Shot {
    rows: usize,
    score: Option<f64>,
    score_se: Option<f64>,
    gain: Option<f64>,
    gain_se: Option<f64>,
}

impl Compared {
    /// # Errors
    /// [`Error::Arguments`] for what is no comparison.
    pub(super) fn of(value: Value) -> Result<Self> {
        let refused = |problem: String| {
            Error::Arguments(format!(
                "it is not what 'cognate compare --format json' prints ({problem}); give the file that it was written to"
            ))
        };
        let own: Compared = serde_json::from_value(value).map_err(|error| refused(error.to_string()))?;
        if own.rungs.is_empty() && own.curves.is_empty() {
            return Err(refused("it has neither rungs nor curves".into()));
        }
        Ok(own)
    }

    /// What every task gains by sharing.
    pub(super) fn gains(&self) -> &[Gain] {
        &self.tasks
    }
}
