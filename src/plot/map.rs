//! The heat map of relatedness on paper: likest tasks side by side, with a bar of its colours.

use super::axes::{Scale, mark_text};
use super::graph::sentence;
use super::letters;
use super::sheet::{FAINT, INK, NAME, Rgb, Sheet, Side, TITLE, short};
use crate::error::{Error, Result};
use crate::figures::{BLOCKS, Heat, Links, Relation};
use crate::model::Fit;

/// Most tasks that have a row of their own.
const OWN_ROWS: usize = 200;

/// Letters of a name.
const LETTERS: usize = 18;

/// Least height of a row that has a name.
const NAMED: f64 = 8.0;

/// Colours from opposite to alike, blue and orange.
const COLOURS: [Rgb; 9] = [
    (127, 59, 8),
    (179, 88, 6),
    (224, 130, 20),
    (253, 190, 120),
    (250, 250, 248),
    (165, 205, 230),
    (84, 157, 206),
    (33, 102, 172),
    (8, 48, 97),
];

/// What is drawn.
#[derive(Clone, Debug)]
pub(super) struct Map {
    of: &'static str,
    /// Of each row its task, where each has one.
    names: Option<Vec<String>>,
    tasks: usize,
    rows: usize,
    /// Row by row.
    cells: Vec<Option<f64>>,
}

impl Map {
    pub(super) fn of(fit: &Fit) -> Result<Self> {
        let tasks = fit.tasks().len();
        let relation = Relation::of(fit);
        let Some(heat) = Heat::of(fit, relation.as_ref(), if tasks <= OWN_ROWS { OWN_ROWS } else { BLOCKS }) else {
            let words = Links::of(fit, None, 0)?.words;
            return Err(Error::Arguments(format!(
                "there is no relatedness of single pairs to draw: {}; for what tasks have of their own ask for the figure of parameters ('cognate plot parameters')",
                sentence(&words)
            )));
        };
        let rows = heat.rows();
        let names = (rows == tasks).then(|| (0..rows).map(|k| short(&fit.tasks().names()[heat.members(k)[0]], LETTERS)).collect());
        let cell = |i: usize, j: usize| if i == j && heat.members(i).len() == 1 { None } else { heat.at(i, j) };
        let cells = (0..rows).flat_map(|i| (0..rows).map(move |j| (i, j))).map(|(i, j)| cell(i, j)).collect();
        Ok(Map { of: heat.of, names, tasks, rows, cells })
    }

    /// Room of the names.
    fn side(&self) -> f64 {
        self.names.as_ref().map_or(14.0, |names| 10.0 + names.iter().map(|own| letters::width(own, NAME)).fold(0.0, f64::max))
    }

    pub(super) fn size(&self) -> (f64, f64) {
        let cell = match (&self.names, self.rows) {
            (Some(_), rows) => (560.0 / rows as f64).floor().clamp(9.0, 40.0),
            (None, rows) => (640.0 / rows as f64).floor().max(1.0),
        };
        let side = cell * self.rows as f64;
        let foot = if self.names.is_some() { self.side() } else { 34.0 };
        (self.side() + side + BAR, (side + foot + 14.0).max(170.0))
    }

    pub(super) fn draw(&self, sheet: &mut Sheet) {
        let full = self.side();
        let fits = |side: f64, foot: f64| ((sheet.width - side - BAR).min(sheet.height - foot - 14.0) / self.rows as f64).max(0.5);
        let named = self.names.as_ref().filter(|_| fits(full, full) >= NAMED);
        let (side, foot) = if named.is_some() { (full, full) } else { (14.0, 34.0) };
        // Whole pixels, so that no seams show.
        let cell = Some(fits(side, foot)).map(|own| if own >= 2.0 { own.floor() } else { (10.0 * own).floor() / 10.0 }).unwrap_or(1.0);
        let (left, top) = (side, 10.0);
        let end = cell * self.rows as f64;
        let most = self.most();
        for i in 0..self.rows {
            let y = top + cell * i as f64;
            let colours: Vec<Rgb> = (0..self.rows).map(|j| self.cells[i * self.rows + j].map_or(FAINT, |own| colour(own / most))).collect();
            let mut from = 0;
            // Cells of one colour are one area.
            for j in 1..=self.rows {
                if j == self.rows || colours[j] != colours[from] {
                    sheet.rect((left + cell * from as f64, y), (left + cell * j as f64, y + cell), colours[from], 1.0);
                    from = j;
                }
            }
        }
        for (a, b) in [((0.0, 0.0), (1.0, 0.0)), ((1.0, 0.0), (1.0, 1.0)), ((1.0, 1.0), (0.0, 1.0)), ((0.0, 1.0), (0.0, 0.0))] {
            sheet.line((left + end * a.0, top + end * a.1), (left + end * b.0, top + end * b.1), 0.75, INK, 1.0);
        }
        match named {
            Some(names) => {
                let size = NAME.min(cell);
                for (k, name) in names.iter().enumerate() {
                    let middle = (k as f64 + 0.5) * cell;
                    sheet.text((left - 5.0, top + middle), name, size, Side::End, INK);
                    sheet.turned((left + middle, top + end + 5.0), name, size, Side::End, INK);
                }
            }
            None => {
                let words = if self.rows < self.tasks {
                    format!("{} tasks in {} blocks, the likest side by side", self.tasks, self.rows)
                } else {
                    format!("{} tasks, the likest side by side", self.tasks)
                };
                sheet.text((left + 0.5 * end, top + end + 16.0), &words, TITLE, Side::Middle, INK);
            }
        }
        self.bar(sheet, (left + end + 22.0, top), end.min(260.0));
    }

    /// The number of the strongest colour: 1, or less where all relations are weak.
    fn most(&self) -> f64 {
        let largest = self.cells.iter().flatten().fold(0.1, |most, own| own.abs().max(most));
        if self.of.starts_with("partial") || largest < 0.5 { largest } else { 1.0 }
    }

    fn bar(&self, sheet: &mut Sheet, (left, top): (f64, f64), height: f64) {
        const STEPS: usize = 64;
        const WIDE: f64 = 14.0;
        let most = self.most();
        let low = if self.cells.iter().flatten().any(|own| *own < 0.0) { -most } else { 0.0 };
        let scale = Scale { domain: (low, most), range: (top + height, top) };
        let edge = |k: usize| low + (most - low) * k as f64 / STEPS as f64;
        for k in 0..STEPS {
            let middle = 0.5 * (edge(k) + edge(k + 1));
            sheet.rect((left, scale.at(edge(k + 1))), (left + WIDE, scale.at(edge(k))), colour(middle / most), 1.0);
        }
        let (marks, decimals) = scale.marks(4);
        for mark in marks {
            sheet.line((left + WIDE, scale.at(mark)), (left + WIDE + 3.0, scale.at(mark)), 0.75, INK, 1.0);
            sheet.text((left + WIDE + 6.0, scale.at(mark)), &mark_text(mark, decimals), NAME, Side::Start, INK);
        }
        let mut title = self.of.to_string();
        title[..1].make_ascii_uppercase();
        if self.rows < self.tasks && !title.starts_with("Partial") {
            title = format!("Mean {}", self.of);
        }
        let size = TITLE * (0.98 * (sheet.height - 8.0) / letters::width(&title, TITLE)).min(1.0);
        let half = 0.5 * letters::width(&title, size);
        sheet.turned((left + WIDE + 46.0, (top + 0.5 * height).max(half + 3.0)), &title, size, Side::Middle, INK);
    }
}

/// Room of the bar.
const BAR: f64 = 98.0;

/// Of -1 to 1.
fn colour(value: f64) -> Rgb {
    const LEVELS: f64 = 128.0;
    let value = (value.clamp(-1.0, 1.0) * LEVELS).round() / LEVELS;
    let place = 0.5 * (value + 1.0) * (COLOURS.len() - 1) as f64;
    let below = (place as usize).min(COLOURS.len() - 2);
    let (a, b, share) = (COLOURS[below], COLOURS[below + 1], place - below as f64);
    let mix = |a: u8, b: u8| (f64::from(a) + share * (f64::from(b) - f64::from(a))).round() as u8;
    (mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_go_from_orange_by_white_to_blue() {
        assert_eq!([colour(-2.0), colour(0.0), colour(1.0)], [COLOURS[0], COLOURS[4], COLOURS[8]]);
        let light = |own: Rgb| u32::from(own.0) + u32::from(own.1) + u32::from(own.2);
        let all: Vec<u32> = (0..=20).map(|k| light(colour(f64::from(k) / 20.0))).collect();
        assert!(all.windows(2).all(|pair| pair[1] < pair[0]), "{all:?}");
    }
}
