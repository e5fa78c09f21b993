//! The cells of one feature column while it is read: numbers, or texts that become treatment contrasts.

use crate::error::{Error, Result};
use crate::tasks::LARGEST;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// How a feature column becomes numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coding {
    /// Column name.
    pub column: String,
    /// Sorted levels of a text column, the first being the reference (treatment contrasts); none for a numeric column.
    pub levels: Option<Vec<String>>,
}

impl Coding {
    pub(super) fn features(&self) -> Vec<String> {
        match &self.levels {
            None => vec![self.column.clone()],
            Some(levels) => levels[1..].iter().map(|level| format!("{}[{level}]", self.column)).collect(),
        }
    }
}

/// One feature column while it is read.
pub(super) enum Cells {
    Undecided,
    Numbers(Vec<f64>),
    Texts { codes: Vec<u32>, names: Vec<String>, index: HashMap<String, u32>, numbers: u64, first_number: Option<(u64, String)> },
}

/// Whether so many different texts in so many rows are no categories.
pub(super) fn are_too_many(texts: usize, rows: u64) -> bool {
    texts > 50 && texts as u64 * 2 > rows
}

pub(super) const MISSING_CODE: u32 = u32::MAX;

pub(super) fn is_missing(cell: &str) -> bool {
    matches!(cell, "" | "." | "NA" | "N/A" | "n/a" | "#N/A" | "NaN" | "nan" | "NAN" | "null" | "NULL" | "None")
}

pub(super) fn number(row: u64, column: &str, cell: &str) -> Result<f64> {
    match cell.parse::<f64>() {
        Ok(value) if value.abs() <= LARGEST => Ok(value),
        Ok(value) if value.is_finite() => Err(Error::TooLargeValue { row, column: column.into(), value }),
        Ok(_) => Err(Error::NotFinite { row, column: column.into(), value: cell.into() }),
        Err(_) => Err(Error::NotANumber {
            row,
            column: column.into(),
            value: cell.into(),
            remedy: "correct it, or choose a column of numbers".into(),
        }),
    }
}

/// Of a feature column that began with numbers.
fn or_factors(error: Error) -> Error {
    match error {
        Error::NotANumber { row, column, value, .. } => {
            Error::NotANumber { row, column, value, remedy: "correct it, or name the column in --factors if it holds categories".into() }
        }
        other => other,
    }
}

impl Cells {
    pub(super) fn push(&mut self, row: u64, column: &str, cell: &str, category: bool) -> Result<()> {
        if let Cells::Undecided = self {
            // Missing cells before the first value are filled in below.
            if !is_missing(cell) {
                *self = if !category && cell.parse::<f64>().is_ok() {
                    Cells::Numbers(Vec::new())
                } else {
                    Cells::Texts { codes: Vec::new(), names: Vec::new(), index: HashMap::new(), numbers: 0, first_number: None }
                };
            }
        }
        match self {
            Cells::Undecided => {}
            Cells::Numbers(values) => {
                values.resize(row as usize - 1, f64::NAN);
                values.push(if is_missing(cell) { f64::NAN } else { number(row, column, cell).map_err(or_factors)? });
            }
            Cells::Texts { codes, names, index, numbers, first_number } => {
                codes.resize(row as usize - 1, MISSING_CODE);
                if is_missing(cell) {
                    codes.push(MISSING_CODE);
                } else {
                    if cell.parse::<f64>().is_ok() {
                        *numbers += 1;
                    } else if first_number.is_none() {
                        *first_number = Some((row, cell.into()));
                    }
                    let code = match index.get(cell) {
                        Some(code) => *code,
                        None => {
                            names.push(cell.into());
                            index.insert(cell.into(), names.len() as u32 - 1);
                            names.len() as u32 - 1
                        }
                    };
                    codes.push(code);
                }
            }
        }
        Ok(())
    }

    /// The coding of the column, and each level's place in it.
    pub(super) fn coding(&self, column: &str, category: bool) -> Result<(Coding, Vec<usize>)> {
        let Cells::Texts { codes, names, numbers, first_number, .. } = self else {
            return Ok((Coding { column: column.into(), levels: None }, Vec::new()));
        };
        let filled = codes.iter().filter(|code| **code != MISSING_CODE).count() as u64;
        if !category
            && *numbers * 2 > filled
            && let Some((row, value)) = first_number
        {
            let remedy = "correct it, or name the column in --factors if it holds categories".into();
            return Err(Error::NotANumber { row: *row, column: column.into(), value: value.clone(), remedy });
        }
        if are_too_many(names.len(), filled) {
            return Err(Error::Arguments(format!(
                "column '{column}' holds {} different texts in {filled} rows, too many to be categories; leave it out of --features",
                names.len()
            )));
        }
        let mut levels = names.clone();
        levels.sort();
        let places = names.iter().map(|name| levels.binary_search(name).unwrap_or(0)).collect();
        if levels.len() < 2 {
            return Err(Error::Arguments(format!(
                "column '{column}' has the same text '{}' in every row; leave it out of --features",
                levels.first().map_or("", String::as_str)
            )));
        }
        Ok((Coding { column: column.into(), levels: Some(levels) }, places))
    }
}
