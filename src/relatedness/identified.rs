//! Where the data do not tell how related tasks are, in words with the numbers.

use super::{Relations, Source};
use crate::model::{Fit, LikelihoodKind};

/// Tasks up to which what they have in common cannot be told from a flat mean.
const FEW: usize = 5;

/// Share of the prior variance that the data take below which they add nothing, and below which they add little.
const NOTHING: f64 = 0.05;
const LITTLE: f64 = 0.3;

/// Draws that means and ends of intervals should be worth.
const ENOUGH: f64 = 100.0;

pub(super) fn notes(fit: &Fit, relations: &Relations, effective_directions: f64) -> Vec<String> {
    let mut notes = Vec::new();
    let (tasks, structure) = (relations.tasks, &relations.structure);
    let directions = fit.prior().related_directions();
    match relations.source {
        Source::Assumed => notes.push(format!(
            "the structure '{structure}' assumes how tasks are related ({}), so that there is nothing to be sure of; fit with --structure full, graph or factor to \
             learn it",
            assumption(structure)
        )),
        Source::Given => notes.push(if fit.prior().relatedness.as_graph().is_some() {
            "who is related to whom was given; only how strongly neighbours are alike is learned, one number for all, which has no interval here".into()
        } else {
            "correlations were given, not estimated".into()
        }),
        Source::Fitted => notes.push(if fit.prior().kernel.is_some() {
            "correlations are those at the estimated lengths and nugget: the fit took its hyperparameters as known (--intervals plug-in, or too large to average)".into()
        } else {
            format!(
                "correlations of the structure '{structure}' have no intervals here: it found no factor, or there are more than 500 tasks; 'cognate fit' has standard errors of \
                 loadings"
            )
        }),
        Source::Memberships => {
            notes.push("tasks of unknown clusters have no correlations: the figure is the probability that both are of the same cluster, given the hyperparameters".into());
        }
        Source::Sampled | Source::Hyperparameters => {}
    }
    let is_flat = fit.log_likelihood_kind() == LikelihoodKind::Restricted;
    if relations.source == Source::Sampled && tasks <= FEW && is_flat {
        notes.push(format!(
            "not identified: beside a common mean {tasks} tasks show {} in each of {directions} directions, and what all have in common is the mean's; correlations \
             rest on the prior",
            if tasks == 2 { "one difference".into() } else { format!("{} differences", tasks - 1) }
        ));
    }
    if let Some(contraction) = relations.contraction.filter(|own| *own < LITTLE) {
        let adds = if contraction < NOTHING { "nothing" } else { "little" };
        let pairs = tasks * (tasks - 1) / 2;
        notes.push(format!(
            "the data add {adds}: the variance of a correlation is {:.2} of that before the data, for {pairs} correlations rest on {directions} varying directions, of \
             which the rows of an average task decide {effective_directions:.1}",
            1.0 - contraction
        ));
    }
    if let Some(visibility) = fit.visibility().filter(|_| relations.source == Source::Sampled) {
        notes.push(match visibility.half {
            None => format!("{:.1} effective directions are too few to see any relation", visibility.effective_directions),
            Some(half) => format!(
                "a correlation of {half:.2} would have been seen half the time ({:.1} effective directions)",
                visibility.effective_directions
            ),
        });
    }
    let features = fit.tasks().design().len();
    let saturated = (0..tasks).filter(|t| fit.tasks().statistics(*t).rows() <= features as u64).count();
    if 2 * saturated > tasks && !fit.tasks().are_estimates() && relations.source == Source::Sampled {
        notes.push(format!(
            "{saturated} of {tasks} tasks have no more rows than the {features} features: their rows leave nothing by which to tell noise from parameters, so that \
             intervals rest on the noise that all tasks share"
        ));
    }
    if let (Some(effective), Some(draws)) = (relations.effective_draws.filter(|own| *own < ENOUGH), relations.draws) {
        notes.push(format!(
            "the {draws} draws depend on each other so much that they are worth {effective:.0}: intervals are rough; give more --draws"
        ));
    }
    notes
}

fn assumption(structure: &str) -> &'static str {
    match structure {
        "independent" => "not at all",
        "pooled" => "all parameters are the same",
        "pooled-intercepts" => "all parameters but the intercepts are the same",
        _ => "by the common mean only, all alike",
    }
}
