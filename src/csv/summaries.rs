//! From a table of estimates to tasks: which columns are estimates, where their covariances stand, and what is refused.

use super::cells::{Coding, is_missing, number};
use super::{Columns, Schema, Source, Varying, cell_of};
use crate::error::{Error, Result};
use crate::tasks::{Design, Summaries, Tasks};
use nalgebra::DMatrix;
use std::collections::{HashMap, HashSet};
use std::io::Read;

/// A table of estimates read: its tasks, and what was left out.
#[derive(Clone, Debug)]
pub struct SummaryTable {
    /// The tasks, with their design.
    pub tasks: Tasks,
    /// How to read a table to predict: the task column and a column a feature, no target.
    pub schema: Schema,
    /// Columns that say nothing of the chosen features.
    pub unused: Vec<String>,
    /// Tasks without any estimate, which stay among the tasks.
    pub empty_tasks: Vec<String>,
}

/// Where the variance of an estimate stands.
enum Spread {
    Variance(usize),
    Error(usize),
}

/// The columns of a table of estimates.
struct Layout<'a> {
    header: &'a [String],
    /// Of the estimates.
    chosen: Vec<usize>,
    spreads: Vec<Spread>,
    /// Columns of the covariance of features a > b, in either order of their names.
    pairs: HashMap<(usize, usize), Vec<usize>>,
    /// Whether the table gives covariances, so that all must be there.
    covariances: bool,
}

/// Reads a table of one line a task: its name (in `columns.task`, or else in the first column), its estimates in columns named by
/// feature, and the covariance of these in columns `cov:a:b` (for each pair in either order, and `cov:a:a` for the variances) or standard
/// errors in columns `se:a` alone, of independent estimates. `columns.features` chooses some, or else all with a variance are taken;
/// `columns.varying` and `columns.graph_features` are as for rows, and nothing else in `columns` is looked at. An empty cell is an estimate
/// that the task has not. O(T d^3).
///
/// ```
/// use cognate::csv::{Columns, read_summaries};
/// let text = "trial,dose,age,se:dose,se:age,n\na,0.5,1.5,0.2,0.1,40\nb,,1.0,,0.1,30\n";
/// let table = read_summaries(text.as_bytes(), "trials.csv", &Columns::default())?;
/// assert_eq!((table.tasks.len(), table.tasks.rows()), (2, 3));
/// assert_eq!(table.unused, ["n"]);
/// # Ok::<(), cognate::Error>(())
/// ```
///
/// # Errors
/// A missing column, a cell that is no number, an estimate without its variance or covariances, a variance that is not positive, a
/// covariance that is not positive definite, a task that is there twice; each names task and column.
pub fn read_summaries(input: impl Read, name: &str, columns: &Columns) -> Result<SummaryTable> {
    let mut source = Source::new(input, name)?;
    let header = source.header.clone();
    let task = if columns.task.is_empty() { 0 } else { source.column(&columns.task)? };
    let refused = |problem: String| Error::Table { source_name: name.into(), problem };
    if header[task].is_empty() {
        return Err(refused("its first column, of the tasks, has no name; name it, or choose another with --task".into()));
    }
    let layout = Layout::of(&header, name, task, columns.features.as_deref())?;
    let features: Vec<String> = layout.chosen.iter().map(|i| header[*i].clone()).collect();
    let design = design(columns, &features)?;
    let mut summaries = Summaries::new(&features);
    let (mut seen, mut empty_tasks) = (HashSet::new(), Vec::new());
    let mut record = csv::StringRecord::new();
    let mut row = 0;
    while source.next(&mut record)? {
        row += 1;
        let own = cell_of(&record, task).to_string();
        if is_missing(&own) {
            return Err(refused(format!("row {row} has no task in column '{}'; fill it in, or leave the row out", header[task])));
        }
        if !seen.insert(own.clone()) {
            return Err(refused(format!("row {row}: task '{own}' is there twice in column '{}'; give one line a task", header[task])));
        }
        let (estimate, covariance) =
            layout.read(&record, row).map_err(|(column, problem)| refused(format!("task '{own}', column '{column}': {problem}")))?;
        summaries.push(&own, &estimate, &covariance).map_err(|error| refused(error.to_string()))?;
        if estimate.iter().all(Option::is_none) {
            empty_tasks.push(own);
        }
    }
    if row == 0 {
        return Err(Error::NoRows { source_name: name.into(), remedy: "there is a header but nothing below it".into() });
    }
    let tasks = summaries.tasks().with_design(design);
    let codings = features.into_iter().map(|column| Coding { column, levels: None }).collect();
    let schema = Schema { task: header[task].clone(), codings, ..Schema::default() };
    Ok(SummaryTable { unused: layout.unused(task), tasks, schema, empty_tasks })
}

impl<'a> Layout<'a> {
    fn of(header: &'a [String], table: &str, task: usize, features: Option<&[String]>) -> Result<Self> {
        let place = |name: String| header.iter().position(|column| *column == name);
        let variance = |name: &str| (place(format!("cov:{name}:{name}")), place(format!("se:{name}")));
        let chosen: Vec<usize> = match features {
            Some(names) => {
                names.iter().map(|name| place(name.clone()).ok_or_else(|| Error::missing_column(name, header))).collect::<Result<_>>()?
            }
            None => (0..header.len()).filter(|i| *i != task && variance(&header[*i]) != (None, None)).collect(),
        };
        if chosen.is_empty() {
            let problem =
                "it has no estimates, columns such as 'x' with 'cov:x:x' or 'se:x' beside them; add the variances or standard errors";
            return Err(Error::Table { source_name: table.into(), problem: problem.into() });
        }
        let mut spreads = Vec::with_capacity(chosen.len());
        for (k, i) in chosen.iter().enumerate() {
            let name = &header[*i];
            if *i == task || chosen[..k].contains(i) {
                return Err(Error::Arguments(format!("column '{name}' cannot be a feature too; leave it out of --features")));
            }
            spreads.push(match variance(name) {
                (Some(column), None) => Spread::Variance(column),
                (None, Some(column)) => Spread::Error(column),
                (Some(_), Some(_)) => {
                    return Err(Error::Arguments(format!(
                        "both 'cov:{name}:{name}' and 'se:{name}' tell the spread of '{name}'; leave one out"
                    )));
                }
                (None, None) => {
                    return Err(Error::Arguments(format!(
                        "column '{name}' has neither 'cov:{name}:{name}' nor 'se:{name}' beside it; add one, or leave it out of --features"
                    )));
                }
            });
        }
        let mut pairs = HashMap::new();
        let mut claimed = HashSet::new();
        for a in 0..chosen.len() {
            for b in 0..a {
                let (own, other) = (&header[chosen[a]], &header[chosen[b]]);
                let found: Vec<usize> =
                    [format!("cov:{own}:{other}"), format!("cov:{other}:{own}")].into_iter().filter_map(place).collect();
                if let Some(twice) = found.iter().find(|column| !claimed.insert(**column)) {
                    let problem = format!("column '{}' may mean two pairs of features; rename one of them", header[*twice]);
                    return Err(Error::Table { source_name: table.into(), problem });
                }
                if !found.is_empty() {
                    pairs.insert((a, b), found);
                }
            }
        }
        let covariances = !pairs.is_empty() || spreads.iter().any(|spread| matches!(spread, Spread::Variance(_)));
        Ok(Layout { header, chosen, spreads, pairs, covariances })
    }

    /// A task's estimates and their covariance; or the column that is refused, and why.
    #[allow(clippy::type_complexity)]
    fn read(&self, record: &csv::StringRecord, row: u64) -> std::result::Result<(Vec<Option<f64>>, DMatrix<f64>), (String, String)> {
        let refused = |column: usize, problem: String| (self.header[column].clone(), problem);
        let value = |column: usize| {
            let cell = cell_of(record, column);
            if is_missing(cell) {
                return Ok(None);
            }
            let bad =
                |_| refused(column, format!("'{cell}' is not a number of usual size; correct it, or leave the cell of an estimate empty"));
            number(row, &self.header[column], cell).map(Some).map_err(bad)
        };
        let needed = |column: usize, of: String| {
            value(column)?.ok_or_else(|| refused(column, format!("{of} is missing; fill it in, or leave the estimate empty")))
        };
        let d = self.chosen.len();
        let estimate: Vec<Option<f64>> = self.chosen.iter().map(|i| value(*i)).collect::<std::result::Result<_, _>>()?;
        let mut covariance = DMatrix::zeros(d, d);
        for a in (0..d).filter(|a| estimate[*a].is_some()) {
            let name = &self.header[self.chosen[a]];
            let (column, of) = match self.spreads[a] {
                Spread::Variance(column) => (column, "variance"),
                Spread::Error(column) => (column, "standard error"),
            };
            let spread = needed(column, format!("the {of} of the estimate of '{name}'"))?;
            if spread <= 0.0 {
                return Err(refused(
                    column,
                    format!("the {of} {spread:?} is not positive; correct it, or leave the estimate of '{name}' empty"),
                ));
            }
            covariance[(a, a)] = if of == "variance" { spread } else { spread * spread };
            for b in (0..a).filter(|b| self.covariances && estimate[*b].is_some()) {
                let other = &self.header[self.chosen[b]];
                let Some(columns) = self.pairs.get(&(a, b)) else {
                    let problem = format!(
                        "it is not in the table, and '{name}' and '{other}' are both estimated; add it (0 where they are independent), or give \
                         standard errors alone"
                    );
                    return Err((format!("cov:{name}:{other}"), problem));
                };
                let first = needed(columns[0], format!("the covariance of the estimates of '{name}' and '{other}'"))?;
                let last = columns.get(1).map_or(Ok(first), |column| needed(*column, "the same covariance again".into()))?;
                (covariance[(a, b)], covariance[(b, a)]) = (first, last);
            }
        }
        Ok((estimate, covariance))
    }

    /// Names of the columns that are not looked at.
    fn unused(&self, task: usize) -> Vec<String> {
        let spreads = self.spreads.iter().map(|spread| match spread {
            Spread::Variance(column) | Spread::Error(column) => *column,
        });
        let used: HashSet<usize> =
            spreads.chain(self.chosen.iter().copied()).chain(self.pairs.values().flatten().copied()).chain([task]).collect();
        (0..self.header.len()).filter(|i| !used.contains(i)).map(|i| self.header[i].clone()).collect()
    }
}

/// The design that `columns` asks for over the features.
fn design(columns: &Columns, features: &[String]) -> Result<Design> {
    let check = |names: &[String], part: &str| match names.iter().find(|name| !features.contains(name)) {
        Some(odd) => {
            Err(Error::Arguments(format!("'{odd}' {part} but is not among the estimates ({}); add it to --features", features.join(", "))))
        }
        None => Ok(()),
    };
    let design = Design::varying(features).without_intercept();
    let design = match &columns.varying {
        Varying::All => design,
        Varying::None => design.with_varying(|_| false),
        Varying::Only(names) => {
            check(names, "varies")?;
            design.with_varying(|name| names.iter().any(|own| own == name))
        }
    };
    let Some(names) = &columns.graph_features else { return Ok(design) };
    check(names, "is a graph feature")?;
    let varying: Vec<&String> = design.varying_features().into_iter().map(|f| &design.features()[f]).collect();
    match names.iter().find(|name| !varying.contains(name)) {
        Some(odd) => Err(Error::Arguments(format!(
            "'{odd}' is a graph feature but does not vary between tasks; let it vary, or leave it out of --graph-features"
        ))),
        None => Ok(design.with_graph_features(|name| names.iter().any(|own| own == name))),
    }
}
