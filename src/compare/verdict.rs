//! What a comparison says of the tasks, in the terms of the families of multi-task learning.

use super::Rung;
use super::rung::{Scores, difference};
use crate::structure::{SHARED_NOISE, Sharing};
use serde::Serialize;

/// What a comparison says of the tasks.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// How information is to cross tasks: that of the simplest rung within one standard error of the best.
    pub sharing: Sharing,
    /// In words, with the figures.
    pub text: String,
}

/// Scores that are equal but for where an optimum was found.
const EQUAL: f64 = 1e-6;

/// The rung of the highest score, the simpler of equals.
pub(super) fn best(rungs: &[Rung]) -> Option<usize> {
    highest(rungs, |_| true)
}

pub(super) fn highest(rungs: &[Rung], among: impl Fn(usize) -> bool) -> Option<usize> {
    let scored = rungs.iter().enumerate().filter(|(i, _)| among(*i)).filter_map(|(i, rung)| Some((i, rung.score?)));
    scored.reduce(|best, next| if next.1 > best.1 + EQUAL { next } else { best }).map(|(i, _)| i)
}

/// Standard errors within which sharing nothing is not given up: that tasks are related is a claim.
const NOT_SHARED: f64 = 2.0;

/// The first rung within one standard error of the best (Breiman et al. 1984); where the best of those that share nothing is within two, the first of these within one of that.
pub(super) fn simplest(rungs: &[Rung], sharing: &[Sharing], scored: &[Scores], tasks: &[usize]) -> Option<usize> {
    let shares = |i: usize| sharing[i] != Sharing::Nothing;
    let is_near = |own: usize, other: usize, reach: f64| {
        difference(&scored[own], &scored[other], tasks).is_some_and(|(mean, se)| -mean <= reach * se.unwrap_or(0.0))
    };
    let best = best(rungs)?;
    let alone = highest(rungs, |i| !shares(i)).filter(|alone| is_near(*alone, best, NOT_SHARED));
    let (target, among) = alone.map_or((best, true), |alone| (alone, false));
    (0..rungs.len()).find(|i| shares(*i) == among && is_near(*i, target, 1.0))
}

impl Verdict {
    pub(super) fn of(
        rungs: &[Rung],
        (best, simplest): (usize, usize),
        (sharing, scored, tasks): (&[Sharing], &[Scores], &[usize]),
    ) -> Self {
        let figure = |own: usize, other: usize| {
            let (mean, se) = difference(&scored[own], &scored[other], tasks).unwrap_or((f64::NAN, None));
            format!(
                "{} {:.4}{} nats a row",
                if mean < 0.0 { "loses" } else { "gains" },
                mean.abs(),
                se.map_or(String::new(), |se| format!(" (standard error {se:.4})"))
            )
        };
        let pick = &rungs[simplest].name;
        let own = sharing[simplest];
        let mut text = match own {
            Sharing::Nothing => {
                "do not share. That sharing predicts better than tasks alone is not shown beyond two standard errors".to_string()
            }
            Sharing::Parameters => {
                format!("share parameters. What all tasks have in common, one model or a few factors, is what the rows can tell ({pick})")
            }
            Sharing::Transfer => {
                format!("transfer. Tasks differ, and each learns from the others what its own rows leave open ({pick})")
            }
            Sharing::Structure => format!("learn structure. Who is related to whom can be told from the rows, and helps ({pick})"),
        };
        let alone = highest(rungs, |i| sharing[i] == Sharing::Nothing);
        let shared = highest(rungs, |i| sharing[i] != Sharing::Nothing);
        match (alone, shared) {
            (Some(alone), _) if own != Sharing::Nothing => {
                let which = &rungs[best].name;
                let beside = if best == simplest { "that".to_string() } else { format!("{which} predicts best and") };
                text += &format!("; {beside} {} over tasks alone ({})", figure(best, alone), rungs[alone].name);
                if best != simplest {
                    text += &format!(", and {} over {pick}", figure(best, simplest));
                }
            }
            (Some(alone), Some(other)) => {
                let also = if best == other { " and predicts best" } else { "" };
                text +=
                    &format!("; {}, the best that shares, {} over {}{also}", rungs[other].name, figure(other, alone), rungs[alone].name);
                if best != other && best != simplest {
                    text += &format!("; {} predicts best and {} over {pick}", rungs[best].name, figure(best, simplest));
                }
            }
            (Some(_), None) => {}
            (None, _) => text += "; tasks alone were not compared",
        }
        text += ".";
        if own == Sharing::Nothing
            && let (Some(alone), Some(other)) = (alone, rungs.iter().position(|rung| rung.name.ends_with(SHARED_NOISE)))
            && alone != other
            && difference(&scored[other], &scored[alone], tasks).is_some_and(|(mean, se)| -mean > NOT_SHARED * se.unwrap_or(0.0))
        {
            text += &format!(
                " That may be their noise and not their parameters: {}, tasks alone with a noise variance in common as those that share have it, {} too. Compare with --noise task.",
                rungs[other].name,
                figure(other, alone)
            );
        }
        Verdict { sharing: own, text }
    }
}
