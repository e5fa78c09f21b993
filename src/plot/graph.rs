//! The task graph on paper: tasks laid out by their edges, width for strength, colour for sign, and the fainter an edge the less probable.

use super::axes::{Scale, mark_text};
use super::layout;
use super::letters;
use super::names::{self, Dot};
use super::sheet::{INK, NAME, NEGATIVE, POSITIVE, Rgb, SOFT, Sheet, Side, WHITE, short};
use crate::error::{Error, Result};
use crate::figures::{FALSEST, Link, Links, Relation};
use crate::model::Fit;

/// Most tasks that are drawn, and most tasks of which those without an edge are too.
const MOST_DRAWN: usize = 2_000;
const ALL_DRAWN: usize = 400;

/// Colours of clusters, told apart by colour-blind readers (Okabe and Ito 2008).
const CLUSTERS: [Rgb; 7] = [(0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0), (150, 135, 10)];

const MARGIN: f64 = 14.0;
const LINE: f64 = 17.0;

/// An edge between two drawn tasks.
#[derive(Clone, Debug)]
struct Edge {
    ends: (usize, usize),
    value: f64,
    probability: Option<f64>,
}

/// What is drawn.
#[derive(Clone, Debug)]
pub(super) struct Graph {
    /// What the values are.
    of: &'static str,
    /// Tasks with an edge, or in a cluster.
    names: Vec<String>,
    edges: Vec<Edge>,
    /// The cluster of each from 1 (0: none), how sure that is, and how many there are.
    clusters: Option<(Vec<usize>, Vec<f64>, usize)>,
    /// Tasks without an edge, as far as they are named, and how many there are in all.
    alone: (Vec<String>, usize),
    probabilities: Option<&'static str>,
}

impl Graph {
    pub(super) fn of(fit: &Fit, rate: f64, seed: u64) -> Result<Self> {
        if !(rate > 0.0 && rate <= FALSEST) {
            return Err(Error::Arguments(format!(
                "{rate} is no false discovery rate of a figure; give a number above 0 and at most {FALSEST}, such as 0.1"
            )));
        }
        let all = fit.tasks().names();
        if let Some(memberships) = fit.memberships() {
            let of = (0..all.len()).map(|t| fit.cluster_of(t).map_or(0, |c| c + 1)).collect();
            let sure = memberships.column_iter().map(|own| own.max()).collect();
            let clusters = Some((of, sure, memberships.nrows() - 1));
            return Ok(Graph { of: "", names: all.to_vec(), edges: Vec::new(), clusters, alone: (Vec::new(), 0), probabilities: None });
        }
        let links = Links::of(fit, Relation::of(fit).as_ref(), seed)?;
        let kept = links.at_rate(rate);
        if kept.is_empty() {
            let none_learned = links.certainty.is_none() || links.edges.is_empty();
            let words = match links.certainty {
                Some(_) if !none_learned => format!(
                    "at a false discovery rate of {rate} no two tasks are related ({} pairs are at {FALSEST}); give a larger --fdr",
                    links.edges.len()
                ),
                _ => sentence(&links.words),
            };
            return Err(Error::Arguments(format!(
                "there is no edge to draw: {words}; for what tasks have of their own ask for the figure of parameters ('cognate plot parameters')"
            )));
        }
        Ok(Self::of_links(all, &links, kept))
    }

    fn of_links(all: &[String], links: &Links, kept: &[Link]) -> Self {
        let mut number: Vec<Option<usize>> = vec![None; all.len()];
        let (mut names, mut edges) = (Vec::new(), Vec::new());
        for own in kept {
            let ends = [own.tasks.0, own.tasks.1];
            let fresh = ends.iter().filter(|t| number[**t].is_none()).count();
            if names.len() + fresh > MOST_DRAWN {
                continue;
            }
            let [s, t] = ends.map(|t| {
                *number[t].get_or_insert_with(|| {
                    names.push(all[t].clone());
                    names.len() - 1
                })
            });
            edges.push(Edge { ends: (s, t), value: own.value, probability: own.probability });
        }
        let rest: Vec<String> = (0..all.len()).filter(|t| number[*t].is_none()).map(|t| all[t].clone()).collect();
        let count = rest.len();
        let named = if all.len() <= ALL_DRAWN { rest } else { Vec::new() };
        Graph { of: links.of, names, edges, clusters: None, alone: (named, count), probabilities: links.certainty }
    }

    /// Whether its edges are those at a rate.
    pub(super) fn is_at_rate(&self) -> bool {
        self.probabilities.is_some()
    }

    pub(super) fn size(&self) -> (f64, f64) {
        match self.names.len() {
            0..=6 => (480.0, 320.0),
            7..=15 => (600.0, 400.0),
            16..=60 => (720.0, 560.0),
            61..=250 => (960.0, 760.0),
            _ => (1200.0, 960.0),
        }
    }

    pub(super) fn draw(&self, sheet: &mut Sheet) {
        let legend = Legend::of(self, sheet.width - 2.0 * MARGIN);
        let foot = legend.rows.len() as f64 * LINE + 6.0;
        let rows = self.rows_alone(sheet.width - 2.0 * MARGIN, (0.3 * (sheet.height - foot) / LINE) as usize);
        let below = if rows.is_empty() { 0.0 } else { rows.len() as f64 * LINE + 8.0 };
        let bottom = sheet.height - MARGIN - foot - below;
        let (places, radius) = self.places(sheet.width, bottom);
        self.draw_edges(sheet, &places);
        for (k, at) in places.iter().enumerate() {
            let (colour, opacity) = match &self.clusters {
                Some((of, sure, _)) => (cluster_colour(of[k]), 0.2 + 0.8 * sure[k].clamp(0.0, 1.0)),
                None => (INK, 1.0),
            };
            sheet.disc(*at, 1.2 * radius, WHITE, 1.0);
            sheet.disc(*at, radius, colour, opacity);
        }
        let mut degree = vec![0usize; places.len()];
        self.edges.iter().for_each(|own| [own.ends.0, own.ends.1].into_iter().for_each(|t| degree[t] += 1));
        let lines: Vec<_> = self.edges.iter().map(|own| (places[own.ends.0], places[own.ends.1])).collect();
        let dots: Vec<Dot> = (places.iter().zip(&self.names).zip(&degree))
            .map(|((at, name), degree)| Dot { at: *at, radius, name: short(name, 24), weight: *degree })
            .collect();
        if dots.len() <= ALL_DRAWN {
            names::beside(sheet, &dots, &lines, bottom);
        }
        let mut y = bottom + 8.0 + 0.5 * LINE;
        for row in rows {
            let mut x = MARGIN;
            for (name, is_task) in row {
                if is_task {
                    sheet.disc((x + 2.5, y), 2.5, SOFT, 1.0);
                }
                let indent = if is_task { 8.0 } else { 0.0 };
                sheet.text((x + indent, y), &name, NAME, Side::Start, SOFT);
                x += 12.0 + indent + letters::width(&name, NAME);
            }
            y += LINE;
        }
        legend.draw(sheet, sheet.height - MARGIN - foot + 6.0);
    }

    /// Places on the sheet above `bottom`, and how large a task is drawn.
    fn places(&self, width: f64, bottom: f64) -> (Vec<(f64, f64)>, f64) {
        let count = self.names.len().max(1);
        let share = if count > ALL_DRAWN { 0.08 } else { 0.16 };
        let radius = (share * (width * bottom / count as f64).sqrt()).clamp(1.6, 5.5);
        let side = if count <= 150 { (0.09 * width).clamp(20.0, 70.0) } else { MARGIN + 4.0 };
        let area = (width - 2.0 * side, bottom - 2.0 * MARGIN - 8.0);
        let most = self.largest();
        let (places, size) = match &self.clusters {
            Some((of, _, clusters)) => heaps(of, *clusters, area.0 / area.1),
            None => {
                // Strong relations are shorter.
                let edges: Vec<_> = self.edges.iter().map(|own| (own.ends.0, own.ends.1, 1.25 - 0.5 * own.value.abs() / most)).collect();
                layout::placed(count, &edges, area)
            }
        };
        let unit = (area.0 / size.0).min(area.1 / size.1).min(120.0 * (count as f64).sqrt().max(6.0) / 6.0);
        // Edges show between tasks.
        let radius = radius.min((0.2 * unit).max(0.8));
        let corner = (side + 0.5 * (area.0 - unit * size.0), MARGIN + 4.0 + 0.5 * (area.1 - unit * size.1));
        (places.into_iter().map(|(x, y)| (corner.0 + unit * x, corner.1 + unit * y)).collect(), radius)
    }

    fn largest(&self) -> f64 {
        self.edges.iter().map(|own| own.value.abs()).fold(1e-12, f64::max)
    }

    fn pen(&self, value: f64, probability: Option<f64>) -> (f64, f64) {
        let widest = if self.edges.len() > 1_000 { 1.6 } else { 4.4 };
        let width = 0.5 + (widest - 0.5) * value.abs() / self.largest();
        let opacity = match probability {
            Some(own) => 0.2 + 0.75 * ((own - 0.5) / 0.5).clamp(0.0, 1.0),
            None if self.edges.len() > 1_000 => 0.25,
            None => 0.85,
        };
        (width, opacity)
    }

    /// The surest uppermost.
    fn draw_edges(&self, sheet: &mut Sheet, places: &[(f64, f64)]) {
        for own in self.edges.iter().rev() {
            let (width, opacity) = self.pen(own.value, own.probability);
            let colour = if own.value < 0.0 { NEGATIVE } else { POSITIVE };
            sheet.line(places[own.ends.0], places[own.ends.1], width, colour, opacity);
        }
    }

    /// Rows of names of tasks without an edge, as many as there is room for; what is no task is words.
    fn rows_alone(&self, width: f64, most: usize) -> Vec<Vec<(String, bool)>> {
        let (named, count) = &self.alone;
        if *count == 0 {
            return Vec::new();
        }
        let mut rows: Vec<Vec<(String, bool)>> = vec![vec![("No edge:".into(), false)]];
        let step = |name: &str| 20.0 + letters::width(name, NAME);
        let mut used = step("No edge:");
        let mut left = *count;
        for name in named {
            let name = short(name, 24);
            let last = rows.len() >= most.clamp(1, 4);
            let room = if last { step("and 1000 more") } else { 0.0 };
            if used + step(&name) + room > width {
                if last {
                    break;
                }
                rows.push(Vec::new());
                used = 0.0;
            }
            used += step(&name);
            left -= 1;
            rows.last_mut().expect("one").push((name, true));
        }
        if left > 0 {
            let words = if left == *count { format!("{left} tasks") } else { format!("and {left} more") };
            rows.last_mut().expect("one").push((words, false));
        }
        rows
    }
}

/// Words within a sentence.
pub(super) fn sentence(words: &str) -> String {
    let mut own = words.trim_end_matches('.').to_string();
    if let Some(first) = own.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    own
}

fn cluster_colour(cluster: usize) -> Rgb {
    if cluster == 0 { SOFT } else { CLUSTERS[(cluster - 1) % CLUSTERS.len()] }
}

/// Tasks of a cluster in a heap, as seeds in a sunflower (Vogel 1979), those of none in one of their own.
fn heaps(of: &[usize], clusters: usize, shape: f64) -> (Vec<(f64, f64)>, (f64, f64)) {
    let mut members: Vec<Vec<usize>> = (1..=clusters).chain([0]).map(|c| (0..of.len()).filter(|t| of[*t] == c).collect()).collect();
    members.retain(|own| !own.is_empty());
    members.sort_by_key(|own| std::cmp::Reverse(own.len()));
    let radius = |count: usize| 0.62 * (count as f64).sqrt();
    let (corners, size) =
        layout::packed(&members.iter().map(|own| (2.0 * radius(own.len()), 2.0 * radius(own.len()))).collect::<Vec<_>>(), shape);
    let mut places = vec![(0.0, 0.0); of.len()];
    for (own, (left, top)) in members.iter().zip(corners) {
        let middle = (left + radius(own.len()), top + radius(own.len()));
        for (k, t) in own.iter().enumerate() {
            let (far, angle) = (0.6 * (k as f64 + 0.3).sqrt(), 2.399_963_23 * k as f64);
            places[*t] = (middle.0 + far * angle.cos(), middle.1 + far * angle.sin());
        }
    }
    (places, size)
}

/// What a legend has: a sample of a line (width, colour, opacity) or of a disc, or words alone.
#[derive(Clone, Copy)]
enum Sample {
    Line(f64, Rgb, f64),
    Disc(Rgb, f64),
    Words,
}

struct Legend {
    rows: Vec<Vec<(Sample, String)>>,
}

const SAMPLE: f64 = 26.0;
const GAP: f64 = 14.0;

impl Legend {
    fn of(graph: &Graph, width: f64) -> Self {
        let mut parts: Vec<Vec<(Sample, String)>> = Vec::new();
        if let Some((of, _, clusters)) = &graph.clusters {
            let mut own: Vec<(Sample, String)> =
                (1..=*clusters).map(|c| (Sample::Disc(cluster_colour(c), 1.0), format!("cluster {c}"))).collect();
            if of.contains(&0) {
                own.push((Sample::Disc(cluster_colour(0), 1.0), "none".into()));
            }
            parts.push(own);
            let samples = [0.5, 0.75, 1.0].map(|p| (Sample::Disc(INK, 0.2 + 0.8 * p), format!("{p}")));
            parts.push([(Sample::Words, "Probability".into())].into_iter().chain(samples).collect());
        } else {
            let most = graph.largest();
            let mut of = graph.of.to_string();
            of[..1].make_ascii_uppercase();
            let mut strength = vec![(Sample::Words, of)];
            let (marks, decimals) = Scale { domain: (0.15 * most, most), range: (0.0, 1.0) }.marks(3);
            strength.extend(marks.iter().map(|own| (Sample::Line(graph.pen(*own, None).0, SOFT, 1.0), mark_text(*own, decimals))));
            parts.push(strength);
            let opaque = graph.pen(most, graph.probabilities.map(|_| 1.0)).1.max(0.7);
            let has = |is: fn(f64) -> bool| graph.edges.iter().any(|own| is(own.value));
            let width_of_sign = graph.pen(0.7 * most, None).0;
            let mut signs = Vec::new();
            if has(|own| own >= 0.0) {
                signs.push((Sample::Line(width_of_sign, POSITIVE, opaque), "positive".to_string()));
            }
            if has(|own| own < 0.0) {
                signs.push((Sample::Line(width_of_sign, NEGATIVE, opaque), "negative".to_string()));
            }
            parts.push(signs);
            if let Some(certainty) = graph.probabilities {
                let what = if certainty.contains("sign") { "Probability of the sign" } else { "Probability" };
                let samples = [0.5, 0.75, 1.0].map(|p| (Sample::Line(2.6, INK, graph.pen(most, Some(p)).1), format!("{p}")));
                parts.push([(Sample::Words, what.into())].into_iter().chain(samples).collect());
            }
        }
        let mut rows: Vec<Vec<(Sample, String)>> = vec![Vec::new()];
        let mut used = 0.0;
        for part in parts {
            let wide: f64 = part.iter().map(room).sum::<f64>() + 10.0;
            if used > 0.0 && used + wide > width {
                rows.push(Vec::new());
                used = 0.0;
            }
            used += wide;
            rows.last_mut().expect("one").extend(part);
        }
        Legend { rows }
    }

    fn draw(&self, sheet: &mut Sheet, top: f64) {
        for (k, row) in self.rows.iter().enumerate() {
            let (mut x, y) = (MARGIN, top + (k as f64 + 0.5) * LINE);
            for (j, part) in row.iter().enumerate() {
                let (sample, words) = part;
                if j > 0 && matches!(sample, Sample::Words) {
                    x += 10.0;
                }
                match sample {
                    Sample::Line(width, colour, opacity) => sheet.line((x, y), (x + SAMPLE - 4.0, y), *width, *colour, *opacity),
                    Sample::Disc(colour, opacity) => sheet.disc((x + SAMPLE - 10.0, y), 5.0, *colour, *opacity),
                    Sample::Words => {}
                }
                let indent = if matches!(sample, Sample::Words) { 0.0 } else { SAMPLE };
                sheet.text((x + indent, y), words, NAME, Side::Start, INK);
                x += room(part);
            }
        }
    }
}

fn room((sample, words): &(Sample, String)) -> f64 {
    letters::width(words, NAME) + GAP + if matches!(sample, Sample::Words) { 0.0 } else { SAMPLE }
}
