//! What is known of how tasks are related, from a table: a list of pairs, or a square matrix with names.

use super::{Source, cells};
use crate::error::{Error, Result};
use std::collections::HashSet;
use std::io::Read;

/// Reads pairs (task, task, value): a table with the columns `source`, `target` and, unless every value is 1, `weight` (or
/// `covariance`, or `partial_correlation`, as task graphs are written); or a square matrix, its first column and its header naming the tasks, in any order.
///
/// ```
/// let pairs = cognate::csv::read_relation("source,target\na,b\n".as_bytes(), "pairs.csv")?;
/// assert_eq!(pairs, [("a".to_string(), "b".to_string(), 1.0)]);
/// # Ok::<(), cognate::Error>(())
/// ```
///
/// # Errors
/// [`Error::Table`] for a cell that is no number, where neither form is met, and where there is no pair.
pub fn read_relation<R: Read>(input: R, name: &str) -> Result<Vec<(String, String, f64)>> {
    let mut source = Source::new(input, name)?;
    let place = |column: &str| source.header.iter().position(|own| own == column);
    let (ends, header) = (place("source").zip(place("target")), source.header.clone());
    let values = ["weight", "covariance", "partial_correlation"].iter().find_map(|column| place(column));
    let refused = |problem: String| Error::Table { source_name: name.into(), problem };
    let neither = || {
        refused(format!(
            "its columns are {}; give a list of pairs with the columns source and target (and weight), or a square matrix with names",
            header.join(", ")
        ))
    };
    let number =
        |row: u64, column: usize, cell: &str| cells::number(row, &header[column], cell.trim()).map_err(|error| refused(error.to_string()));
    let mut pairs = Vec::new();
    for (i, record) in source.reader.records().enumerate() {
        let row = i as u64 + 1;
        let record = record.map_err(|error| super::broken(name, &error))?;
        match ends {
            Some((s, t)) => {
                let value = values.map_or(Ok(1.0), |column| number(row, column, &record[column]))?;
                pairs.push((record[s].to_string(), record[t].to_string(), value));
            }
            None if !header[1..].iter().any(|name| *name == record[0]) => return Err(neither()),
            None => {
                for column in 1..header.len() {
                    let value = number(row, column, &record[column])?;
                    if value != 0.0 {
                        pairs.push((record[0].to_string(), header[column].clone(), value));
                    }
                }
            }
        }
    }
    let rows = source.reader.position().record().saturating_sub(1) as usize;
    if ends.is_none() && rows != header.len() - 1 {
        return Err(neither());
    }
    if ends.is_none() {
        let listed: HashSet<(&str, &str)> = pairs.iter().map(|(s, t, _)| (s.as_str(), t.as_str())).collect();
        if let Some((s, t, value)) = pairs.iter().find(|(s, t, _)| !listed.contains(&(t.as_str(), s.as_str()))) {
            return Err(refused(format!(
                "row '{s}' has {value} in column '{t}', and row '{t}' has 0 in column '{s}'; it must be symmetric"
            )));
        }
    }
    if pairs.is_empty() {
        return Err(refused("there is no pair in it; list at least one".into()));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_others_refused() {
        let list = read_relation("target,weight,source\nb,0.5,a\n".as_bytes(), "x").unwrap();
        assert_eq!(list, [("a".to_string(), "b".to_string(), 0.5)]);
        let matrix = read_relation(",a,b\nb,-0.5,2\na,1,-0.5\n".as_bytes(), "x").unwrap();
        assert_eq!(matrix.len(), 4);
        assert_eq!(matrix[0], ("b".to_string(), "a".to_string(), -0.5));
        let signed = read_relation("source,target,partial_correlation,low\na,b,-0.5,\n".as_bytes(), "x").unwrap();
        assert_eq!(signed[0].2, -0.5);
        for (bad, needle) in
            [("source,target,weight\na,b,x\n", "pairs.csv"), ("source,target\n", "no pair"), ("from,to,w\na,b,1\n", "from, to, w")]
        {
            assert!(read_relation(bad.as_bytes(), "pairs.csv").unwrap_err().to_string().contains(needle), "{bad}");
        }
        for bad in ["source,target,weight\na,b,x\n", ",a,b\na,1,0\n", "source,target\n", "a,b\n1,inf\n"] {
            assert!(read_relation(bad.as_bytes(), "x").is_err(), "{bad}");
        }
    }
}
