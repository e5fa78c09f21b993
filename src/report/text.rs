//! The page a person reads, laid out like a mixed-model summary.

use crate::graph::{Edge, TaskGraph};
use crate::likelihood::Evidence;
use crate::linalg;
use crate::model::{Fit, Intervals, LikelihoodKind, Null, NullTest, VarianceTest, Visibility};
use std::fmt::{self, Display, Formatter};

/// Most lines of any list on the page.
pub(crate) const SHOWN: usize = 15;

/// Most features whose correlations are printed.
const WIDEST: usize = 10;

/// Five significant digits, plainly written where that is readable.
pub(super) fn figure(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".into()
    } else if (1e-4..1e7).contains(&size) {
        let digits = (4 - size.log10().floor() as i32).clamp(0, 8) as usize;
        format!("{value:.digits$}")
    } else {
        format!("{value:.4e}")
    }
}

/// Two decimals, where what is nothing to these has no sign.
pub(super) fn two_decimals(value: f64) -> String {
    format!("{:.2}", if value.abs() < 5e-3 { 0.0 } else { value })
}

impl Display for Fit {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let tasks = self.tasks();
        let design = tasks.design();
        let names = design.features();
        let prior = self.prior();
        let sizes: Vec<u64> = (0..tasks.len()).map(|t| tasks.statistics(t).rows()).collect();
        let (least, most) = (sizes.iter().min().unwrap_or(&0), sizes.iter().max().unwrap_or(&0));
        let each = if least == most { least.to_string() } else { format!("{least} to {most}") };
        writeln!(out, "{} model, structure {}", self.family(), self.structure())?;
        let (count, rows, varying) = (tasks.len(), tasks.rows(), prior.varying.len() + prior.free.len());
        if tasks.are_estimates() {
            write!(out, "Data: {} of {} ({each} each)", counted(rows as usize, "estimate"), counted(count, "task"))?;
        } else {
            let (rows, count) = (counted(rows as usize, "row"), counted(count, "task"));
            write!(out, "Data: target {}, {rows}, {count} ({each} rows each)", tasks.target())?;
        }
        writeln!(out, ", {}, {varying} varying", counted(names.len(), "feature"))?;
        if !prior.unrelated.is_empty() {
            let chosen: Vec<&str> = prior.related_features().map(|f| names[f].as_str()).collect();
            writeln!(out, "Graph features: {}; in the others each task varies by itself", chosen.join(", "))?;
        }
        let by_posterior = prior.mixture.is_some() || prior.task_scales.is_some();
        let kind = match self.log_likelihood_kind() {
            LikelihoodKind::Marginal if by_posterior => "marginal, at the maximum of the posterior",
            LikelihoodKind::Marginal => "marginal, maximum likelihood",
            LikelihoodKind::Restricted => "restricted: the common mean integrated out; not comparable with marginal ones",
            LikelihoodKind::Maximised => "at the estimated coefficients; not comparable with marginal ones",
        };
        match self.log_likelihood_error() {
            None if self.log_likelihood_is_bound() => {
                writeln!(out, "Log-likelihood: at least {:.2} ({kind}; a variational bound)", self.log_likelihood())?
            }
            None if self.inference().is_some() && self.log_likelihood_kind() != LikelihoodKind::Maximised => {
                writeln!(out, "Log-likelihood: {:.2} ({kind}; Laplace's approximation)", self.log_likelihood())?
            }
            None => writeln!(out, "Log-likelihood: {:.2} ({kind})", self.log_likelihood())?,
            Some(error) => writeln!(out, "Log-likelihood: about {:.1}, standard error {error:.1} ({kind})", self.log_likelihood())?,
        }
        if let Some(evidence) = self.evidence() {
            out.write_str(&evidence_text(evidence, tasks.names()))?;
        }
        if let (Some(aic), Some(bic)) = (self.aic(), self.bic()) {
            let is_bound = self.log_likelihood_is_bound() && self.evidence().is_none();
            let caution = match (is_bound, self.log_likelihood_kind()) {
                (true, _) => "; at most, for the log-likelihood is a bound",
                (false, _) if by_posterior => "; not at the maximum of the likelihood",
                (false, LikelihoodKind::Restricted) => "; of the restricted likelihood: not comparable with others",
                (false, _) => "",
            };
            writeln!(out, "AIC {aic:.2}, BIC {bic:.2}, {} parameters{caution}", self.parameters())?;
        }
        let steps = self.trace().len();
        writeln!(out, "Stopped: {} after {steps} iteration{}", self.stop(), if steps == 1 { "" } else { "s" })?;

        let component = |name: &str| {
            let own = self.variance_components().iter().find(|own| own.name == name);
            own.map_or(String::new(), |own| format!("  ({} to {})", figure(own.low), figure(own.high)))
        };
        let units = match (tasks.are_estimates(), tasks.has_own_units()) {
            (true, _) => "the estimates' units",
            (_, true) => "standard deviations of each target per unit of the feature",
            _ if self.inference().is_some() => "the linear predictor's units per unit of the feature",
            _ => "the target's units per unit of the feature",
        };
        let which = if prior.mixture.is_some() { "of tasks within clusters of scale 1" } else { "between tasks" };
        writeln!(out, "\nVariance {which} (sd in {units}):")?;
        let (varying, covariance) = self.feature_covariance();
        if !prior.relatedness.varies() {
            writeln!(
                out,
                "  none is shared: {}",
                match (prior.varying.is_empty(), prior.free.is_empty()) {
                    (true, true) => "all tasks have the same parameters",
                    (true, false) => "every task has an intercept of its own, unshrunk, and all have the same slopes",
                    (false, _) => "each task has its own prior variance, and no information crosses",
                }
            )?;
        } else {
            let width = varying.iter().map(|name| name.chars().count()).max().unwrap_or(0);
            let correlation = linalg::correlation(&covariance);
            let ends = varying.iter().map(|name| component(name).len()).max().unwrap_or(0);
            for (k, name) in varying.iter().enumerate().take(40) {
                let variance = covariance[(k, k)];
                let sd = figure(variance.max(0.0).sqrt());
                write!(out, "  {name:<width$}  variance {:>12}  sd {sd:>12}{:ends$}", figure(variance), component(name))?;
                // As lme4 prints them: with the features above.
                if covariance.nrows() <= WIDEST && (0..k).any(|j| covariance[(k, j)] != 0.0) {
                    write!(out, "  correlation")?;
                    (0..k).try_for_each(|j| write!(out, " {:>6}", two_decimals(correlation[(k, j)])))?;
                }
                writeln!(out)?;
            }
            if varying.len() > 40 {
                writeln!(out, "  ... and {} more", varying.len() - 40)?;
            }
            // What is so in the table's coordinates only.
            let is_one = |k: usize| (0..k).any(|j| correlation[(k, j)].abs() > 0.995);
            if (1..varying.len().min(WIDEST)).any(is_one) && self.dependences().is_empty() {
                writeln!(
                    out,
                    "  a correlation of 1 is that of a level at features of 0, far from the rows; at the means of the features none is singular"
                )?;
            }
        }
        if tasks.are_estimates() {
            writeln!(out, "  noise as given: the covariance of each task's own estimate")?;
        } else if self.noise_is_known() {
            writeln!(out, "  noise as given: variance 1 over a row's weight")?;
        } else if prior.groups.are_several() {
            for (g, group) in tasks.groups().iter().enumerate() {
                let members: Vec<usize> = tasks.members(g).collect();
                write!(out, "  {group}: {}", counted(members.len(), "task"))?;
                if prior.relatedness.varies() {
                    write!(out, ", scale {}", figure(prior.groups.scales[g]))?;
                }
                for (name, value) in members.first().map_or_else(Vec::new, |t| self.family_dispersion(*t)) {
                    write!(out, ", {name} {}{}", figure(value), component(&format!("{group} {name}")))?;
                }
                writeln!(out)?;
            }
        } else if self.inference().is_some() {
            let names = self.family_dispersion(0);
            for (k, (name, value)) in names.iter().enumerate() {
                if !self.dispersion().is_each() {
                    writeln!(out, "  {name} {}{}", figure(*value), component(name))?;
                    continue;
                }
                let mut all: Vec<f64> = (0..tasks.len()).map(|t| self.dispersion().block(t)[k]).collect();
                all.sort_by(f64::total_cmp);
                let middle = figure(all[all.len() / 2]);
                writeln!(out, "  {name} a task: {} to {}, median {middle}", figure(all[0]), figure(all[all.len() - 1]))?;
            }
        } else if !self.dispersion().is_each() {
            let (variance, sd) = (figure(self.noise_variance(0)), figure(self.noise_variance(0).sqrt()));
            writeln!(out, "  noise variance {variance}  sd {sd}{}", component("noise"))?;
        } else {
            let mut all: Vec<f64> = (0..tasks.len()).map(|t| self.noise_variance(t)).collect();
            all.sort_by(f64::total_cmp);
            let middle = figure(all[all.len() / 2]);
            writeln!(out, "  noise variance a task: {} to {}, median {middle}", figure(all[0]), figure(all[all.len() - 1]))?;
        }
        if let Some(reason) = self.variance_components_reason().filter(|_| prior.relatedness.varies()) {
            writeln!(out, "  no intervals of these: {reason}")?;
        }
        if let Some(correlation) = self.residual_correlation() {
            writeln!(out, "\nCorrelations of the errors of a row between tasks:")?;
            let place = |k: usize| (k / tasks.len(), k % tasks.len());
            let mut pairs: Vec<(usize, usize)> = (0..tasks.len().pow(2)).map(place).filter(|(s, t)| s < t).collect();
            pairs.sort_by(|a, b| correlation[*b].abs().total_cmp(&correlation[*a].abs()));
            for (s, t) in pairs.iter().take(SHOWN) {
                writeln!(out, "  {} -- {}  {:.2}", tasks.names()[*s], tasks.names()[*t], correlation[(*s, *t)])?;
            }
            if pairs.len() > SHOWN {
                let root = (pairs.iter().map(|pair| correlation[*pair].powi(2)).sum::<f64>() / pairs.len() as f64).sqrt();
                writeln!(out, "  ... and {} more, root mean square {root:.2}", pairs.len() - SHOWN)?;
            }
        }

        if !prior.mean_features.is_empty() {
            for g in 0..prior.groups.len() {
                write_means(self, g, out)?;
            }
        }

        super::clusters::write_clusters(self, out)?;
        super::clusters::write_scales(self, out)?;
        super::kernel::write_kernel(self, out)?;

        match self.intervals_reason() {
            _ if self.intervals() == Intervals::Full => {
                writeln!(out, "\nIntervals (95 %) carry the uncertainty of the variances and the noise")?
            }
            None => writeln!(out, "\nIntervals (95 %) take variances and noise as known (plug-in)")?,
            Some(reason) => writeln!(out, "\nIntervals (95 %) take variances and noise as known: {reason}")?,
        }

        if self.learns_relatedness()
            && let Some(variances) = prior.relatedness.variances(tasks.len())
        {
            let mut spread: Vec<f64> = variances.iter().copied().collect();
            spread.sort_by(f64::total_cmp);
            let (least, most) = (figure(spread[0]), figure(spread[spread.len() - 1]));
            writeln!(out, "\nVariance of each task, times those above: {least} to {most}, median {}", figure(spread[spread.len() / 2]))?;
            if let Some(strength) = self.prior_strength() {
                let directions = prior.related_directions();
                writeln!(out, "  strength of the prior on the task covariance: {} ({directions} directions vary)", figure(strength))?;
            }
        }
        if let Some(loadings) = self.loadings() {
            out.write_str(&super::loadings_text(loadings, tasks.names()))?;
        }
        if self.learns_relatedness() && !prior.relatedness.is_too_wide() {
            let graph = self.graph();
            let strongest = graph.strongest();
            let looked_at = self.candidates().map(|rule| rule.pairs as usize).filter(|pairs| *pairs > 0);
            let pairs = looked_at.unwrap_or(tasks.len() * tasks.len().saturating_sub(1) / 2);
            let (edges, components) = (counted(strongest.len(), "edge"), counted(graph.components().len(), "component"));
            let pairs = counted(pairs, "pair");
            let is_learned =
                strongest.is_empty() || strongest.iter().any(|(_, _, edge)| edge.probability.is_some() || edge.score.is_some());
            if is_learned {
                writeln!(out, "\nTask graph: {edges} of {pairs}, {components}")?;
            } else {
                let sure = "which of them are sure, 'cognate relatedness MODEL' says";
                writeln!(out, "\nTask graph: estimates of {pairs}, none of them 0 in the structure '{}'; {sure}", self.structure())?;
            }
            if let Some(visibility) = self.visibility() {
                writeln!(out, "  {}", visibility_text(visibility))?;
            }
            if let Some(communities) = communities_text(&graph).filter(|_| is_learned) {
                writeln!(out, "  {communities}")?;
            }
            for (s, t, edge) in strongest.iter().take(SHOWN) {
                writeln!(out, "  {} -- {}  {}", graph.node(*s).task, graph.node(*t).task, edge_text(edge))?;
            }
            if strongest.len() > SHOWN {
                writeln!(out, "  ... and {} more", strongest.len() - SHOWN)?;
            }
        }
        out.write_str(&super::guard_text(self))?;
        if !self.warnings().is_empty() {
            writeln!(out, "\nWarnings:")?;
            for warning in self.warnings() {
                writeln!(out, "  - {warning}")?;
            }
        }
        Ok(())
    }
}

/// Features of which means are shown.
const MEANS: usize = 40;

/// The means of a group of tasks, or of all.
fn write_means(fit: &Fit, group: usize, out: &mut Formatter<'_>) -> fmt::Result {
    let (prior, names) = (fit.prior(), fit.tasks().design().features());
    match fit.tasks().groups().get(group) {
        None => writeln!(out, "\nCommon mean:")?,
        Some(name) => writeln!(out, "\nMean of {name}:")?,
    }
    let (mean, errors) = (fit.mean_of_group(group), fit.mean_covariance_of_group(group));
    let shown = MEANS / prior.groups.len();
    let width = prior.mean_features.iter().map(|f| names[*f].chars().count()).max().unwrap_or(0).max(7);
    writeln!(out, "  {:<width$}  {:>12}  {:>12}  {:>8}  {:>12}  {:>12}", "feature", "estimate", "se", "z", "low", "high")?;
    let intervals = fit.mean_intervals_of_group(group, 0.95);
    for f in prior.mean_features.iter().take(shown) {
        let se = errors[(*f, *f)].max(0.0).sqrt();
        let z = if se > 0.0 { format!("{:.2}", mean[*f] / se) } else { "-".into() };
        let (low, high) = (figure(intervals[*f].0), figure(intervals[*f].1));
        writeln!(out, "  {:<width$}  {:>12}  {:>12}  {z:>8}  {low:>12}  {high:>12}", names[*f], figure(mean[*f]), figure(se))?;
    }
    if prior.mean_features.len() > shown {
        writeln!(out, "  ... and {} more", prior.mean_features.len() - shown)?;
    }
    Ok(())
}

/// Tests of variances, one a line below a heading; nothing where there is none.
pub(crate) fn variance_tests_text(tests: &[VarianceTest]) -> String {
    if tests.is_empty() {
        return String::new();
    }
    let width = tests.iter().map(|test| test.feature.chars().count()).max().unwrap_or(0);
    let line = |test: &VarianceTest| {
        let (least, most) = (test.parameters - 1, test.parameters);
        format!(
            "  {:<width$}  chi-squared {:>9}  with {least} or {most} degrees of freedom  p = {:.3e}\n",
            test.feature,
            figure(test.statistic),
            test.p_value
        )
    };
    format!("\nTests that a feature does not vary between tasks:\n{}", tests.iter().map(line).collect::<String>())
}

/// What could have been seen in a task graph, on one line.
pub fn visibility_text(visibility: Visibility) -> String {
    let directions = format!("{:.1} effective directions", visibility.effective_directions);
    match (visibility.half, visibility.four_fifths) {
        (Some(half), Some(most)) if half < 0.995 => {
            format!("{directions}: marginal correlations of {half:.2} are seen with probability .5, of {most:.2} with .8")
        }
        _ => format!("{directions}: too few to see any relation"),
    }
}

/// The exact log-likelihood, and where there are any the largest k-hats.
fn evidence_text(evidence: &Evidence, names: &[String]) -> String {
    let (value, error) = (evidence.log_likelihood, evidence.standard_error);
    let text = match (evidence.pareto_k.is_empty(), evidence.sampled || error > 0.0) {
        (true, false) => format!("Exact log-likelihood: {value:.3} (in closed form)\n"),
        (true, true) => format!("Exact log-likelihood: about {value:.3}, standard error {error:.3}\n"),
        (false, false) => format!("Exact log-likelihood: {value:.3} (adaptive quadrature)\n"),
        (false, true) => format!("Exact log-likelihood: {value:.3}, standard error {error:.4} (importance sampling)\n"),
    };
    let mut order: Vec<usize> = (0..evidence.pareto_k.len()).collect();
    order.sort_by(|a, b| evidence.pareto_k[*b].total_cmp(&evidence.pareto_k[*a]));
    let (Some(first), Some(last)) = (order.first(), order.last()) else { return text };
    let worrying = evidence.worrying().count();
    let largest = if evidence.pareto_k[*first] == evidence.pareto_k[*last] {
        format!("{:.2}, one for all", evidence.pareto_k[*first])
    } else {
        order.iter().take(3).map(|t| format!("{:.2} ({})", evidence.pareto_k[*t], names[*t])).collect::<Vec<_>>().join(", ")
    };
    format!("{text}Pareto k-hat: {worrying} of {} tasks above 0.7; largest {largest}\n", order.len())
}

/// The communities of at least two tasks, on one line, if there is any; names that are more than one plain word in quotes.
pub(crate) fn communities_text(graph: &TaskGraph) -> Option<String> {
    let plain = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c));
    let word = |name: &str| if plain(name) { name.to_string() } else { format!("{name:?}") };
    let line = |tasks: &Vec<&str>| tasks.iter().map(|name| word(name)).collect::<Vec<_>>().join(" ");
    let communities: Vec<String> = super::communities(graph).iter().map(line).collect();
    (!communities.is_empty()).then(|| format!("communities: {}", communities.join(" | ")))
}

/// What a kind of null is called.
pub fn null_name(null: Null) -> &'static str {
    match null {
        Null::Parametric => "parametric",
        Null::Rotation => "rotation",
    }
}

/// How the edges compare with those of data without relations, on one line.
pub fn null_text(null: Null, test: &NullTest, rate: f64) -> String {
    format!(
        "beyond exchangeable tasks: p = {:.3} ({} {} nulls; {:.1} edges expected, {:.1} under the null, of which {} have any edge at a false \
         discovery rate of {rate})",
        test.p_value(),
        test.nulls.len(),
        null_name(null),
        test.observed.expected,
        test.expected_of_nulls(),
        test.with_any_edge(rate)
    )
}

/// A number of things, such as "1 edge" or "3 edges".
///
/// ```
/// assert_eq!(cognate::report::counted(1, "edge"), "1 edge");
/// assert_eq!(cognate::report::counted(0, "edge"), "0 edges");
/// ```
pub fn counted(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// What is known of an edge, on one line.
pub fn edge_text(edge: &Edge) -> String {
    if edge.is_membership() {
        return format!("of one cluster with probability {:.3}", edge.strength());
    }
    let mut text = format!("partial correlation {:+.3}", edge.partial_correlation);
    if let Some((low, high)) = edge.interval {
        text.push_str(&format!(" ({low:+.3} to {high:+.3})"));
    }
    if let Some(probability) = edge.probability {
        text.push_str(&format!("  probability {probability:.3}"));
    }
    if let Some(score) = edge.score {
        text.push_str(&format!("  score {score:.3}"));
    }
    if let Some(rate) = edge.local_false_sign_rate() {
        text.push_str(&format!("  lfsr {rate:.3}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn communities_are_told_apart_whatever_their_names() {
        let mut graph = TaskGraph::empty(&["north east", "c", "a|b", "lone", "Zürich-1", "\"d\""]);
        assert_eq!(communities_text(&graph), None);
        [(0, 1), (2, 4), (4, 5)].iter().for_each(|(s, t)| graph.connect(*s, *t, -0.3, None));
        assert_eq!(communities_text(&graph).unwrap(), r#"communities: "north east" c | "a|b" Zürich-1 "\"d\"""#);
    }
}
