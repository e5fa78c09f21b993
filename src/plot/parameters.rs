//! Caterpillar plots on paper: the estimates of all tasks with intervals, a panel a feature.

use super::REACH;
use super::axes::{Scale, below};
use super::letters;
use super::sheet::{INK, NAME, POINT, POSITIVE, SOFT, Sheet, Side, short};
use crate::error::{Error, Result, suggestion};
use crate::figures::Parameters;
use crate::model::Fit;
use crate::tasks::INTERCEPT;

/// Features that are drawn where none is asked for, at most, and how high they may be with names.
const PANELS: usize = 12;
const HIGH: f64 = 1_200.0;

/// Most tasks with names.
const NAMED: usize = 60;

/// Most tasks with a line each; of more the intervals are one area.
const LINES: usize = 400;

const ROW: f64 = 12.5;
const FOOT: f64 = 44.0;
const GAP: f64 = 14.0;

/// A task in a panel.
#[derive(Clone, Debug)]
struct Row {
    name: String,
    estimate: f64,
    sd: f64,
}

/// A feature.
#[derive(Clone, Debug)]
struct Panel {
    title: String,
    mean: Option<f64>,
    /// The smallest estimate first.
    rows: Vec<Row>,
}

/// What is drawn.
#[derive(Clone, Debug)]
pub(super) struct Caterpillars {
    panels: Vec<Panel>,
    tasks: usize,
}

impl Caterpillars {
    pub(super) fn of(fit: &Fit, features: &[String]) -> Result<Self> {
        let names = fit.tasks().design().features();
        let number = |name: &String| {
            names.iter().position(|own| own == name).ok_or_else(|| {
                let hint = suggestion(name, names.iter().map(String::as_str));
                Error::Arguments(format!("feature '{name}' is not in the model{hint}; its features are: {}", names.join(", ")))
            })
        };
        let asked = features.iter().map(number).collect::<Result<Vec<_>>>()?;
        let all = Parameters::of(fit);
        let tasks = fit.tasks().len();
        let most = if tasks <= NAMED { (3 * (HIGH / (tasks as f64 * ROW + FOOT + GAP)) as usize).clamp(3, PANELS) } else { PANELS };
        // A feature that does not vary is a line.
        let varies = |f: &usize| fit.prior().varying.contains(f) || fit.prior().free.contains(f);
        let shown = match asked.is_empty() {
            true => all.differing(most.min(names.len()), &varies),
            false => asked,
        };
        let panel = |f: &usize| {
            let row = |t: usize| Row { name: short(&fit.tasks().names()[t], 20), estimate: all.estimate(t, *f), sd: all.sd(t, *f) };
            let mut rows: Vec<Row> = (0..tasks).map(row).collect();
            rows.sort_by(|a, b| a.estimate.total_cmp(&b.estimate));
            Panel { title: titled(fit, &names[*f]), mean: all.mean(*f), rows }
        };
        Ok(Caterpillars { panels: shown.iter().map(panel).collect(), tasks })
    }

    fn is_named(&self) -> bool {
        self.tasks <= NAMED
    }

    /// Room of the names.
    fn side(&self) -> f64 {
        let names = self.panels.iter().flat_map(|own| &own.rows).map(|own| letters::width(&own.name, NAME));
        10.0 + names.fold(0.0, f64::max)
    }

    fn columns(&self) -> usize {
        let most = if self.is_named() { 3 } else { 4 };
        match self.panels.len() {
            few if few <= most => few,
            4 => 2,
            _ => 3,
        }
    }

    pub(super) fn size(&self) -> (f64, f64) {
        let columns = self.columns();
        let rows = self.panels.len().div_ceil(columns) as f64;
        let (wide, high) = if self.is_named() { (self.side() + 190.0, self.tasks as f64 * ROW) } else { (215.0, 230.0) };
        let width = (columns as f64 * (wide + GAP) + GAP).max(if columns == 1 { 420.0 } else { 0.0 });
        (width.ceil(), (rows * (high.max(40.0) + FOOT + GAP) + GAP).ceil())
    }

    pub(super) fn draw(&self, sheet: &mut Sheet) {
        let columns = self.columns();
        let rows = self.panels.len().div_ceil(columns);
        let wide = (sheet.width - GAP) / columns as f64 - GAP;
        let high = (sheet.height - GAP) / rows as f64 - GAP - FOOT;
        let named = self.is_named() && high / self.tasks as f64 >= 8.0 && wide > self.side() + 60.0;
        for (k, panel) in self.panels.iter().enumerate() {
            let corner = (GAP + (k % columns) as f64 * (wide + GAP), GAP + (k / columns) as f64 * (high + FOOT + GAP));
            panel.draw(sheet, corner, (wide, high), named.then(|| self.side()));
        }
    }
}

/// A feature with what its parameter is measured in, as far as that is known.
fn titled(fit: &Fit, feature: &str) -> String {
    let target = short(fit.tasks().target(), 20);
    let scale = match fit.family() {
        _ if fit.tasks().are_estimates() => return short(feature, 36),
        "gaussian" | "student" => target,
        "bernoulli" | "binomial" | "ordinal" => "log odds".into(),
        "poisson" | "negative-binomial" | "gamma" => "log mean".into(),
        _ => return short(feature, 36),
    };
    match feature {
        INTERCEPT => format!("{} [{scale}]", short(feature, 24)),
        _ => format!("{} [{scale} per unit]", short(feature, 24)),
    }
}

impl Panel {
    fn draw(&self, sheet: &mut Sheet, (left, top): (f64, f64), (wide, high): (f64, f64), side: Option<f64>) {
        let start = left + side.unwrap_or(0.0);
        let bottom = top + high;
        let ends = self.rows.iter().flat_map(|own| [own.estimate - REACH * own.sd, own.estimate + REACH * own.sd]);
        let scale = Scale::of(ends.chain(self.mean), 0.03, (start, left + wide));
        let step = high / self.rows.len() as f64;
        let y = |k: usize| top + (k as f64 + 0.5) * step;
        if let Some(mean) = self.mean {
            sheet.dashed((scale.at(mean), top), (scale.at(mean), bottom), 1.0, SOFT);
        }
        let ends = |own: &Row| (scale.at(own.estimate - REACH * own.sd), scale.at(own.estimate + REACH * own.sd));
        if self.rows.len() > LINES {
            let lows = self.rows.iter().enumerate().map(|(k, own)| (ends(own).0, y(k)));
            let highs = self.rows.iter().enumerate().rev().map(|(k, own)| (ends(own).1, y(k)));
            sheet.area(lows.chain(highs).collect(), POSITIVE, 0.35);
            sheet.path(self.rows.iter().enumerate().map(|(k, own)| (scale.at(own.estimate), y(k))).collect(), POINT, POSITIVE, 1.0);
        } else {
            let thin = (0.35 * step).clamp(0.5, POINT);
            for (k, own) in self.rows.iter().enumerate() {
                let (from, to) = ends(own);
                sheet.line((from, y(k)), (to, y(k)), thin, POSITIVE, if step < 4.0 { 0.55 } else { 0.85 });
            }
            for (k, own) in self.rows.iter().enumerate() {
                sheet.disc((scale.at(own.estimate), y(k)), (0.3 * step).clamp(1.0, 2.6), POSITIVE, 1.0);
            }
        }
        if side.is_some() {
            let size = NAME.min(step);
            self.rows.iter().enumerate().for_each(|(k, own)| sheet.text((start - 6.0, y(k)), &own.name, size, Side::End, INK));
        }
        below(sheet, &scale, bottom + 4.0, ((wide - side.unwrap_or(0.0)) / 55.0).clamp(2.0, 7.0) as usize, &self.title);
    }
}
