//! Where the text of a table comes from: a file, plain or packed, standard input, or a Parquet file.

use super::{Columns, Schema};
use crate::error::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Opens a table: a path, a path ending in `.gz`, `-` for standard input (gzip is recognised by its first bytes), or a Parquet file where the
/// feature `parquet` is built in.
///
/// # Errors
/// As [`open_columns`].
pub fn open(path: &Path) -> Result<Box<dyn Read + Send>> {
    open_columns(path, None)
}

/// As [`open`], of a table of which only these columns are needed ([`Columns::needed`], [`Schema::needed`]): of a Parquet file the others are not
/// read, and their cells are empty.
///
/// A Parquet file becomes the CSV text of its table, row group by row group: nulls are empty cells, numbers have all their digits.
///
/// ```
/// use cognate::csv::open_columns;
/// let read = open_columns(std::path::Path::new("data/school.csv.gz"), None)?;
/// assert!(std::io::read_to_string(read).unwrap().starts_with("school,"));
/// # Ok::<(), cognate::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`] where the file cannot be opened; [`Error::Table`] for a Parquet file that is not whole, that has a needed column of dates, lists
/// or the like, that comes through standard input, or that this program was built without.
pub fn open_columns(path: &Path, only: Option<&[&str]>) -> Result<Box<dyn Read + Send>> {
    let refused = |source| Error::io(path, source);
    let is_file = path != Path::new("-");
    let mut reader: Box<dyn BufRead + Send> = if !is_file {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        if path.is_dir() {
            return Err(refused(std::io::Error::other("this is a folder; give a CSV file")));
        }
        Box::new(BufReader::with_capacity(1 << 18, File::open(path).map_err(refused)?))
    };
    let first = reader.fill_buf().map_err(refused)?;
    let packed = first.starts_with(&[0x1f, 0x8b]);
    // A column of a CSV file may have that name.
    if first.starts_with(b"PAR1") && !first.get(4).is_some_and(|byte| matches!(byte, b',' | b'\n' | b'\r')) {
        let name = path.display().to_string();
        if !is_file {
            let problem = "a Parquet file cannot be read from standard input, for it is read from its end; give its name".to_string();
            return Err(Error::Table { source_name: "standard input".into(), problem });
        }
        return open_parquet(File::open(path).map_err(refused)?, name, only);
    }
    Ok(if packed { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) })
}

#[cfg(feature = "parquet")]
fn open_parquet(file: File, name: String, only: Option<&[&str]>) -> Result<Box<dyn Read + Send>> {
    Ok(Box::new(super::parquet::ParquetText::new(file, &name, only)?))
}

#[cfg(not(feature = "parquet"))]
fn open_parquet(_: File, name: String, _: Option<&[&str]>) -> Result<Box<dyn Read + Send>> {
    let problem = "this is a Parquet file, which this program was built without; build it with `cargo build --release --features parquet`, or \
                   save the table as CSV";
    Err(Error::Table { source_name: name, problem: problem.into() })
}

impl Columns {
    /// Names of the columns that are looked at; none where all are, because all others are features.
    ///
    /// ```
    /// use cognate::csv::Columns;
    /// let mut columns = Columns { task: "site".into(), target: "y".into(), ..Columns::default() };
    /// assert!(columns.needed().is_none());
    /// columns.features = Some(vec!["x".into()]);
    /// assert_eq!(columns.needed().unwrap(), ["site", "y", "x"]);
    /// ```
    pub fn needed(&self) -> Option<Vec<&str>> {
        let sides = [&self.row, &self.weights, &self.trials, &self.offset, &self.exposure, &self.family];
        let names = [&self.task, &self.target].into_iter().chain(self.features.as_ref()?).chain(&self.targets).chain(&self.factors);
        Some(names.chain(sides.into_iter().flatten()).map(String::as_str).filter(|name| !name.is_empty()).collect())
    }
}

impl Schema {
    /// Names of the columns that are looked at where rows are predicted.
    ///
    /// ```
    /// use cognate::csv::Schema;
    /// let schema = Schema { task: "site".into(), target: "y".into(), weights: Some("w".into()), ..Schema::default() };
    /// assert_eq!(schema.needed(), ["site", "y", "w"]);
    /// ```
    pub fn needed(&self) -> Vec<&str> {
        let sides = [&self.weights, &self.trials, &self.offset, &self.exposure, &self.family];
        let names = [&self.task, &self.target].into_iter().chain(&self.targets).chain(self.codings.iter().map(|coding| &coding.column));
        names.chain(sides.into_iter().flatten()).map(String::as_str).filter(|name| !name.is_empty()).collect()
    }
}
