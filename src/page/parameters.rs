//! The parameters of all tasks with their standard deviations, as many as fit on a page, and the hyperparameters.

use super::numbers::{maybe, number};
use crate::figures::Parameters;
use crate::model::Fit;
use serde_json::{Value, json};

/// Most parameters on a page.
const MOST: usize = 120_000;

/// Most steps of the climb that are drawn.
const STEPS: usize = 400;

/// `{features, of, estimates, sds, means}`: the features that are shown of so many, and of each of these a list over the tasks and the common mean (null where tasks have several
/// means or none). As many features as make 120,000 parameters, those first in which tasks differ most against their uncertainty. O(T d^3).
pub(super) fn parameters_json(fit: &Fit) -> Value {
    let (tasks, names) = (fit.tasks().len(), fit.tasks().design().features());
    let all = Parameters::of(fit);
    let features = all.differing((MOST / tasks.max(1)).clamp(1, names.len()), &|_| true);
    let list = |of: &dyn Fn(usize) -> f64| (0..tasks).map(|t| number(of(t))).collect::<Value>();
    json!({
        "features": features.iter().map(|f| &names[*f]).collect::<Vec<_>>(),
        "of": names.len(),
        "estimates": features.iter().map(|f| list(&|t| all.estimate(t, *f))).collect::<Vec<_>>(),
        "sds": features.iter().map(|f| list(&|t| all.sd(t, *f))).collect::<Vec<_>>(),
        "means": features.iter().map(|f| maybe(all.mean(*f))).collect::<Vec<_>>(),
    })
}

/// Standard deviations between tasks and of the noise, with intervals where the fit has them: `[[name, estimate, low, high]]`.
pub(super) fn components_json(fit: &Fit) -> Value {
    let known = fit.variance_components();
    let mut rows: Vec<Value> = Vec::new();
    if fit.prior().relatedness.varies() {
        let (names, covariance) = fit.feature_covariance();
        // The level where features are 0 has no profile where they are centred.
        let missing = names.iter().enumerate().filter(|(_, name)| known.iter().all(|own| own.name != **name));
        rows.extend(missing.map(|(k, name)| json!([name, number(covariance[(k, k)].max(0.0).sqrt()), Value::Null, Value::Null])));
    }
    rows.extend(known.iter().map(|own| json!([own.name, number(own.estimate), number(own.low), number(own.high)])));
    if known.is_empty() && fit.inference().is_none() && !fit.noise_is_known() && !fit.dispersion().is_each() {
        rows.push(json!(["noise", number(fit.noise_variance(0).sqrt()), Value::Null, Value::Null]));
    }
    rows.into()
}

/// `[[iteration, log posterior, edges]]` of every E-step, or of evenly drawn ones and the last.
pub(super) fn trace_json(fit: &Fit) -> Value {
    let trace = fit.trace();
    let stride = trace.len().div_ceil(STEPS).max(1);
    let is_drawn = |k: &usize| k.is_multiple_of(stride) || k + 1 == trace.len();
    // Digits that tell the last steps apart.
    let precise = |value: f64| serde_json::Number::from_f64((value * 1e4).round() / 1e4).map_or(Value::Null, Value::Number);
    (0..trace.len()).filter(is_drawn).map(|k| json!([k + 1, precise(trace[k].log_posterior), trace[k].edges])).collect()
}
