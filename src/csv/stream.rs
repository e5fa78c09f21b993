//! A table to the sums of its tasks in one pass, rows parsed by all threads and forgotten: what a Gaussian fit of many rows needs.
//!
//! It reads plain tables only: one row an observation, features that are numbers. Whatever else it meets it leaves to [`read`](super::read), which
//! says what is wrong or makes contrasts of texts, so that there is one set of rules. Every task adds its rows in their order, so
//! that the sums are those of [`Rows::tasks`](crate::Rows::tasks) to the last bit, whatever the thread count.

use super::cells::{Coding, is_missing};
use super::numbers::{number, plain_number};
use super::{Columns, Schema, Source, design};
use crate::tasks::{Alike, HeldRows, INTERCEPT, LARGEST, TaskSums, Tasks};
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::collections::HashSet;
use std::io::Read;

/// Bytes parsed by one unit of parallel work, and units read at a time.
const PART: usize = 1 << 20;
const PARTS: usize = 16;

/// A table summed: its tasks, and what was left out.
#[derive(Clone, Debug)]
pub struct Summed {
    /// The tasks, without their rows.
    pub tasks: Tasks,
    /// How to read the next table alike.
    pub schema: Schema,
    /// Rows left out because their target is missing.
    pub missing_targets: u64,
    /// Rows dropped because a feature, weight or task is missing.
    pub dropped: u64,
    /// Tasks of which no row was left.
    pub empty_tasks: Vec<String>,
}

/// What a column is.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    Task,
    Target,
    Weight,
    Feature(usize),
    Unused,
}

struct Layout {
    roles: Vec<Role>,
    features: usize,
    weighted: bool,
    drop_missing: bool,
}

/// Sums a table of numbers, as [`read`](super::read) and [`Rows::tasks`](crate::Rows::tasks) would, in memory for one set of statistics a task. `None`
/// where the table is not plain (texts, quoted line breaks, missing features that are not dropped, anything to be refused) or the columns ask for
/// more than weights: read it then. O(n d^2), in parallel.
///
/// ```
/// use cognate::csv::{Columns, sum};
/// let columns = Columns { task: "site".into(), target: "y".into(), ..Columns::default() };
/// let table = "site,x,y\na,1,2\nb,2,2.5\na,3,4\n";
/// let summed = sum(table.as_bytes(), &columns).unwrap();
/// assert_eq!((summed.tasks.names().len(), summed.tasks.rows()), (2, 3));
/// assert!(sum("site,x,y\na,red,2\n".as_bytes(), &columns).is_none());
/// ```
pub fn sum(mut input: impl Read + Send, columns: &Columns) -> Option<Summed> {
    let mut text = Text::default();
    text.fill(&mut input)?;
    let head = text.bytes().iter().position(|byte| *byte == b'\n')? + 1;
    let source = Source::new(&text.bytes()[..head], "").ok()?;
    let (layout, codings) = layout(&source.header, columns)?;
    let features: Vec<String> = codings.iter().map(|coding| coding.column.clone()).collect();
    let design = design(columns, &codings, &features).ok()?;
    let mut sums = Sums::new(&layout);
    text.begin = head;
    let mut next = Text::default();
    loop {
        let (lines, rest) = text.lines()?;
        next.follow(rest);
        let (read, added) = rayon::join(|| if text.ended { Some(()) } else { next.fill(&mut input) }, || sums.add(lines, &layout));
        added?;
        read?;
        if text.ended {
            break;
        }
        std::mem::swap(&mut text, &mut next);
    }
    sums.tasks.add_all(&sums.held);
    let Sums { names, idle, missing_targets, dropped, rows, alike, tasks, .. } = sums;
    let known: HashSet<&String> = names.iter().collect();
    let empty_tasks = idle.into_iter().filter(|name| !known.contains(name)).collect();
    let alike = if features.is_empty() || names.len() < 2 { Vec::new() } else { alike.tasks(rows) };
    let schema = Schema {
        task: columns.task.clone(),
        target: columns.target.clone(),
        weights: columns.weights.clone(),
        codings,
        ..Schema::default()
    };
    let tasks = tasks.tasks(&columns.target, names, &design).with_alike(alike);
    (rows > 0).then_some(Summed { tasks, schema, missing_targets, dropped, empty_tasks })
}

/// A stretch of the input.
#[derive(Default)]
struct Text {
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
    ended: bool,
}

impl Text {
    fn bytes(&self) -> &[u8] {
        &self.buffer[self.begin..self.end]
    }

    /// Reads on until there are some parts, or the input ends: then the last line is a whole one. None where it cannot be read.
    fn fill(&mut self, input: &mut impl Read) -> Option<()> {
        let wanted = self.end + PART * PARTS;
        self.buffer.resize(self.buffer.len().max(wanted + 1), 0);
        while self.end < wanted {
            match input.read(&mut self.buffer[self.end..wanted]) {
                Ok(0) => {
                    self.ended = true;
                    if self.bytes().last().is_some_and(|byte| *byte != b'\n') {
                        self.buffer[self.end] = b'\n';
                        self.end += 1;
                    }
                    break;
                }
                Ok(count) => self.end += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        Some(())
    }

    /// The whole lines, and what has begun after them; none where there is no whole line.
    fn lines(&self) -> Option<(&[u8], &[u8])> {
        let end = if self.ended { self.bytes().len() } else { self.bytes().iter().rposition(|byte| *byte == b'\n')? + 1 };
        Some(self.bytes().split_at(end))
    }

    /// Nothing but these first bytes.
    fn follow(&mut self, bytes: &[u8]) {
        self.buffer.resize(self.buffer.len().max(bytes.len()), 0);
        self.buffer[..bytes.len()].copy_from_slice(bytes);
        (self.begin, self.end) = (0, bytes.len());
    }
}

/// What every column is; none where that is not for this reader to say.
fn layout(header: &[String], columns: &Columns) -> Option<(Layout, Vec<Coding>)> {
    let plain = columns.targets.is_empty() && columns.factors.is_empty() && !columns.own_units;
    let more = [&columns.row, &columns.trials, &columns.offset, &columns.exposure, &columns.family];
    if !plain || more.iter().any(|column| column.is_some()) {
        return None;
    }
    let place = |name: &String| header.iter().position(|column| column == name);
    let mut roles = vec![Role::Unused; header.len()];
    let mut take = |at: usize, role: Role| (std::mem::replace(&mut roles[at], role) == Role::Unused).then_some(());
    take(place(&columns.task)?, Role::Task)?;
    take(place(&columns.target)?, Role::Target)?;
    if let Some(weights) = &columns.weights {
        take(place(weights)?, Role::Weight)?;
    }
    let used = |name: &&String| **name == columns.task || **name == columns.target || Some(*name) == columns.weights.as_ref();
    let features: Vec<String> = match &columns.features {
        Some(names) => names.clone(),
        None => header.iter().filter(|name| !used(name)).cloned().collect(),
    };
    for (k, name) in features.iter().enumerate() {
        if name.is_empty() || name == INTERCEPT {
            return None;
        }
        take(place(name)?, Role::Feature(k))?;
    }
    let layout = Layout { roles, features: features.len(), weighted: columns.weights.is_some(), drop_missing: columns.drop_missing };
    Some((layout, features.into_iter().map(|column| Coding { column, levels: None }).collect()))
}

/// The rows of a part, and what was met beside them.
#[derive(Default)]
struct Part<'a> {
    rows: HeldRows,
    /// Tasks that no stretch before had; their numbers go on from the known ones.
    names: Vec<&'a str>,
    /// Rows whose features are looked at for being those of other tasks, with their hashes.
    hashes: Vec<(u64, u32)>,
    idle: Vec<&'a str>,
    missing_targets: u64,
    dropped: u64,
}

/// What has been read.
#[derive(Default)]
struct Sums {
    names: Vec<String>,
    numbers: FxHashMap<String, u32>,
    /// Tasks met in a row that was left out.
    idle: Vec<String>,
    idle_known: HashSet<String>,
    missing_targets: u64,
    dropped: u64,
    rows: usize,
    alike: Alike,
    /// Rows not yet added, in the order of the table.
    held: Vec<HeldRows>,
    tasks: TaskSums,
}

impl Sums {
    fn new(layout: &Layout) -> Self {
        Sums { tasks: TaskSums::new(layout.features), ..Sums::default() }
    }

    /// Takes up whole lines; none where one is not plain.
    fn add(&mut self, lines: &[u8], layout: &Layout) -> Option<()> {
        let mut pieces = Vec::new();
        let mut begin = 0;
        while begin < lines.len() {
            let least = (begin + PART).min(lines.len()) - 1;
            let end = least + lines[least..].iter().position(|byte| *byte == b'\n')? + 1;
            pieces.push(&lines[begin..end]);
            begin = end;
        }
        let (mask, known) = (Alike::mask(self.rows), self.names.len() as u32);
        let parts: Vec<Part> = pieces.into_par_iter().map(|piece| parse(piece, layout, mask, &self.numbers)).collect::<Option<_>>()?;
        for mut part in parts {
            let of_part: Vec<u32> = part.names.iter().map(|name| self.number(name)).collect();
            let number = |task: u32| task.checked_sub(known).map_or(task, |own| of_part[own as usize]);
            if !of_part.is_empty() {
                part.rows.tasks.iter_mut().for_each(|task| *task = number(*task));
            }
            self.rows += part.rows.tasks.len();
            let mask = Alike::mask(self.rows);
            part.hashes.iter().for_each(|(hash, task)| self.alike.note_hash(*hash, number(*task), mask));
            for name in &part.idle {
                if !self.idle_known.contains(*name) {
                    self.idle_known.insert(name.to_string());
                    self.idle.push(name.to_string());
                }
            }
            self.missing_targets += part.missing_targets;
            self.dropped += part.dropped;
            self.held.push(part.rows);
        }
        self.tasks.resize(self.names.len());
        if self.tasks.are_worth_adding(&self.held) {
            self.tasks.add_all(&self.held);
            self.held.clear();
        }
        Some(())
    }

    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.names.len() as u32;
        self.names.push(name.to_string());
        self.numbers.insert(name.to_string(), number);
        number
    }
}

/// The rows of some whole lines; none where one is not plain.
fn parse<'a>(lines: &'a [u8], layout: &Layout, mask: u64, known: &FxHashMap<String, u32>) -> Option<Part<'a>> {
    let (mut part, stretches) = Arch::new().dispatch(Parse { lines, layout, mask })?;
    // Looked up together, names are waited for together.
    let found: Vec<Option<u32>> = stretches.iter().map(|name| known.get(*name).copied()).collect();
    let mut local: FxHashMap<&str, u32> = FxHashMap::default();
    let number = |(name, found): (&&'a str, Option<u32>)| {
        found.unwrap_or_else(|| {
            *local.entry(name).or_insert_with(|| {
                part.names.push(name);
                (known.len() + part.names.len() - 1) as u32
            })
        })
    };
    let numbers: Vec<u32> = stretches.iter().zip(found).map(number).collect();
    let tasks = part.rows.tasks.iter_mut().chain(part.hashes.iter_mut().map(|(_, task)| task));
    tasks.for_each(|task| *task = numbers[*task as usize]);
    Some(part)
}

/// Reads lines; tasks are numbers of stretches of rows, whose names come with them.
struct Parse<'a, 'b> {
    lines: &'a [u8],
    layout: &'b Layout,
    mask: u64,
}

impl<'a> NullaryFnOnce for Parse<'a, '_> {
    type Output = Option<(Part<'a>, Vec<&'a str>)>;

    #[inline(always)]
    fn call(self) -> Self::Output {
        let Parse { lines, layout, mask } = self;
        let (d, last) = (layout.features, layout.roles.len() - 1);
        let mut part = Part::default();
        // As many rows as there would be if all lines were as long as the first.
        let first = lines.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let expected = lines.len() / first.max(2 * layout.roles.len());
        part.rows.numbers.reserve(expected * (d + 2));
        part.rows.tasks.reserve(expected);
        let mut stretches = Vec::with_capacity(expected);
        let mut latest: Option<&[u8]> = None;
        let mut at = 0;
        while at < lines.len() {
            if let [b'\n', ..] | [b'\r', b'\n', ..] = lines[at..] {
                at += if lines[at] == b'\n' { 1 } else { 2 };
                continue;
            }
            let start = part.rows.numbers.len();
            part.rows.numbers.resize(start + d + 2, 1.0);
            let row = &mut part.rows.numbers[start..];
            let (mut task, mut target_missing, mut gap): (&[u8], bool, bool) = (b"", false, false);
            for (column, role) in layout.roles.iter().enumerate() {
                let (cell, value);
                (cell, value, at) = next_cell(lines, at, !matches!(role, Role::Task | Role::Unused))?;
                let ends = lines[at - 1] == b'\n';
                if ends != (column == last) {
                    return None;
                }
                let place = match role {
                    Role::Task => {
                        task = cell;
                        continue;
                    }
                    Role::Unused => {
                        std::str::from_utf8(cell).ok()?;
                        continue;
                    }
                    Role::Target => d,
                    Role::Weight => d + 1,
                    Role::Feature(k) => *k,
                };
                match value {
                    Some(value) => row[place] = value,
                    None => match number(cell)? {
                        Some(value) => row[place] = value,
                        None if *role == Role::Target => target_missing = true,
                        None => gap = true,
                    },
                }
            }
            let weight = row[d + 1];
            if layout.weighted && !(weight > 1.0 / LARGEST && weight < LARGEST) {
                return None;
            }
            let seen = latest == Some(task);
            let name = if seen { "" } else { std::str::from_utf8(task).ok()?.trim() };
            let unnamed = !seen && is_missing(name);
            if ((gap && !target_missing) || unnamed) && !layout.drop_missing {
                return None;
            }
            if target_missing || gap || unnamed {
                if target_missing {
                    part.missing_targets += 1
                } else {
                    part.dropped += 1
                }
                if !seen && !unnamed {
                    part.idle.push(name);
                }
                part.rows.numbers.truncate(start);
                continue;
            }
            if !seen {
                stretches.push(name);
                latest = Some(task);
            }
            let stretch = stretches.len() as u32 - 1;
            let hash = Alike::hash(&part.rows.numbers[start..start + d]);
            if hash & mask == 0 {
                part.hashes.push((hash, stretch));
            }
            part.rows.tasks.push(stretch);
        }
        Some((part, stretches))
    }
}

/// The cell that begins here, its number where that is a plain one and was asked for, and where the next begins; none where it is quoted
/// in more than the plainest way.
#[inline(always)]
fn next_cell(lines: &[u8], begin: usize, is_number: bool) -> Option<(&[u8], Option<f64>, usize)> {
    if lines[begin] == b'"' {
        let inside = &lines[begin + 1..];
        let length = inside.iter().position(|byte| matches!(byte, b'"' | b'\n'))?;
        let end = begin + 1 + length;
        let after = lines.get(end + 1..)?;
        let skip = match after {
            [b',' | b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => return None,
        };
        return (lines[end] == b'"').then_some((&inside[..length], None, end + 1 + skip));
    }
    if is_number && let Some((value, end)) = plain_number(lines, begin) {
        return Some((&lines[begin..end - 1], value, end));
    }
    let length = lines[begin..].iter().position(|byte| matches!(byte, b',' | b'\n' | b'"' | b'\r'))?;
    let end = begin + length;
    match lines[end..] {
        [b',' | b'\n', ..] => Some((&lines[begin..end], None, end + 1)),
        [b'\r', b'\n', ..] => Some((&lines[begin..end], None, end + 2)),
        _ => None,
    }
}
