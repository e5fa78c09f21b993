//! Descriptors of tasks from a table: a row a task, numbers as they are and texts as levels.

use super::{Source, cell_of, cells};
use crate::error::{Error, Result};
use crate::tasks::{DescriptorValues, Descriptors};
use std::collections::HashSet;
use std::io::Read;

/// Reads a table of descriptors: the column `task` (or, if there is none of that name, the first) names the tasks, all others are descriptors. A column whose
/// first cell is a number is one of numbers.
///
/// ```
/// let table = "site,depth,soil\nnorth,1.5,clay\nsouth,2.0,sand\n";
/// let descriptors = cognate::csv::read_descriptors(table.as_bytes(), "sites.csv", "site")?;
/// assert_eq!((descriptors.tasks().len(), descriptors.names()), (2, &["depth".to_string(), "soil".to_string()][..]));
/// # Ok::<(), cognate::Error>(())
/// ```
///
/// # Errors
/// [`Error::Table`] for a missing cell, one that is no number among numbers, texts that are all different, and without a row; what
/// [`Descriptors::new`] refuses.
pub fn read_descriptors<R: Read>(input: R, name: &str, task: &str) -> Result<Descriptors> {
    let mut source = Source::new(input, name)?;
    let refused = |problem: String| Error::Table { source_name: name.into(), problem };
    let of_task = source.header.iter().position(|own| own == task).unwrap_or(0);
    let columns: Vec<usize> = (0..source.header.len()).filter(|column| *column != of_task).collect();
    let mut tasks = Vec::new();
    let mut cells: Vec<Vec<String>> = vec![Vec::new(); columns.len()];
    let mut record = csv::StringRecord::new();
    while source.next(&mut record)? {
        let row = tasks.len() + 1;
        for column in 0..source.header.len() {
            if cells::is_missing(cell_of(&record, column)) {
                let problem = format!("row {row}, column '{}': the value is missing; fill it in", source.header[column]);
                return Err(refused(problem));
            }
        }
        tasks.push(cell_of(&record, of_task).to_string());
        cells.iter_mut().zip(&columns).for_each(|(own, column)| own.push(cell_of(&record, *column).to_string()));
    }
    if tasks.is_empty() {
        return Err(refused("there is a header but nothing below it; give a row for every task".into()));
    }
    let values = |(texts, column): (Vec<String>, usize)| {
        let header = &source.header[column];
        if texts[0].parse::<f64>().is_ok() {
            let number =
                |(i, text): (usize, &String)| cells::number(i as u64 + 1, header, text).map_err(|error| refused(error.to_string()));
            let numbers = texts.iter().enumerate().map(number).collect::<Result<_>>()?;
            return Ok((header.clone(), DescriptorValues::Numbers(numbers)));
        }
        let levels = texts.iter().collect::<HashSet<_>>().len();
        if cells::are_too_many(levels, texts.len() as u64) {
            let problem =
                format!("column '{header}' holds {levels} different texts in {} rows, too many to be levels; leave it out", texts.len());
            return Err(refused(problem));
        }
        Ok((header.clone(), DescriptorValues::Levels(texts)))
    };
    let descriptors = cells.into_iter().zip(columns.iter().copied()).map(values).collect::<Result<Vec<_>>>()?;
    Descriptors::new(tasks, descriptors).map_err(|error| refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_levels_are_read_and_the_rest_is_named() {
        let read = |text: &str| read_descriptors(text.as_bytes(), "tasks.csv", "task");
        let found = read("age,task,kind\n3,a,x\n4,b,y\n").unwrap();
        assert_eq!(found.tasks(), ["a", "b"]);
        assert_eq!(found.values()[0], DescriptorValues::Numbers(vec![3.0, 4.0]));
        assert_eq!(found.values()[1], DescriptorValues::Levels(vec!["x".into(), "y".into()]));
        let first = read_descriptors("name,age\na,3\n".as_bytes(), "x", "task").unwrap();
        assert_eq!((first.tasks()[0].as_str(), first.names()[0].as_str()), ("a", "age"));
        for (bad, needle) in [
            ("task,age\na,3\nb,\n", "row 2, column 'age'"),
            ("task,age\na,3\nb,old\n", "'old' is not a number"),
            ("task,age\na,3\na,4\n", "'a' has two rows"),
            ("task\na\n", "no descriptor"),
            ("task,age\n", "nothing below it"),
            ("task,age\na,1e200\n", "too large"),
        ] {
            let message = read(bad).unwrap_err().to_string();
            assert!(message.contains(needle) && message.contains("tasks.csv"), "{message}");
        }
    }
}
