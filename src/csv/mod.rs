//! From a CSV table to rows: which columns are what, how text becomes numbers, and what is refused.

mod cells;
mod descriptors;
mod families;
mod numbers;
mod open;
#[cfg(feature = "parquet")]
mod parquet;
mod queries;
mod relation;
mod sides;
mod stream;
mod summaries;

pub use cells::Coding;
pub use queries::{Query, read_more, read_queries, read_whole_queries};

use crate::error::{Error, Result};
use crate::tasks::{Design, INTERCEPT, Rows};
use cells::{Cells, MISSING_CODE, is_missing, number};
use families::FamilyColumn;
pub(crate) use families::Uses;
use serde::{Deserialize, Serialize};
use sides::Sides;
use std::collections::HashMap;
use std::io::Read;

/// Which columns of a table play which part.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// Column of the task names.
    pub task: String,
    /// Column of the target.
    pub target: String,
    /// Columns of a wide table that are the targets of a task each, in the place of those of the task and of the target.
    pub targets: Vec<String>,
    /// Column of the unit that a row was measured on, which rows of several tasks may share.
    pub row: Option<String>,
    /// The targets of a wide table are in units of their own.
    pub own_units: bool,
    /// Feature columns; none for all others.
    pub features: Option<Vec<String>>,
    /// Which features vary between tasks.
    pub varying: Varying,
    /// Varying features in whose directions tasks may be related (the intercept is `(Intercept)`); none for all.
    pub graph_features: Option<Vec<String>>,
    /// The intercept is common to all tasks.
    pub common_intercept: bool,
    /// There is no intercept at all.
    pub no_intercept: bool,
    /// Column of precision weights.
    pub weights: Option<String>,
    /// Column of the number of trials; the target then counts successes, and rows are their share with the trials as weight.
    pub trials: Option<String>,
    /// Column of what the linear predictor has beside x' w.
    pub offset: Option<String>,
    /// Column of exposures, whose logarithms are added to the offset.
    pub exposure: Option<String>,
    /// Column of the family of every task, the same in all its rows.
    pub family: Option<String>,
    /// Columns of numbers to be read as categories.
    pub factors: Vec<String>,
    /// Features without a mean (they vary about 0).
    pub without_mean: Vec<String>,
    /// Rows with a missing feature are dropped instead of refused.
    pub drop_missing: bool,
}

/// Which features vary.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Varying {
    /// All.
    #[default]
    All,
    /// None but the intercept.
    None,
    /// These.
    Only(Vec<String>),
}

/// What a fitted model remembers of its table, to read the next one alike.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// Column of the task names.
    pub task: String,
    /// Column of the target; empty where there is none.
    pub target: String,
    /// Columns of the targets of a wide table.
    #[serde(default)]
    pub targets: Vec<String>,
    /// Column of the weights.
    pub weights: Option<String>,
    /// Column of the number of trials.
    #[serde(default)]
    pub trials: Option<String>,
    /// Column of the offset.
    #[serde(default)]
    pub offset: Option<String>,
    /// Column of the exposure.
    #[serde(default)]
    pub exposure: Option<String>,
    /// Column of the families.
    #[serde(default)]
    pub family: Option<String>,
    /// Feature columns in order.
    pub codings: Vec<Coding>,
}

/// A table read: rows, their design, and what was left out.
#[derive(Clone, Debug)]
pub struct Table {
    /// The usable rows.
    pub rows: Rows,
    /// Features and their parts.
    pub design: Design,
    /// How to read the next table alike.
    pub schema: Schema,
    /// Rows (of a wide table, targets) left out because their target is missing.
    pub missing_targets: u64,
    /// Rows dropped because a feature, weight or task is missing.
    pub dropped: u64,
    /// Tasks of which no row was left.
    pub empty_tasks: Vec<String>,
}

pub use descriptors::read_descriptors;
pub use open::{open, open_columns};
pub use relation::read_relation;
pub use stream::{Summed, sum};
pub use summaries::{SummaryTable, read_summaries};

/// A CSV reader with its header checked.
struct Source<R> {
    name: String,
    reader: csv::Reader<R>,
    header: Vec<String>,
}

impl<R: Read> Source<R> {
    fn new(input: R, name: &str) -> Result<Self> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).buffer_capacity(1 << 18).from_reader(input);
        let header: Vec<String> = reader
            .headers()
            .map_err(|error| broken(name, &error))?
            .iter()
            .map(|cell| cell.trim_start_matches('\u{feff}').to_string())
            .collect();
        if header.is_empty() || header.iter().all(String::is_empty) {
            return Err(Error::NoRows {
                source_name: name.into(),
                remedy: "the file is empty; its first line must name the columns".into(),
            });
        }
        for (i, column) in header.iter().enumerate() {
            if header[..i].contains(column) {
                return Err(Error::Table { source_name: name.into(), problem: format!("two columns are named '{column}'; rename one") });
            }
        }
        if let [only] = header.as_slice()
            && only.contains([';', '\t'])
        {
            let problem = "its cells seem to be separated by semicolons or tabs; save it with commas".to_string();
            return Err(Error::Table { source_name: name.into(), problem });
        }
        Ok(Source { name: name.into(), reader, header })
    }

    fn column(&self, name: &str) -> Result<usize> {
        self.header.iter().position(|column| column == name).ok_or_else(|| Error::missing_column(name, &self.header))
    }

    fn next(&mut self, record: &mut csv::StringRecord) -> Result<bool> {
        self.reader.read_record(record).map_err(|error| broken(&self.name, &error))
    }
}

fn broken(name: &str, error: &csv::Error) -> Error {
    // The reader counts a line only with its \n, and of \r\n that is still to come.
    let line = error.position().map(|position| position.line().max(position.record() + 1));
    let problem = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("line {} has {len} cells and the header {expected_len}; correct that line", line.unwrap_or_default())
        }
        csv::ErrorKind::Utf8 { .. } => format!("line {} is not UTF-8 text; save the table as UTF-8", line.unwrap_or_default()),
        csv::ErrorKind::Io(error) => format!("{error}; check the file"),
        _ => format!("{error}; check the file"),
    };
    Error::Table { source_name: name.into(), problem }
}

fn cell_of(record: &csv::StringRecord, column: usize) -> &str {
    record[column].trim()
}

/// Reads a table whose columns are named by `columns`. Text columns become treatment contrasts.
///
/// # Errors
/// A missing column, a cell that is no number, a missing feature (unless dropped), a weight that is not positive, or no
/// row left; each names row and column.
pub fn read(input: impl Read, name: &str, columns: &Columns) -> Result<Table> {
    let mut source = Source::new(input, name)?;
    let wide = !columns.targets.is_empty();
    let task = if wide { None } else { Some(source.column(&columns.task)?) };
    let target_names = if wide { columns.targets.as_slice() } else { std::slice::from_ref(&columns.target) };
    let target_columns: Vec<usize> = target_names.iter().map(|name| source.column(name)).collect::<Result<_>>()?;
    if let Some(twice) = (1..target_names.len()).find(|k| target_names[..*k].contains(&target_names[*k])) {
        return Err(Error::Arguments(format!("target '{}' is named twice; name each once", target_names[twice])));
    }
    let unit = columns.row.as_ref().map(|name| source.column(name)).transpose()?;
    let sides = Sides::of(&source, [&columns.weights, &columns.trials, &columns.offset, &columns.exposure])?;
    let mut families = columns.family.as_ref().map(|name| FamilyColumn::of(&source, name)).transpose()?;
    if let Some(clash) = families.as_ref().map(FamilyColumn::column).filter(|own| Some(*own) == task || target_columns.contains(own)) {
        let name = &source.header[clash];
        return Err(Error::Arguments(format!(
            "column '{name}' names families and cannot be the task or the target; name another with --family-column"
        )));
    }
    if task.is_some_and(|task| target_columns.contains(&task)) {
        return Err(Error::Arguments(format!("column '{}' cannot be both task and target", columns.task)));
    }
    if let Some(clash) = unit.filter(|unit| Some(*unit) == task || target_columns.contains(unit)) {
        let name = &source.header[clash];
        return Err(Error::Arguments(format!("column '{name}' names rows and cannot be the task or a target; name another with --row")));
    }
    let used: Vec<Option<usize>> = [task, unit, families.as_ref().map(FamilyColumn::column)]
        .into_iter()
        .chain(target_columns.iter().map(|i| Some(*i)))
        .chain(sides.columns())
        .collect();
    let chosen: Vec<usize> = match &columns.features {
        Some(names) => names.iter().map(|name| source.column(name)).collect::<Result<_>>()?,
        None => (0..source.header.len()).filter(|i| !used.contains(&Some(*i))).collect(),
    };
    if let Some(clash) = chosen.iter().find(|i| used.contains(&Some(**i))) {
        return Err(Error::Arguments(format!("column '{}' cannot be a feature too; leave it out of --features", source.header[*clash])));
    }
    if let Some(odd) = chosen.iter().map(|i| &source.header[*i]).find(|name| name.is_empty() || *name == INTERCEPT) {
        let remedy = match odd.is_empty() {
            true => "a column of row numbers, as R's write.csv adds one, is left out by row.names = FALSE, or by naming the --features",
            false => "rename it in the table",
        };
        return Err(Error::Arguments(format!("a feature column cannot be named '{odd}'; {remedy}")));
    }
    for factor in &columns.factors {
        source.column(factor)?;
    }
    let category: Vec<bool> = chosen.iter().map(|i| columns.factors.contains(&source.header[*i])).collect();

    let mut cells: Vec<Cells> = chosen.iter().map(|_| Cells::Undecided).collect();
    // Of every row its task (none in a wide table), its targets, what stands beside them and its unit.
    let (mut tasks, mut targets, mut beside, mut units) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut names: HashMap<String, u32> = HashMap::new();
    let mut order: Vec<String> = if wide { columns.targets.clone() } else { Vec::new() };
    let mut record = csv::StringRecord::new();
    let mut row = 0;
    let mut missing_targets = 0;
    let mut dropped = 0;
    while source.next(&mut record)? {
        row += 1;
        if let Some(task) = task {
            let cell = cell_of(&record, task);
            if is_missing(cell) && !columns.drop_missing {
                return Err(Error::MissingValue { row, column: columns.task.clone() });
            }
            let index = if is_missing(cell) {
                u32::MAX
            } else if let Some(same) = tasks.last().copied().filter(|last| *last != u32::MAX && order[*last as usize] == cell) {
                same
            } else if let Some(index) = names.get(cell) {
                *index
            } else {
                let index = order.len() as u32;
                order.push(cell.into());
                names.insert(cell.into(), index);
                index
            };
            tasks.push(index);
            if let (Some(families), Some(name)) = (&mut families, order.get(index as usize)) {
                families.note(&record, row, (index, name))?;
            }
        }
        if let (Some(unit), Some(name)) = (unit, &columns.row) {
            let cell = cell_of(&record, unit);
            if is_missing(cell) && !columns.drop_missing {
                return Err(Error::MissingValue { row, column: name.clone() });
            }
            units.push(if is_missing(cell) { None } else { Some(cell.to_string()) });
        }
        let own = if sides.any() { Some(sides.of_row(&record, row, families.as_ref().map(|own| own.uses(&record)))?) } else { None };
        for (name, column) in target_names.iter().zip(&target_columns) {
            let cell = cell_of(&record, *column);
            let target = if is_missing(cell) { f64::NAN } else { number(row, name, cell)? };
            targets.push(own.as_ref().map_or(Ok(target), |own| own.share(target, row, name))?);
        }
        beside.extend(own);
        for ((cells, i), category) in cells.iter_mut().zip(&chosen).zip(&category) {
            cells.push(row, &source.header[*i], cell_of(&record, *i), *category)?;
        }
    }
    if row == 0 {
        return Err(Error::NoRows { source_name: name.into(), remedy: "there is a header but nothing below it".into() });
    }

    let mut codings = Vec::with_capacity(chosen.len());
    let mut places = Vec::with_capacity(chosen.len());
    for ((cells, i), category) in cells.iter_mut().zip(&chosen).zip(&category) {
        let (coding, place) = cells.coding(&source.header[*i], *category)?;
        match cells {
            Cells::Numbers(values) => values.resize(row as usize, f64::NAN),
            Cells::Texts { codes, .. } => codes.resize(row as usize, MISSING_CODE),
            Cells::Undecided => *cells = Cells::Numbers(vec![f64::NAN; row as usize]),
        }
        codings.push(coding);
        places.push(place);
    }
    let features: Vec<String> = codings.iter().flat_map(Coding::features).collect();
    let width = target_names.len();
    let mut rows = Rows::new(if wide { "target" } else { &columns.target }, &features);
    let mut x = Vec::with_capacity(features.len());
    'rows: for i in 0..row as usize {
        let own_targets = &targets[i * width..(i + 1) * width];
        missing_targets += own_targets.iter().filter(|target| target.is_nan()).count() as u64;
        if own_targets.iter().all(|target| target.is_nan()) {
            continue;
        }
        x.clear();
        let own = beside.get(i).cloned().unwrap_or_default();
        let mut gap = own.missing;
        for ((cells, coding), place) in cells.iter().zip(&codings).zip(&places) {
            match cells {
                Cells::Numbers(values) => {
                    if values[i].is_nan() {
                        gap.get_or_insert_with(|| coding.column.clone());
                    }
                    x.push(values[i]);
                }
                Cells::Texts { codes, .. } => {
                    let levels = coding.levels.as_ref().map_or(0, Vec::len);
                    if codes[i] == MISSING_CODE {
                        gap.get_or_insert_with(|| coding.column.clone());
                        x.extend(std::iter::repeat_n(f64::NAN, levels - 1));
                    } else {
                        let level = place[codes[i] as usize];
                        x.extend((1..levels).map(|k| f64::from(u8::from(k == level))));
                    }
                }
                Cells::Undecided => unreachable!("every column was decided above"),
            }
        }
        if let (Some(None), Some(name)) = (units.get(i), &columns.row) {
            gap.get_or_insert_with(|| name.clone());
        }
        if gap.is_some() || tasks.get(i) == Some(&u32::MAX) {
            if columns.drop_missing {
                dropped += 1;
                continue 'rows;
            }
            return Err(Error::MissingValue { row: i as u64 + 1, column: gap.unwrap_or_default() });
        }
        let line;
        let unit = match (units.get(i), wide) {
            (Some(name), _) => name.as_deref(),
            (None, true) => {
                line = (i + 1).to_string();
                Some(line.as_str())
            }
            (None, false) => None,
        };
        for (k, target) in own_targets.iter().enumerate().filter(|(_, target)| !target.is_nan()) {
            let task = tasks.get(i).map_or(k, |task| *task as usize);
            rows.push_row(unit, &order[task], &x, *target, (own.weight, own.offset))?;
        }
    }
    if rows.is_empty() {
        let remedy = format!("{missing_targets} rows have no target and {dropped} were dropped; check the columns");
        return Err(Error::NoRows { source_name: name.into(), remedy });
    }
    if let Some(families) = &families {
        families.group(&mut rows, &order)?;
    }
    let present: std::collections::HashSet<&String> = rows.names().iter().collect();
    let empty_tasks = order.iter().filter(|name| !present.contains(name)).cloned().collect();
    let design = design(columns, &codings, &features)?;
    let schema = Schema {
        task: columns.task.clone(),
        target: columns.target.clone(),
        targets: columns.targets.clone(),
        weights: columns.weights.clone(),
        trials: columns.trials.clone(),
        offset: columns.offset.clone(),
        exposure: columns.exposure.clone(),
        family: columns.family.clone(),
        codings,
    };
    Ok(Table { rows, design, schema, missing_targets, dropped, empty_tasks })
}

/// The design that `columns` asks for over the coded features.
fn design(columns: &Columns, codings: &[Coding], features: &[String]) -> Result<Design> {
    let source_names: Vec<&String> = codings.iter().map(|coding| &coding.column).collect();
    let expand = |names: &[String], part: &str| -> Result<Vec<String>> {
        let mut expanded = Vec::new();
        for name in names {
            match codings.iter().find(|coding| coding.column == *name) {
                Some(coding) => expanded.extend(coding.features()),
                None if features.contains(name) => expanded.push(name.clone()),
                None => {
                    let features = source_names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
                    return Err(Error::Arguments(format!(
                        "'{name}' {part} but is not among the features ({features}); add it to --features"
                    )));
                }
            }
        }
        Ok(expanded)
    };
    let varying = match &columns.varying {
        Varying::All => features.to_vec(),
        Varying::None => Vec::new(),
        Varying::Only(names) => expand(names, "varies")?,
    };
    let without_mean = expand(&columns.without_mean, "varies")?;
    let design = Design::varying(features)
        .with_varying(|name| if name == INTERCEPT { !columns.common_intercept } else { varying.iter().any(|v| v == name) })
        .with_mean(|name| !without_mean.iter().any(|v| v == name));
    let design = if columns.no_intercept { design.without_intercept() } else { design };
    let design = if columns.own_units { design.with_own_units() } else { design };
    let Some(names) = &columns.graph_features else { return Ok(design) };
    let (intercept, others): (Vec<String>, Vec<String>) = names.iter().cloned().partition(|name| name == INTERCEPT);
    let chosen = [intercept, expand(&others, "is a graph feature")?].concat();
    let varying: Vec<&String> = design.varying_features().into_iter().map(|f| &design.features()[f]).collect();
    if let Some(odd) = chosen.iter().find(|name| !varying.contains(name)) {
        return Err(Error::Arguments(format!(
            "'{odd}' is a graph feature but does not vary between tasks; let it vary, or leave it out of --graph-features"
        )));
    }
    Ok(design.with_graph_features(|name| chosen.iter().any(|own| own == name)))
}
