//! Names beside the dots of a graph, where they meet neither dots nor each other.

use super::letters;
use super::sheet::{INK, NAME, Sheet, Side, WHITE};

/// Dots up to which a name that fits nowhere stands where it meets least; of more it is left out.
const ALL_NAMED: usize = 60;

/// Edges up to which names keep away from them.
const WATCHED: usize = 1_500;

/// A straight line between two places.
type Stroke = ((f64, f64), (f64, f64));

/// A task on the sheet.
pub(super) struct Dot {
    pub at: (f64, f64),
    pub radius: f64,
    pub name: String,
    /// Those of more are named first.
    pub weight: usize,
}

#[derive(Clone, Copy)]
struct Frame {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Frame {
    fn shared(&self, other: &Frame) -> f64 {
        let (wide, high) =
            (self.right.min(other.right) - self.left.max(other.left), self.bottom.min(other.bottom) - self.top.max(other.top));
        if wide > 0.0 && high > 0.0 { wide * high } else { 0.0 }
    }

    /// Whether a line goes through it (Liang and Barsky 1984).
    fn meets(&self, (from, to): Stroke) -> bool {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let (mut first, mut last) = (0f64, 1f64);
        for (p, q) in [(-dx, from.0 - self.left), (dx, self.right - from.0), (-dy, from.1 - self.top), (dy, self.bottom - from.1)] {
            if p.abs() < 1e-12 {
                if q < 0.0 {
                    return false;
                }
            } else if p < 0.0 {
                first = first.max(q / p);
            } else {
                last = last.min(q / p);
            }
        }
        first <= last
    }
}

/// Frames of the name around its dot: right, left, above, below and the corners.
fn frames(dot: &Dot) -> [Frame; 8] {
    let (wide, high) = (letters::width(&dot.name, NAME), 0.92 * NAME);
    let away = dot.radius + 2.5;
    let slant = 0.75 * away;
    let at = |x: f64, y: f64| Frame { left: dot.at.0 + x, top: dot.at.1 + y, right: dot.at.0 + x + wide, bottom: dot.at.1 + y + high };
    [
        at(away, -0.5 * high),
        at(-away - wide, -0.5 * high),
        at(-0.5 * wide, -away - high),
        at(-0.5 * wide, away),
        at(slant, -slant - high),
        at(slant, slant),
        at(-slant - wide, -slant - high),
        at(-slant - wide, slant),
    ]
}

/// Sets the names of dots that lie above `bottom`, the heaviest first.
pub(super) fn beside(sheet: &mut Sheet, dots: &[Dot], lines: &[Stroke], bottom: f64) {
    let mut taken: Vec<Frame> = dots
        .iter()
        .map(|own| Frame {
            left: own.at.0 - own.radius,
            top: own.at.1 - own.radius,
            right: own.at.0 + own.radius,
            bottom: own.at.1 + own.radius,
        })
        .collect();
    let lines = if lines.len() <= WATCHED { lines } else { &[] };
    let mut order: Vec<usize> = (0..dots.len()).collect();
    order.sort_by_key(|k| (std::cmp::Reverse(dots[*k].weight), *k));
    for k in order {
        let dot = &dots[k];
        let cost = |own: &Frame| {
            let outside = own.left < 2.0 || own.right > sheet.width - 2.0 || own.top < 2.0 || own.bottom > bottom;
            let overlap: f64 = taken.iter().enumerate().filter(|(j, _)| *j != k).map(|(_, other)| own.shared(other)).sum();
            let crossed = lines.iter().filter(|line| own.meets(**line)).count();
            (overlap + if outside { 1e4 } else { 0.0 }, crossed)
        };
        let all = frames(dot).map(|own| (cost(&own), own));
        let best = all
            .into_iter()
            .reduce(|best, own| if own.0.0 < best.0.0 - 1e-9 || (own.0.0 < best.0.0 + 1e-9 && own.0.1 < best.0.1) { own } else { best });
        let Some(((overlap, crossed), frame)) = best else { continue };
        if overlap > 0.0 && dots.len() > ALL_NAMED {
            continue;
        }
        if crossed > 0 {
            sheet.rect((frame.left - 1.0, frame.top), (frame.right + 1.0, frame.bottom), WHITE, 0.75);
        }
        sheet.text((frame.left, 0.5 * (frame.top + frame.bottom)), &dot.name, NAME, Side::Start, INK);
        taken.push(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Of more names than there is room for many are set, and none meets another or leaves the sheet.
    #[test]
    fn names_do_not_meet() {
        let mut random = ChaCha8Rng::seed_from_u64(4);
        let mut sheet = Sheet::new((500.0, 400.0));
        let mut place = |side: f64| 20.0 + (side - 40.0) * random.random::<f64>();
        let dots: Vec<Dot> =
            (0..80).map(|k| Dot { at: (place(500.0), place(380.0)), radius: 3.0, name: format!("School {k}"), weight: k % 5 }).collect();
        beside(&mut sheet, &dots, &[], 380.0);
        let svg = sheet.svg().unwrap();
        let tree = roxmltree::Document::parse(&svg).unwrap();
        let number = |own: &roxmltree::Node, name: &str| 0.1 * own.attribute(name).unwrap().parse::<f64>().unwrap();
        let set: Vec<Frame> = (tree.descendants().filter(|own| own.has_tag_name("text")))
            .map(|own| {
                let (left, middle) = (number(&own, "x"), number(&own, "y"));
                let half = 0.46 * NAME;
                let right = left + letters::width(own.text().unwrap().trim(), NAME);
                Frame { left, top: middle - half, right, bottom: middle + half }
            })
            .collect();
        assert!((40..80).contains(&set.len()), "{}", set.len());
        for (k, own) in set.iter().enumerate() {
            assert!(own.left >= 0.0 && own.right <= 500.0 && own.top >= 0.0 && own.bottom <= 380.1);
            set[..k].iter().for_each(|other| assert!(own.shared(other) < 2.0, "{k}"));
        }
    }

    #[test]
    fn lines_meet_frames_that_they_cross() {
        let frame = Frame { left: 0.0, top: 0.0, right: 10.0, bottom: 4.0 };
        assert!(
            frame.meets(((-5.0, 2.0), (20.0, 2.0))) && frame.meets(((3.0, 1.0), (4.0, 2.0))) && frame.meets(((-1.0, -1.0), (2.0, 2.0)))
        );
        assert!(
            !frame.meets(((-5.0, 5.0), (20.0, 5.0))) && !frame.meets(((-3.0, 2.0), (-1.0, 2.0))) && !frame.meets(((-2.0, 3.0), (2.0, 9.0)))
        );
    }
}
