//! A table to the sums of its tasks in one pass, rows parsed by all threads and forgotten: what a Gaussian fit of many rows needs.
//!
//! It reads plain tables only: one row an observation, features that are numbers. Whatever else it meets it leaves to [`read`](super::read), which
//! says what is wrong or makes contrasts of texts, so that there is one set of rules. Every task adds its rows in their order, so
//! that the sums are those of [`Rows::tasks`](crate::Rows::tasks) to the last bit, whatever the thread count.

use super::cells::{Coding, is_missing};
use super::{Columns, Schema, Source, design};
use crate::tasks::{Alike, INTERCEPT, LARGEST, TaskSums, Tasks};
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
    let mut buffer = Vec::new();
    let mut ended = fill(&mut input, &mut buffer)?;
    let head = buffer.iter().position(|byte| *byte == b'\n')? + 1;
    let source = Source::new(&buffer[..head], "").ok()?;
    let (layout, codings) = layout(&source.header, columns)?;
    let features: Vec<String> = codings.iter().map(|coding| coding.column.clone()).collect();
    let design = design(columns, &codings, &features).ok()?;
    let mut sums = Sums::new(&layout);
    let mut begin = head;
    loop {
        let end = if ended { buffer.len() } else { begin + buffer[begin..].iter().rposition(|byte| *byte == b'\n')? + 1 };
        let mut next = buffer[end..].to_vec();
        let (read, added) =
            rayon::join(|| if ended { Some(true) } else { fill(&mut input, &mut next) }, || sums.add(&buffer[begin..end], &layout));
        added?;
        if ended {
            break;
        }
        ended = read?;
        (buffer, begin) = (next, 0);
    }
    let Sums { names, idle, missing_targets, dropped, rows, alike, sets, .. } = sums;
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
    let tasks = TaskSums::joined(sets, names.len()).tasks(&columns.target, names, &design).with_alike(alike);
    (rows > 0).then_some(Summed { tasks, schema, missing_targets, dropped, empty_tasks })
}

/// Reads on until there are some parts, or the input ends: then true, and the last line is a whole one. None where it cannot be read.
fn fill(input: &mut impl Read, buffer: &mut Vec<u8>) -> Option<bool> {
    let wanted = (PART * PARTS) as u64;
    let read = input.by_ref().take(wanted).read_to_end(buffer).ok()?;
    let ended = (read as u64) < wanted;
    if ended && buffer.last().is_some_and(|byte| *byte != b'\n') {
        buffer.push(b'\n');
    }
    Some(ended)
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

/// The rows of a part: features, target and weight of each one after another, and its task.
#[derive(Default)]
struct Part<'a> {
    names: Vec<&'a str>,
    tasks: Vec<u32>,
    numbers: Vec<f64>,
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
    /// Task t is in set t % n.
    sets: Vec<TaskSums>,
}

impl Sums {
    fn new(layout: &Layout) -> Self {
        let sets = (0..rayon::current_num_threads()).map(|_| TaskSums::new(layout.features)).collect();
        Sums { sets, ..Sums::default() }
    }

    /// Adds whole lines; none where one is not plain.
    fn add(&mut self, lines: &[u8], layout: &Layout) -> Option<()> {
        let mut pieces = Vec::new();
        let mut begin = 0;
        while begin < lines.len() {
            let least = (begin + PART).min(lines.len()) - 1;
            let end = least + lines[least..].iter().position(|byte| *byte == b'\n')? + 1;
            pieces.push(&lines[begin..end]);
            begin = end;
        }
        let mask = Alike::mask(self.rows);
        let parts: Vec<Part> = pieces.into_par_iter().map(|piece| parse(piece, layout, mask)).collect::<Option<_>>()?;
        let mut numbered = Vec::with_capacity(parts.len());
        for part in &parts {
            let of_part: Vec<u32> = part.names.iter().map(|name| self.number(name)).collect();
            self.rows += part.tasks.len();
            let mask = Alike::mask(self.rows);
            part.hashes.iter().for_each(|(hash, task)| self.alike.note_hash(*hash, of_part[*task as usize], mask));
            for name in &part.idle {
                if !self.idle_known.contains(*name) {
                    self.idle_known.insert(name.to_string());
                    self.idle.push(name.to_string());
                }
            }
            self.missing_targets += part.missing_targets;
            self.dropped += part.dropped;
            numbered.push((part, of_part));
        }
        let (count, tasks) = (self.sets.len(), self.names.len());
        self.sets.par_iter_mut().enumerate().for_each(|(set, sums)| {
            sums.resize((tasks + count - 1 - set) / count);
            numbered
                .iter()
                .for_each(|(part, of_part)| Arch::new().dispatch(Fold { part, of_part, sums: &mut *sums, own: (set, count), layout }));
        });
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

/// Adds the rows of a part whose tasks are in one set.
struct Fold<'a> {
    part: &'a Part<'a>,
    of_part: &'a [u32],
    sums: &'a mut TaskSums,
    own: (usize, usize),
    layout: &'a Layout,
}

impl NullaryFnOnce for Fold<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let (d, (set, count)) = (self.layout.features, self.own);
        for (row, task) in self.part.numbers.chunks_exact(d + 2).zip(&self.part.tasks) {
            let task = self.of_part[*task as usize] as usize;
            if task % count == set {
                self.sums.begin(task / count, &row[..d], row[d]);
                self.sums.add(task / count, &row[..d], row[d], row[d + 1]);
            }
        }
    }
}

/// The rows of some whole lines; none where one is not plain.
fn parse<'a>(lines: &'a [u8], layout: &Layout, mask: u64) -> Option<Part<'a>> {
    let (d, last) = (layout.features, layout.roles.len() - 1);
    let mut part = Part::default();
    let mut local: FxHashMap<&str, u32> = FxHashMap::default();
    let mut latest: (&[u8], u32) = (b"", u32::MAX);
    let mut at = 0;
    while at < lines.len() {
        if let [b'\n', ..] | [b'\r', b'\n', ..] = lines[at..] {
            at += if lines[at] == b'\n' { 1 } else { 2 };
            continue;
        }
        let start = part.numbers.len();
        part.numbers.resize(start + d + 2, 1.0);
        let row = &mut part.numbers[start..];
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
        let seen = latest.1 != u32::MAX && latest.0 == task;
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
            part.numbers.truncate(start);
            continue;
        }
        if !seen {
            let next = part.names.len() as u32;
            let number = *local.entry(name).or_insert(next);
            if number == next {
                part.names.push(name);
            }
            latest = (task, number);
        }
        let hash = Alike::hash(&part.numbers[start..start + d]);
        if hash & mask == 0 {
            part.hashes.push((hash, latest.1));
        }
        part.tasks.push(latest.1);
    }
    Some(part)
}

/// The cell that begins here, its number where that is a plain one and was asked for, and where the next begins; none where it is quoted
/// in more than the plainest way.
#[inline]
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

/// A decimal number and where the next cell begins; the number itself only where it has at most 19 digits, as all have that were
/// printed to be read back.
#[inline]
fn plain_number(lines: &[u8], begin: usize) -> Option<(Option<f64>, usize)> {
    let negative = lines[begin] == b'-';
    let first = begin + usize::from(negative);
    let (mut at, mut units, mut places) = (first, 0u64, 0);
    let mut byte = digits(lines, &mut at, &mut units)?;
    if byte == b'.' {
        at += 1;
        let point = at;
        while let Some(eight) = lines.get(at..).and_then(|rest| rest.first_chunk()).and_then(eight_digits) {
            units = units.wrapping_mul(100_000_000).wrapping_add(eight);
            at += 8;
        }
        byte = digits(lines, &mut at, &mut units)?;
        places = at - point;
    }
    if byte != b',' && byte != b'\n' {
        return None;
    }
    let count = if places > 0 || lines[at - 1] == b'.' { at - first - 1 } else { at - first };
    let value = (1..=19).contains(&count).then(|| quotient(units, places));
    Some((value.map(|value| f64::from_bits(value.to_bits() | u64::from(negative) << 63)), at + 1))
}

/// Appends the digits from here, and returns the byte after them.
#[inline]
fn digits(lines: &[u8], at: &mut usize, units: &mut u64) -> Option<u8> {
    loop {
        let byte = *lines.get(*at)?;
        let digit = byte.wrapping_sub(b'0');
        if digit >= 10 {
            return Some(byte);
        }
        *units = units.wrapping_mul(10).wrapping_add(u64::from(digit));
        *at += 1;
    }
}

/// The number that eight digits are (Mula 2014); none where one is no digit.
#[inline]
fn eight_digits(text: &[u8; 8]) -> Option<u64> {
    let digits = u64::from_le_bytes(*text).wrapping_sub(0x3030_3030_3030_3030);
    if (digits | digits.wrapping_add(0x7676_7676_7676_7676)) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let (high, low) = (pairs & 0x0000_00ff_0000_00ff, (pairs >> 16) & 0x0000_00ff_0000_00ff);
    Some((high.wrapping_mul(0x000f_4240_0000_0064).wrapping_add(low.wrapping_mul(0x0000_2710_0000_0001))) >> 32)
}

/// The double nearest to `units` / 10^`places`, of at most 19 places.
#[inline]
fn quotient(units: u64, places: usize) -> f64 {
    const POWERS: [u64; 20] = {
        let mut powers = [1; 20];
        let mut k = 1;
        while k < 20 {
            powers[k] = 10 * powers[k - 1];
            k += 1;
        }
        powers
    };
    let power = POWERS[places];
    if units <= 1 << 53 {
        // Both are doubles, and their quotient is rounded once (Clinger 1990).
        return units as f64 / power as f64;
    }
    // At least 55 bits of the quotient, the last of them set where some are cut off: then its rounding is that of the whole.
    let shift = (55 + power.ilog2() as i32 - units.ilog2() as i32).max(0);
    let shifted = u128::from(units) << shift;
    let whole = shifted / u128::from(power);
    let nearest = (whole as u64 | u64::from(whole * u128::from(power) != shifted)) as f64;
    nearest * f64::from_bits((1023 - shift as u64) << 52)
}

/// The number of a cell, none where it is missing; nothing at all where it is neither.
fn number(cell: &[u8]) -> Option<Option<f64>> {
    let text = std::str::from_utf8(cell).ok()?.trim();
    match text.parse::<f64>() {
        Ok(value) if value.abs() <= LARGEST => Some(Some(value)),
        _ => is_missing(text).then_some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_standard_library() {
        let mut state = 7u64;
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state >> 5
        };
        let mut texts: Vec<String> = [
            "0",
            "-0",
            "00.10",
            "5.",
            ".5",
            "9007199254740993",
            "0.9007199254740993",
            ".0009007199254740993",
            "9999999999999999999",
            "1.5e3",
        ]
        .map(String::from)
        .to_vec();
        for k in 0..200_000 {
            let digits = (random() % 10u64.pow(1 + (k % 18) as u32)).to_string();
            let point = random() as usize % (digits.len() + 1);
            texts.push(format!("{}{}.{}", ["", "-"][k % 2], &digits[..point], &digits[point..]));
            // Halfway between two doubles, or nearly so.
            texts.push(format!("{}", (random() % (1 << 40)) as f64 / f64::from(1 << 20) + 2f64.powi(-21)));
            texts.push(format!("{}", f64::from_bits((random() % (1 << 62)) | (1 << 61))));
        }
        for text in texts {
            let line = format!("{text},");
            let (found, end) = match plain_number(line.as_bytes(), 0) {
                Some((Some(value), end)) => (value, end),
                Some((None, end)) => (number(&line.as_bytes()[..end - 1]).unwrap_or_default().unwrap_or(f64::NAN), end),
                None => continue,
            };
            let expected: f64 = text.parse().unwrap_or(f64::NAN);
            assert!(
                expected.to_bits() == found.to_bits() || expected.is_nan() || expected.abs() > LARGEST,
                "{text}: {expected:e}, {found:e}"
            );
            assert_eq!(end, line.len());
        }
        assert_eq!(eight_digits(b"12345678"), Some(12_345_678));
        assert!(eight_digits(b"1234567,").is_none() && eight_digits(b".2345678").is_none() && eight_digits(b"123:5678").is_none());
    }
}
