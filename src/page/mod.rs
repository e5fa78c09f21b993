//! A fit as one page for a browser, with everything in the file: what was found, drawn so that it can be looked into, and tables behind it.

mod compared;
mod embed;
mod numbers;
mod parameters;
mod relations;
mod teaching;
mod verdict;

use crate::check::Check;
use crate::error::{Error, Result};
use crate::figures::{BLOCKS, Heat, Links, Relation};
use crate::model::{Fit, Gain};
use compared::Compared;
use numbers::{maybe, number, shortened};
use serde_json::{Value, json};

/// Tasks of a check that are listed.
const CHECKED: usize = 50;

/// A report of a fit: a verdict in words, the task graph, the heat map of relatedness, parameters with intervals, variances and the climb of the fit, with what a check and a comparison
/// say where these are given. [`Page::html`] is one file that asks nothing of any other.
///
/// ```
/// use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Model, Rows, page::Page};
/// let mut rows = Rows::new("growth", &["light"]);
/// for i in 0..90 {
///     let (field, light) = (i % 6, f64::from(i % 9) / 4.0);
///     let growth = 2.0 + 0.3 * f64::from(field % 4) + light + f64::from((i * 5 + field) % 7) * 0.1;
///     rows.push(&format!("field {field} </script>"), &[light], growth, 1.0)?;
/// }
/// let tasks = rows.tasks(&Design::varying(rows.features()));
/// let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks)?;
/// let html = Page::of(&fit, 0)?.html();
/// assert!(html.starts_with("<!doctype html>") && html.contains("share a common mean"));
/// // Names are data, whatever they look like.
/// assert!(!html.contains("field 3 </script>"));
/// # Ok::<(), cognate::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Page {
    data: Value,
    text: String,
}

impl Page {
    /// What the fit alone tells. An E-step for the donors of tasks, at most O(T^2) for relations (up to 10,000 tasks; of a task graph of up to 1,000 tasks O(T^3)), O(T d^3) for
    /// parameters, and of up to 30 tasks with a learned covariance 400 draws of [`Relations`](crate::relatedness::Relations), for which the seed is. The same whatever the thread count.
    ///
    /// # Errors
    /// What the draws refuse.
    pub fn of(fit: &Fit, seed: u64) -> Result<Self> {
        let relation = Relation::of(fit);
        let links = relations::links_json(&Links::of(fit, relation.as_ref(), seed)?);
        let tasks = fit.tasks();
        let examined = fit.outlying_tasks(seed).ok();
        let unlike = examined.map(|own| {
            let named: Vec<Value> = (own.tasks.iter().take(own.named().min(CHECKED)))
                .map(|own| {
                    json!([own.task, number(own.distance), own.directions, number(own.q_value), own.farthest, number(own.farthest_z)])
                })
                .collect();
            json!({"tasks": named, "count": own.named(), "p_value": number(own.p_value)})
        });
        let singular: Vec<Value> = fit.singularities().iter().map(|own| json!([own.finding, own.meaning, own.remedy])).collect();
        let data = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "seed": seed,
            "title": title(fit),
            "facts": facts(fit),
            "verdict": verdict::verdict(fit, relation.as_ref(), &links),
            "warnings": fit.warnings(),
            "singular": singular,
            "unlike": unlike,
            "visibility": shortened(json!(fit.visibility())),
            "tasks": {
                "names": tasks.names(),
                "rows": (0..tasks.len()).map(|t| tasks.statistics(t).rows()).collect::<Vec<_>>(),
                "own": (0..tasks.len()).map(|t| maybe(fit.own_share(t))).collect::<Vec<_>>(),
                "clusters": clusters(fit),
            },
            "graph": links,
            "heat": relations::heat_json(Heat::of(fit, relation.as_ref(), BLOCKS).as_ref()),
            "parameters": parameters::parameters_json(fit),
            "components": parameters::components_json(fit),
            "feature_correlations": verdict::feature_correlations(fit),
            "trace": parameters::trace_json(fit),
            "stop": format!("{}", fit.stop()),
            "donors": teaching::teaching_json(fit),
            "gains": gains(fit.gains()),
            "gains_of": if fit.gains().is_empty() { Value::Null } else { json!(fit.structure()) },
            "detached": fit.detached(),
        });
        Ok(Page { data, text: fit.to_string() })
    }

    /// With calibration and residuals of rows.
    pub fn with_check(mut self, check: &Check) -> Self {
        let shown = check.misfits().clamp(10, CHECKED);
        let mut all = shortened(serde_json::to_value(check).unwrap_or(Value::Null));
        if let Some(Value::Array(tasks)) = all.get_mut("tasks") {
            tasks.truncate(shown);
        }
        all["misfits"] = check.misfits().into();
        self.data["check"] = all;
        if let Some(Value::Array(said)) = self.data.get_mut("verdict") {
            said.push(verdict::believed(check).into());
        }
        self
    }

    /// With what `cognate compare --format json` printed: the ladder, the verdict and the gains of tasks, or curves of new tasks (both, one after another).
    ///
    /// # Errors
    /// [`Error::Arguments`] for what is no comparison.
    ///
    /// ```
    /// # use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Model, Rows, page::Page};
    /// # let mut rows = Rows::new("growth", &["light"]);
    /// # for i in 0..90 {
    /// #     let (field, light) = (i % 6, f64::from(i % 9) / 4.0);
    /// #     rows.push(&format!("field {field}"), &[light], light + f64::from((i * 5 + field) % 7) * 0.1, 1.0)?;
    /// # }
    /// # let tasks = rows.tasks(&Design::varying(rows.features()));
    /// # let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks)?;
    /// let page = Page::of(&fit, 0)?;
    /// let compared = serde_json::json!({"rungs": [{"name": "pooled", "score": -1.0}], "verdict": {"text": "share parameters"}});
    /// assert!(page.clone().with_comparison(compared)?.html().contains("share parameters"));
    /// assert!(page.with_comparison(serde_json::json!({})).is_err());
    /// # Ok::<(), cognate::Error>(())
    /// ```
    pub fn with_comparison(mut self, comparison: Value) -> Result<Self> {
        let own = Compared::of(comparison)?;
        if !own.gains().is_empty() {
            self.data["gains"] = gains(own.gains());
        }
        let shown = serde_json::to_value(&own).map_err(|error| Error::Arguments(error.to_string()))?;
        for (key, value) in shortened(shown).as_object().into_iter().flatten() {
            let is_empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
            match key.as_str() {
                _ if is_empty => {}
                "gains_of" => self.data["gains_of"] = value.clone(),
                _ => self.data["comparison"][key] = value.clone(),
            }
        }
        Ok(self)
    }

    /// With the commands by which the model was made.
    pub fn with_history(mut self, commands: &[String]) -> Self {
        self.data["history"] = commands.into();
        self
    }

    /// With the command by which it was made.
    pub fn with_command(mut self, command: &str) -> Self {
        self.data["command"] = command.into();
        self
    }

    /// The whole file. Names and words are data in it, never markup.
    pub fn html(&self) -> String {
        embed::html(&self.data, &self.text)
    }
}

/// `[[task, expected, low, high]]`.
fn gains(all: &[Gain]) -> Value {
    all.iter().map(|own| json!([own.task, number(own.expected), number(own.low), number(own.high)])).collect()
}

fn title(fit: &Fit) -> String {
    match fit.tasks().are_estimates() {
        true => format!("{} tasks from estimates, structure {}", fit.tasks().len(), fit.structure()),
        false => format!("{}: {} tasks, structure {}", fit.tasks().target(), fit.tasks().len(), fit.structure()),
    }
}

fn features(all: usize, varying: usize) -> String {
    if varying == all { format!("{all}, all varying") } else { format!("{all}, {varying} varying") }
}

/// What a reader looks for first: `[[name, value]]`.
fn facts(fit: &Fit) -> Value {
    let (tasks, prior) = (fit.tasks(), fit.prior());
    let mut all = vec![
        ("family", fit.family().to_string()),
        ("structure", fit.structure().to_string()),
        ("tasks", tasks.len().to_string()),
        (if tasks.are_estimates() { "estimates" } else { "rows" }, tasks.rows().to_string()),
        ("features", features(tasks.design().len(), prior.varying.len() + prior.free.len())),
        (if fit.log_likelihood_is_bound() { "log-likelihood, at least" } else { "log-likelihood" }, format!("{:.2}", fit.log_likelihood())),
        ("kind", serde_json::to_value(fit.log_likelihood_kind()).ok().and_then(|own| own.as_str().map(String::from)).unwrap_or_default()),
    ];
    if !tasks.are_estimates() {
        all.insert(0, ("target", tasks.target().to_string()));
    }
    if let Some(aic) = fit.aic() {
        all.push(("AIC", format!("{aic:.1}")));
    }
    all.push(("fit", if fit.converged() { "converged" } else { "not converged" }.to_string()));
    all.into_iter().map(|(name, value)| json!([name, value])).collect()
}

/// Of clusters the likeliest of each task from 1 and its probability, 0 being none: `{of, probabilities, sizes}`; null for other structures.
fn clusters(fit: &Fit) -> Value {
    let Some(all) = fit.memberships() else { return Value::Null };
    let of: Vec<usize> = (0..fit.tasks().len()).map(|t| fit.cluster_of(t).map_or(0, |c| c + 1)).collect();
    let probabilities: Vec<Value> = all.column_iter().map(|own| number(own.max())).collect();
    json!({"of": of, "probabilities": probabilities, "count": all.nrows() - 1})
}
