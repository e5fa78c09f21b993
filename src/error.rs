//! Why a call was refused: one enum, every message naming the place and the remedy.

use std::path::{Path, PathBuf};

/// The result of every fallible call in cognate.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong, each message with the task, column, row or matrix it is about and what to do.
///
/// ```
/// let error = cognate::Error::missing_column("scool", ["school", "score"]);
/// assert_eq!(error.to_string(), "column 'scool' is not in the table (did you mean 'school'?); its columns are: school, score");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A column was asked for that the table does not have.
    #[error("column '{column}' is not in the table{hint}; its columns are: {available}")]
    MissingColumn {
        /// The name that was asked for.
        column: String,
        /// ` (did you mean ...?)`, or nothing.
        hint: String,
        /// The columns there are.
        available: String,
    },
    /// A cell of a numeric column is not a number.
    #[error("row {row}, column '{column}': '{value}' is not a number; {remedy}")]
    NotANumber {
        /// Data row, from 1.
        row: u64,
        /// Column name.
        column: String,
        /// What stood there.
        value: String,
        /// What to do.
        remedy: String,
    },
    /// A cell is infinite.
    #[error("row {row}, column '{column}': '{value}' is not finite; correct it or leave the row out")]
    NotFinite {
        /// Data row, from 1.
        row: u64,
        /// Column name.
        column: String,
        /// What stood there.
        value: String,
    },
    /// A feature, task or weight is missing.
    #[error("row {row}, column '{column}': the value is missing; fill it in, or leave the row out (fit does so with --missing drop)")]
    MissingValue {
        /// Data row, from 1.
        row: u64,
        /// Column name.
        column: String,
    },
    /// A cell whose square would not be finite.
    #[error("row {row}, column '{column}': {value:e} is too large to be squared; measure the column in larger units")]
    TooLargeValue {
        /// Data row, from 1.
        row: u64,
        /// Column name.
        column: String,
        /// The value.
        value: f64,
    },
    /// A weight is not positive, or beyond any use.
    #[error("row {row}, column '{column}': weight {value:?} is not a positive number of usual size; leave the row out instead")]
    BadWeight {
        /// Data row, from 1.
        row: u64,
        /// Column name.
        column: String,
        /// The weight.
        value: f64,
    },
    /// A target that its family cannot have.
    #[error("row {row}, column '{column}': {value:?} {problem}")]
    BadTarget {
        /// Row, from 1.
        row: u64,
        /// Target name.
        column: String,
        /// The value.
        value: f64,
        /// Why not, and what to do.
        problem: String,
    },
    /// A feature has one value only.
    #[error(
        "feature '{column}' has the same value ({value:?}) in every row, to double precision, so it cannot be told from the intercept; leave it out of the features"
    )]
    ConstantFeature {
        /// Feature name.
        column: String,
        /// Its only value.
        value: f64,
    },
    /// The target has one value only.
    #[error(
        "target '{column}' has the same value ({value:?}) in every row, to double precision: there is nothing to learn; check the target column"
    )]
    ConstantTarget {
        /// Target name.
        column: String,
        /// Its only value.
        value: f64,
    },
    /// The table has no usable row.
    #[error("{source_name} has no rows to fit; {remedy}")]
    NoRows {
        /// The file, or "the table".
        source_name: String,
        /// What to do.
        remedy: String,
    },
    /// Fewer tasks than the structure needs.
    #[error("the structure '{structure}' needs at least {needed} tasks and the data have {tasks}; {remedy}")]
    TooFewTasks {
        /// Structure name.
        structure: String,
        /// How many there are.
        tasks: usize,
        /// How many it needs.
        needed: usize,
        /// What to do.
        remedy: String,
    },
    /// Fewer rows than the model needs.
    #[error("{rows} rows cannot determine {coefficients} mean coefficients and a noise variance; add rows or leave features out")]
    TooFewRows {
        /// How many rows there are.
        rows: u64,
        /// How many coefficients the mean has.
        coefficients: usize,
    },
    /// A category at prediction that the fit did not see.
    #[error("row {row}, column '{column}': level '{level}' was not in the data of the fit; its levels are: {known}")]
    UnknownLevel {
        /// Data row, from 1.
        row: u64,
        /// Column name.
        column: String,
        /// The unseen level.
        level: String,
        /// The levels of the fit.
        known: String,
    },
    /// A task at prediction about which the structure says nothing.
    #[error(
        "task '{task}' was not in the fit, and the structure '{structure}' has no prior for unseen tasks; fit with --structure exchangeable to predict them"
    )]
    UnknownTask {
        /// Task name.
        task: String,
        /// Structure name.
        structure: String,
    },
    /// A formula that cannot be read.
    #[error("formula '{formula}': {problem}")]
    Formula {
        /// The formula.
        formula: String,
        /// What is wrong and what to write instead.
        problem: String,
    },
    /// Arguments that do not go together.
    #[error("{0}")]
    Arguments(String),
    /// A matrix that must be positive definite is not.
    #[error("{matrix} is not positive definite; {remedy}")]
    NotPositiveDefinite {
        /// Which matrix.
        matrix: String,
        /// What to do.
        remedy: String,
    },
    /// Sizes that do not fit together.
    #[error("{what} has size {found} and should have {expected}; build it from the same tasks and features")]
    Shape {
        /// Which object.
        what: String,
        /// Its size.
        found: usize,
        /// The size it should have.
        expected: usize,
    },
    /// Work that would not fit in memory.
    #[error("{what} needs {needed_mb} MB, more than the {limit_mb} MB this engine allows; {remedy}")]
    TooLarge {
        /// Which work.
        what: String,
        /// Memory it needs.
        needed_mb: u64,
        /// Memory it may have.
        limit_mb: u64,
        /// What to do.
        remedy: String,
    },
    /// A file that is not a model of this version.
    #[error("'{path}' cannot be read as a cognate model: {problem}")]
    ModelFile {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A file that is not a state of sums of this version.
    #[error("'{path}' cannot be read as cognate statistics: {problem}")]
    StatisticsFile {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A table that is not readable CSV, or a graph that is not readable GraphML or DOT.
    #[error("{source_name}: {problem}")]
    Table {
        /// The file.
        source_name: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The operating system refused.
    #[error("'{path}': {source}; check the path and its permissions")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// A [`Error::MissingColumn`] that suggests the nearest of `available`.
    pub fn missing_column<S: AsRef<str>>(column: &str, available: impl IntoIterator<Item = S>) -> Error {
        let names: Vec<String> = available.into_iter().map(|name| name.as_ref().to_string()).collect();
        let hint = suggestion(column, names.iter().map(String::as_str));
        Error::MissingColumn { column: column.to_string(), hint, available: names.join(", ") }
    }

    /// An [`Error::Arguments`] for a task that a fit does not have, which suggests the nearest of `tasks`.
    pub(crate) fn no_such_task(task: &str, tasks: &[String]) -> Error {
        let hint = suggestion(task, tasks.iter().map(String::as_str));
        Error::Arguments(format!(
            "task '{task}' is not in the model{hint}, which has {} tasks; 'cognate tasks MODEL' names them",
            tasks.len()
        ))
    }

    /// An [`Error::Io`] about `path`.
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Error {
        Error::Io { path: path.as_ref().to_path_buf(), source }
    }
}

/// ` (did you mean ...?)` with the name nearest to one that there is not, or nothing.
pub(crate) fn suggestion<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> String {
    let wanted = wanted.to_lowercase();
    let nearest = names
        .map(|name| (strsim::damerau_levenshtein(&name.to_lowercase(), &wanted), name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| *distance <= 2.max(name.len() / 3) && *distance < name.len());
    nearest.map(|(_, name)| format!(" (did you mean '{name}'?)")).unwrap_or_default()
}
