//! The climb of a fit on paper.

use super::axes::{Scale, below, beside, room};
use super::sheet::{POINT, POSITIVE, Sheet};
use crate::error::{Error, Result};
use crate::model::Fit;

/// Steps up to which each has a dot.
const DOTTED: usize = 40;

/// Share of the shape beyond which two climbs are two panels.
const ALIKE: f64 = 1e-6;

/// What is drawn: a panel each.
#[derive(Clone, Debug)]
pub(super) struct Climb {
    panels: Vec<(&'static str, Vec<f64>)>,
}

impl Climb {
    pub(super) fn of(fit: &Fit) -> Result<Self> {
        let trace = fit.trace();
        if trace.len() < 2 {
            return Err(Error::Arguments(format!(
                "the structure '{}' was fitted without a climb, so that there is none to draw; ask for the figure of parameters ('cognate plot parameters')",
                fit.structure()
            )));
        }
        let likelihoods: Vec<f64> = trace.iter().map(|own| own.log_likelihood).collect();
        let posteriors: Vec<f64> = trace.iter().map(|own| own.log_posterior).collect();
        let apart = |k: usize| posteriors[k] - likelihoods[k];
        let same = (0..trace.len()).all(|k| (apart(k) - apart(0)).abs() <= ALIKE * (1.0 + likelihoods[k].abs()));
        let name = if fit.log_likelihood_is_bound() { "Bound of the log likelihood" } else { "Log likelihood" };
        let panels = if same { vec![(name, likelihoods)] } else { vec![("Log posterior", posteriors), (name, likelihoods)] };
        Ok(Climb { panels })
    }

    pub(super) fn size(&self) -> (f64, f64) {
        (520.0, 50.0 + 260.0 * self.panels.len() as f64)
    }

    pub(super) fn draw(&self, sheet: &mut Sheet) {
        const GAP: f64 = 18.0;
        let (top, bottom) = (12.0, sheet.height - 44.0);
        let high = (bottom - top) / self.panels.len() as f64;
        let marks = (high / 45.0) as usize;
        let scales: Vec<Scale> = self.panels.iter().map(|own| Scale::of(own.1.iter().copied(), 0.05, (0.0, 1.0))).collect();
        let left = 6.0 + scales.iter().map(|own| room(own, marks)).fold(0.0, f64::max);
        for (k, (name, values)) in self.panels.iter().enumerate() {
            let end = top + (k + 1) as f64 * high - if k + 1 < self.panels.len() { GAP } else { 0.0 };
            let across = Scale { domain: (1.0, values.len() as f64), range: (left + 8.0, sheet.width - 16.0) };
            let up = Scale { range: (end - 4.0, top + k as f64 * high), ..scales[k] };
            let points: Vec<(f64, f64)> =
                values.iter().enumerate().map(|(step, own)| (across.at((step + 1) as f64), up.at(*own))).collect();
            if points.len() <= DOTTED {
                points.iter().for_each(|own| sheet.disc(*own, 2.4, POSITIVE, 1.0));
            }
            sheet.path(points, POINT, POSITIVE, 1.0);
            beside(sheet, &up, left, marks, &format!("{name} (fitted units)"));
            if k + 1 == self.panels.len() {
                below(sheet, &across, end, values.len().min(6), "E-step");
            }
        }
    }
}
