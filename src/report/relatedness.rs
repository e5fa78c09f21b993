//! How related tasks are as a table to read.

use super::counted;
use super::text::{SHOWN, figure, two_decimals};
use crate::relatedness::{Moved, Relations, Source, Stability};
use std::fmt::Write;

fn two(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), two_decimals)
}

fn interval(low: Option<f64>, high: Option<f64>) -> String {
    low.zip(high).map_or_else(|| "-".into(), |(low, high)| format!("{} to {}", two_decimals(low), two_decimals(high)))
}

/// What the correlations are.
fn source(relations: &Relations) -> String {
    let drawn = || {
        let effective = relations.effective_draws.unwrap_or(0.0);
        format!("{} (worth {effective:.0})", counted(relations.draws.unwrap_or(0), "draw"))
    };
    match relations.source {
        Source::Sampled => format!("correlations by {}, given the feature covariance and the noise", drawn()),
        Source::Hyperparameters => "correlations averaged over the hyperparameters of the kernel".into(),
        Source::Fitted => "correlations as fitted".into(),
        Source::Given => "correlations as given".into(),
        Source::Assumed => "correlations are not estimated".into(),
        Source::Memberships => "probabilities of the same cluster".into(),
    }
}

/// All that is said of a fit's pairs, the first of them.
pub(crate) fn relations_text(relations: &Relations) -> String {
    let mut text =
        format!("Relatedness of {}, structure {}: {}\n", counted(relations.tasks, "task"), relations.structure, source(relations));
    if let (Some(sd), Some(contraction)) = (relations.prior_sd, relations.contraction) {
        let strength = relations.prior_strength.map_or_else(String::new, |own| format!(" (strength {})", figure(own)));
        let gone = format!("the data took {:.0} % of their variance", 100.0 * contraction.max(0.0));
        let _ = writeln!(text, "Before the data correlations had a standard deviation of {sd:.2}{strength}; {gone}");
    }
    let pairs = relations.pairs.len();
    if relations.pairs.iter().any(|own| own.local_false_sign_rate.is_some()) {
        let _ = writeln!(text, "Sign sure (local false sign rate below .05): {} of {}", relations.sure(), counted(pairs, "pair"));
    }
    match relations.sharing_features.len() {
        0 => text.push_str("No feature beside the intercept varies, so that none is shared by magnitude\n"),
        features => {
            let _ = writeln!(
                text,
                "Shared: of the features with a sure sign in either task ({features} vary), the part in which both have the same sign and are within a factor of two"
            );
        }
    }
    relations.notes.iter().for_each(|note| {
        let _ = writeln!(text, "Note: {note}");
    });
    let names = relations.pairs.iter().take(SHOWN).flat_map(|own| [&own.first, &own.second]);
    let width = names.map(|name| name.chars().count()).max().unwrap_or(0).max(6);
    let level = format!("{} %", figure_of_level(relations.level));
    // Where nothing is told of correlations there is no column of them.
    let is_told = relations.pairs.iter().any(|own| own.together.or(own.correlation).is_some());
    let of_correlation = |cells: [&str; 3]| match is_told {
        true => format!("  {:>11}  {:>14}  {:>6}", cells[0], cells[1], cells[2]),
        false => String::new(),
    };
    let heads = of_correlation([first_column(relations), &level, "lfsr"]);
    let _ = writeln!(text, "\n{:<width$}  {:<width$}{heads}  {:>6}  {level:>14}  {:>8}", "task", "task", "shared", "features");
    for own in relations.pairs.iter().take(SHOWN) {
        let sharing = own.sharing.as_ref();
        let rate = own.local_false_sign_rate.map_or_else(|| "-".into(), |rate| format!("{rate:.3}"));
        let cells = of_correlation([&two(own.together.or(own.correlation)), &interval(own.low, own.high), &rate]);
        let (share, ends) = (two(sharing.map(|own| own.share)), interval(sharing.map(|own| own.low), sharing.map(|own| own.high)));
        let features = sharing.map_or(0, |own| own.features);
        let _ = writeln!(text, "{:<width$}  {:<width$}{cells}  {share:>6}  {ends:>14}  {features:>8}", own.first, own.second);
    }
    if pairs > SHOWN {
        let _ = writeln!(text, "... and {} more (--format csv has all)", pairs - SHOWN);
    }
    text
}

fn first_column(relations: &Relations) -> &'static str {
    if relations.source == Source::Memberships { "together" } else { "correlation" }
}

/// Per cent without digits that say nothing.
fn figure_of_level(level: f64) -> String {
    let text = format!("{:.3}", 100.0 * level);
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// How far relations move, after a fit.
pub(crate) fn stability_text(stability: &Stability) -> String {
    let mut text = format!("\nStability of the relations, in refits without each of {} parts of the rows:\n", stability.parts);
    write_moved(&stability.rows, true, &mut text);
    if let Some(seeds) = &stability.seeds {
        let _ = writeln!(text, "  and in {} to all rows with other seeds:", counted(seeds.refits, "refit"));
        write_moved(seeds, false, &mut text);
    }
    text
}

fn write_moved(moved: &Moved, with_pairs: bool, text: &mut String) {
    if let (Some(mean), Some(lowest)) = (moved.adjusted_rand, moved.lowest_rand) {
        let _ = writeln!(
            text,
            "  adjusted Rand index of the clusters with those of the fit: mean {mean:.2}, lowest {lowest:.2} (1: the same, 0: by chance)"
        );
    }
    if let (Some(edges), Some(kept), Some(new)) = (moved.edges, moved.edges_kept, moved.edges_new) {
        let _ = writeln!(text, "  {kept:.1} of {} found again on average, and {new:.1} others", counted(edges, "edge"));
    }
    if let (Some(by), Some(size)) = (moved.moved, moved.size) {
        let _ = writeln!(text, "  correlations move by {by:.3} where they are {size:.3} (root mean squares over pairs)");
    }
    if with_pairs && !moved.pairs.is_empty() {
        let shown = || moved.pairs.iter().take(SHOWN);
        let width = shown().map(|own| own.first.chars().count() + own.second.chars().count() + 4).max().unwrap_or(0);
        for own in shown() {
            let names = format!("{} -- {}", own.first, own.second);
            let _ = writeln!(text, "  {names:<width$}  {:>5.2}  ({:.2} to {:.2})", own.correlation, own.low, own.high);
        }
        if moved.pairs.len() > SHOWN {
            let _ = writeln!(text, "  ... and {} more (--format json has them)", moved.pairs.len() - SHOWN);
        }
    }
}
