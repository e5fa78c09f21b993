//! The rows of a table to predict, read as the table of the fit was.

use super::cells::{Coding, is_missing, number};
use super::families::Uses;
use super::sides::Sides;
use super::{Schema, Source, cell_of};
use crate::error::{Error, Result};
use crate::tasks::{INTERCEPT, Rows};
use std::io::Read;

/// One row of a table to predict.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Data row, from 1.
    pub row: u64,
    /// Task name.
    pub task: String,
    /// Coded features.
    pub x: Vec<f64>,
    /// The target, where there is one; the share of successes where the table counts them.
    pub target: Option<f64>,
    /// Precision weight, or number of trials: 1 where the table has none.
    pub weight: f64,
    /// What the linear predictor has beside x' w.
    pub offset: f64,
    /// Whether the table counts successes among `weight` trials, of which the target is the share.
    pub counts: bool,
    /// The family that the table names, where it does.
    pub family: Option<String>,
}

/// Reads the rows of a table by a fitted model's schema; the columns of target, weights and trials may be absent, those of an offset or an
/// exposure not, and one named `(Intercept)` is 1 where it is absent. A row of a wide table is a query of every target.
///
/// # Errors
/// A missing column or cell, a cell that is no number, or a level that the fit did not see.
pub fn read_queries(input: impl Read, name: &str, schema: &Schema) -> Result<Vec<Query>> {
    Ok(queries(Source::new(input, name)?, schema, (false, false))?.0)
}

/// As [`read_queries`], without the rows that miss a cell which a prediction needs, and how many these are.
///
/// ```
/// use cognate::csv::{Coding, Schema, read_whole_queries};
/// let schema = Schema { task: "site".into(), target: "y".into(), codings: vec![Coding { column: "x".into(), levels: None }], ..Schema::default() };
/// let (queries, dropped) = read_whole_queries("site,x\na,1.5\nb,\na,2\n".as_bytes(), "new.csv", &schema)?;
/// assert_eq!((queries.len(), queries[1].row, dropped), (2, 3, 1));
/// # Ok::<(), cognate::Error>(())
/// ```
///
/// # Errors
/// As [`read_queries`], but for missing cells.
pub fn read_whole_queries(input: impl Read, name: &str, schema: &Schema) -> Result<(Vec<Query>, u64)> {
    queries(Source::new(input, name)?, schema, (false, true))
}

/// Reads more rows of the tasks of a fitted model, or of new ones, by its schema, which must have the columns that the table of the fit had
/// (not a wide one). A task all of whose targets are empty is there without a row; where the target is empty nothing else of the row but
/// the task and the family is looked at.
///
/// ```
/// use cognate::csv::{Coding, Schema, read_more};
/// let schema = Schema { task: "site".into(), target: "y".into(), codings: vec![Coding { column: "x".into(), levels: None }], ..Schema::default() };
/// let rows = read_more("site,y,x\na,1.5,2\nb,,\n".as_bytes(), "more.csv", &schema)?;
/// assert_eq!((rows.names().len(), rows.len()), (2, 1));
/// # Ok::<(), cognate::Error>(())
/// ```
///
/// # Errors
/// As [`read_queries`], and where a column is missing or there is no row.
pub fn read_more(input: impl Read, name: &str, schema: &Schema) -> Result<Rows> {
    let source = Source::new(input, name)?;
    for column in [&schema.weights, &schema.trials, &schema.family].into_iter().flatten().chain([&schema.target]) {
        source.column(column)?;
    }
    let features: Vec<String> = schema.codings.iter().flat_map(Coding::features).collect();
    let mut rows = Rows::new(&schema.target, &features);
    for query in queries(source, schema, (true, false))?.0 {
        match query.target {
            Some(target) => rows.push_with_offset(&query.task, &query.x, target, query.weight, query.offset)?,
            None => rows.name_task(&query.task),
        }
        if let Some(family) = &query.family {
            rows.set_group(&query.task, family)?;
        }
    }
    if rows.names().is_empty() {
        return Err(Error::NoRows { source_name: name.into(), remedy: "there is a header but nothing below it".into() });
    }
    Ok(rows)
}

/// The rows of a table; where they are to teach, those without a target have no features. Rows that miss a cell are refused, or dropped and counted.
fn queries<R: Read>(mut source: Source<R>, schema: &Schema, (to_teach, drops): (bool, bool)) -> Result<(Vec<Query>, u64)> {
    let columns = Places::of(&source, schema, to_teach)?;
    let (mut queries, mut dropped) = (Vec::new(), 0);
    let mut record = csv::StringRecord::new();
    let mut row = 0;
    while source.next(&mut record)? {
        row += 1;
        match columns.queries(&record, row) {
            Ok(own) => queries.extend(own),
            Err(Error::MissingValue { .. }) if drops => dropped += 1,
            Err(error) => return Err(error),
        }
    }
    Ok((queries, dropped))
}

/// Where in a table the columns of a schema are.
struct Places<'s> {
    schema: &'s Schema,
    to_teach: bool,
    task: Option<usize>,
    /// The column of each target; where columns are tasks, of each task.
    targets: Vec<(&'s String, Option<usize>)>,
    /// None is the intercept.
    features: Vec<Option<usize>>,
    sides: Sides,
    family: Option<usize>,
    /// Whether the table lacks the trials by which its targets are shares.
    lacks_trials: bool,
}

impl<'s> Places<'s> {
    fn of<R: Read>(source: &Source<R>, schema: &'s Schema, to_teach: bool) -> Result<Self> {
        let wide = !schema.targets.is_empty();
        let task = if wide { None } else { Some(source.column(&schema.task)?) };
        let targets = if wide { &schema.targets } else { std::slice::from_ref(&schema.target) }
            .iter()
            .map(|name| (name, source.column(name).ok()))
            .collect();
        let present = |name: &Option<String>| name.clone().filter(|name| source.column(name).is_ok());
        let sides = Sides::of(source, [&present(&schema.weights), &present(&schema.trials), &schema.offset, &schema.exposure])?;
        let lacks_trials = schema.trials.is_some() && present(&schema.trials).is_none();
        let family = present(&schema.family).map(|name| source.column(&name)).transpose()?;
        let place = |coding: &Coding| match source.column(&coding.column) {
            Err(_) if coding.column == INTERCEPT => Ok(None),
            column => column.map(Some),
        };
        let features = schema.codings.iter().map(place).collect::<Result<_>>()?;
        Ok(Places { schema, to_teach, task, targets, features, sides, family, lacks_trials })
    }

    /// The queries of a row: one, or one of every target.
    fn queries(&self, record: &csv::StringRecord, row: u64) -> Result<Vec<Query>> {
        if self.task.is_some_and(|task| is_missing(cell_of(record, task))) {
            return Err(Error::MissingValue { row, column: self.schema.task.clone() });
        }
        let named = self.family.map(|column| cell_of(record, column)).filter(|family| !family.is_empty());
        if let (true, [(_, Some(target))], Some(task)) = (self.to_teach, self.targets.as_slice(), self.task)
            && is_missing(cell_of(record, *target))
        {
            let (task, family) = (cell_of(record, task).to_string(), named.map(String::from));
            return Ok(vec![Query { row, task, x: Vec::new(), target: None, weight: 1.0, offset: 0.0, counts: false, family }]);
        }
        let x = self.features(record, row)?;
        let unknown = self.lacks_trials && named.is_none_or(|family| Uses::of(family).trials);
        let own = self.sides.of_row(record, row, named.map(Uses::of))?;
        if let Some(column) = own.missing {
            return Err(Error::MissingValue { row, column });
        }
        let of = |(name, place): &(&String, Option<usize>)| {
            let target = match place {
                Some(i) if !name.is_empty() && !is_missing(cell_of(record, *i)) && !unknown => {
                    Some(own.share(number(row, name, cell_of(record, *i))?, row, name)?)
                }
                _ => None,
            };
            let task = self.task.map_or_else(|| (*name).clone(), |task| cell_of(record, task).to_string());
            let family = named.map(String::from);
            Ok(Query { row, task, x: x.clone(), target, weight: own.weight, offset: own.offset, counts: own.counts, family })
        };
        self.targets.iter().map(of).collect()
    }

    /// The coded features of a row.
    fn features(&self, record: &csv::StringRecord, row: u64) -> Result<Vec<f64>> {
        let mut x = Vec::new();
        for (coding, i) in self.schema.codings.iter().zip(&self.features) {
            let cell = i.map_or("1", |i| cell_of(record, i));
            if is_missing(cell) {
                return Err(Error::MissingValue { row, column: coding.column.clone() });
            }
            match &coding.levels {
                None => x.push(number(row, &coding.column, cell)?),
                Some(levels) => {
                    let level = levels.iter().position(|level| level == cell).ok_or_else(|| Error::UnknownLevel {
                        row,
                        column: coding.column.clone(),
                        level: cell.into(),
                        known: levels.join(", "),
                    })?;
                    x.extend((1..levels.len()).map(|k| f64::from(u8::from(k == level))));
                }
            }
        }
        Ok(x)
    }
}
