//! Calibration on paper: where targets fall in their forecasts, and how many lie in central intervals, beside what chance would make of them.

use super::REACH;
use super::axes::{Scale, below, beside};
use super::sheet::{INK, NAME, POINT, POSITIVE, SOFT, Sheet, Side, TITLE};
use crate::check::{Check, Coverage};
use crate::error::{Error, Result};
use statrs::distribution::{Binomial, DiscreteCDF};

/// What is drawn.
#[derive(Clone, Debug)]
pub(super) struct Calibration {
    rows: usize,
    /// Shares of the rows in each tenth.
    shares: Vec<f64>,
    coverage: Vec<Coverage>,
}

impl Calibration {
    pub(super) fn of(check: &Check) -> Result<Self> {
        if check.pit.shares.is_empty() {
            return Err(Error::Arguments("the check has no rows; give rows with targets".into()));
        }
        Ok(Calibration { rows: check.rows, shares: check.pit.shares.clone(), coverage: check.pit.coverage.clone() })
    }

    pub(super) fn size(&self) -> (f64, f64) {
        (720.0, 320.0)
    }

    /// Shares between which 95 % of samples of as many independent rows lie.
    fn band(&self, share: f64) -> (f64, f64) {
        let rows = self.rows as f64;
        Binomial::new(share, self.rows as u64)
            .map_or((share, share), |own| (own.inverse_cdf(0.025) as f64 / rows, own.inverse_cdf(0.975) as f64 / rows))
    }

    pub(super) fn draw(&self, sheet: &mut Sheet) {
        let (top, bottom) = (14.0, sheet.height - 46.0);
        let half = 0.5 * sheet.width;
        self.histogram(sheet, (62.0, half - 18.0), (top, bottom));
        self.intervals(sheet, (half + 66.0, sheet.width - 16.0), (top, bottom));
    }

    fn histogram(&self, sheet: &mut Sheet, across: (f64, f64), (top, bottom): (f64, f64)) {
        let expected = 1.0 / self.shares.len() as f64;
        let (low, high) = self.band(expected);
        let most = self.shares.iter().copied().fold(high.max(1.6 * expected), f64::max);
        let (x, y) = (Scale { domain: (0.0, 1.0), range: across }, Scale { domain: (0.0, 1.04 * most), range: (bottom, top) });
        for (k, share) in self.shares.iter().enumerate() {
            let end = |k: usize| x.at(k as f64 * expected);
            sheet.rect((end(k) + 1.0, y.at(*share)), (end(k + 1) - 1.0, bottom), POSITIVE, 0.75);
        }
        sheet.rect((across.0, y.at(high)), (across.1, y.at(low)), SOFT, 0.35);
        sheet.dashed((across.0, y.at(expected)), (across.1, y.at(expected)), 1.0, INK);
        below(sheet, &x, bottom, 5, "Probability integral transform");
        beside(sheet, &y, across.0, 5, "Share of rows");
    }

    fn intervals(&self, sheet: &mut Sheet, across: (f64, f64), (top, bottom): (f64, f64)) {
        let points = |own: &Coverage| {
            let reach = own.covered_se.map_or(0.0, |se| REACH * se);
            [own.covered - reach - own.level, own.covered - own.level, own.covered + reach - own.level].map(|value| 100.0 * value)
        };
        let bands: Vec<(f64, f64)> = self.coverage.iter().map(|own| self.band(own.level)).collect();
        let ends =
            self.coverage.iter().flat_map(points).chain(
                (self.coverage.iter().zip(&bands)).flat_map(|(own, band)| [100.0 * (band.0 - own.level), 100.0 * (band.1 - own.level)]),
            );
        let y = Scale::of(ends.chain([0.0]), 0.12, (bottom, top));
        let step = (across.1 - across.0) / self.coverage.len() as f64;
        for (k, (own, band)) in self.coverage.iter().zip(&bands).enumerate() {
            let left = across.0 + k as f64 * step;
            let at = |share: f64| y.at(100.0 * (share - own.level));
            sheet.rect((left + 0.18 * step, at(band.1)), (left + 0.82 * step, at(band.0)), SOFT, 0.35);
        }
        sheet.dashed((across.0, y.at(0.0)), (across.1, y.at(0.0)), 1.0, INK);
        sheet.line((across.0, bottom), (across.1, bottom), 1.0, INK, 1.0);
        for (k, own) in self.coverage.iter().enumerate() {
            let x = across.0 + (k as f64 + 0.5) * step;
            let [low, middle, high] = points(own).map(|value| y.at(value));
            sheet.line((x, low), (x, high), POINT, POSITIVE, 1.0);
            sheet.disc((x, middle), 3.4, POSITIVE, 1.0);
            sheet.line((x, bottom), (x, bottom + 4.0), 1.0, INK, 1.0);
            sheet.text((x, bottom + 13.0), &format!("{:.0} %", 100.0 * own.level), NAME, Side::Middle, INK);
        }
        sheet.text((0.5 * (across.0 + across.1), bottom + 30.0), "Central interval of the forecast", TITLE, Side::Middle, INK);
        beside(sheet, &y, across.0, 5, "Covered less nominal [percentage points]");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The band holds 95 % of binomial samples, by adding their probabilities.
    #[test]
    fn bands_are_binomial() {
        let own = Calibration { rows: 40, shares: vec![0.1; 10], coverage: Vec::new() };
        let (low, high) = own.band(0.1);
        let mut probability = 0.9f64.powi(40);
        let (mut below, mut sum, mut ends) = (0.0, 0.0, (None, None));
        for k in 0..=40 {
            sum += probability;
            ends.0 = ends.0.or((sum >= 0.025).then_some(f64::from(k) / 40.0));
            ends.1 = ends.1.or((sum >= 0.975).then_some(f64::from(k) / 40.0));
            below += if f64::from(k) / 40.0 < low { probability } else { 0.0 };
            probability *= f64::from(40 - k) / f64::from(k + 1) * (0.1 / 0.9);
        }
        assert_eq!((Some(low), Some(high)), ends);
        assert!(below < 0.025);
    }
}
