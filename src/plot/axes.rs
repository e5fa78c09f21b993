//! Axes: from numbers to places, round marks between two numbers, and the thin lines that carry them.

use super::letters;
use super::sheet::{INK, NAME, Sheet, Side, TITLE};

/// Numbers to places along one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub domain: (f64, f64),
    pub range: (f64, f64),
}

impl Scale {
    /// Of numbers with a margin at both ends, as a share of their spread; finite numbers only, for a single one some room about it.
    pub(super) fn of(numbers: impl Iterator<Item = f64>, margin: f64, range: (f64, f64)) -> Self {
        let (low, high) = numbers
            .filter(|own| own.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), own| (low.min(own), high.max(own)));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let room = if high > low { margin * (high - low) } else { (0.1 * high.abs()).max(1e-9) };
        Scale { domain: (low - room, high + room), range }
    }

    pub(super) fn at(&self, value: f64) -> f64 {
        self.range.0 + (value - self.domain.0) / (self.domain.1 - self.domain.0) * (self.range.1 - self.range.0)
    }

    /// About so many round numbers within the domain, with how many decimals they are told apart.
    pub(super) fn marks(&self, count: usize) -> (Vec<f64>, usize) {
        let (low, high) = self.domain;
        let ten = 10f64.powf(((high - low) / count.max(1) as f64).log10().floor());
        let steps = [0.5, 1.0, 2.0, 5.0, 10.0].map(|own| own * ten);
        let off = |step: f64| {
            let marks = (high / step + 1e-9).floor() - (low / step - 1e-9).ceil() + 1.0;
            // One mark tells no scale.
            if marks < 2.0 { f64::INFINITY } else { (marks - count as f64).abs() }
        };
        let step = steps.into_iter().reduce(|best, own| if off(own) <= off(best) { own } else { best }).unwrap_or(ten);
        let decimals = (-(step.log10() + 1e-9).floor()).clamp(0.0, 12.0) as usize;
        let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
        ((first..=last).map(|k| k as f64 * step).collect(), decimals)
    }
}

/// A number on an axis, with the sign that is as wide as a plus.
pub(super) fn mark_text(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(digits) if digits.contains(|own: char| ('1'..='9').contains(&own)) => format!("\u{2212}{digits}"),
        Some(digits) => digits.into(),
        None => text,
    }
}

const TICK: f64 = 4.0;

/// An axis below a figure at the height `y`.
pub(super) fn below(sheet: &mut Sheet, scale: &Scale, y: f64, count: usize, title: &str) {
    sheet.line((scale.range.0, y), (scale.range.1, y), 1.0, INK, 1.0);
    let (marks, decimals) = scale.marks(count);
    for mark in marks {
        sheet.line((scale.at(mark), y), (scale.at(mark), y + TICK), 1.0, INK, 1.0);
        sheet.text((scale.at(mark), y + 13.0), &mark_text(mark, decimals), NAME, Side::Middle, INK);
    }
    sheet.text((0.5 * (scale.range.0 + scale.range.1), y + 30.0), title, TITLE, Side::Middle, INK);
}

/// Room of the numbers and the title of an axis beside a figure.
pub(super) fn room(scale: &Scale, count: usize) -> f64 {
    let (marks, decimals) = scale.marks(count);
    let widest = marks.iter().map(|own| letters::width(&mark_text(*own, decimals), NAME)).fold(0.0, f64::max);
    TICK + 3.0 + widest + 2.0 * TITLE
}

/// An axis left of a figure at `x`.
pub(super) fn beside(sheet: &mut Sheet, scale: &Scale, x: f64, count: usize, title: &str) {
    sheet.line((x, scale.range.0), (x, scale.range.1), 1.0, INK, 1.0);
    let (marks, decimals) = scale.marks(count);
    for mark in marks {
        sheet.line((x - TICK, scale.at(mark)), (x, scale.at(mark)), 1.0, INK, 1.0);
        sheet.text((x - TICK - 3.0, scale.at(mark)), &mark_text(mark, decimals), NAME, Side::End, INK);
    }
    let away = room(scale, count) - 0.75 * TITLE;
    sheet.turned((x - away, 0.5 * (scale.range.0 + scale.range.1)), title, TITLE, Side::Middle, INK);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_within() {
        for (domain, count, expected, decimals) in [
            ((0.0, 1.0), 5, vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0], 1),
            ((-37.0, 112.0), 3, vec![0.0, 50.0, 100.0], 0),
            ((-0.9, 0.9), 3, vec![-0.5, 0.0, 0.5], 1),
            ((0.001, 0.0042), 4, vec![0.001, 0.002, 0.003, 0.004], 3),
        ] {
            let (marks, found) = Scale { domain, range: (0.0, 1.0) }.marks(count);
            assert!(marks.len() == expected.len() && marks.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12), "{marks:?}");
            assert_eq!(found, decimals);
        }
        assert_eq!([mark_text(-0.5, 1), mark_text(-0.0, 1), mark_text(3.0, 0)], ["\u{2212}0.5", "0.0", "3"]);
        let scale = Scale::of([f64::NAN, 2.0, 4.0].into_iter(), 0.0, (10.0, 30.0));
        assert_eq!((scale.at(2.0), scale.at(3.0), scale.at(4.0)), (10.0, 20.0, 30.0));
        assert!(Scale::of([5.0].into_iter(), 0.1, (0.0, 1.0)).at(5.0).is_finite());
    }
}
