//! The short way to say which columns are what: `score ~ f1 + f2 + (1 + f1 | school)`, as lme4 writes it.

use crate::csv::{Columns, Varying};
use crate::error::{Error, Result};

/// A formula read: the columns it names, and whether the varying features are uncorrelated (`||`).
#[derive(Clone, Debug)]
pub struct Formula {
    /// What each column is.
    pub columns: Columns,
    /// `||` was written: K is diagonal; else it is full.
    pub uncorrelated: bool,
}

impl Formula {
    /// Reads a formula of the form `target ~ terms + (terms | task)`.
    ///
    /// ```
    /// use cognate::{Formula, csv::Varying};
    /// let formula = Formula::parse("score ~ f1 + f2 + (1 + f1 || school)")?;
    /// assert_eq!(formula.columns.task, "school");
    /// assert_eq!(formula.columns.varying, Varying::Only(vec!["f1".into()]));
    /// assert!(formula.uncorrelated);
    /// # Ok::<(), cognate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Formula`], saying what is not supported and what to write instead.
    pub fn parse(text: &str) -> Result<Formula> {
        let refuse = |problem: &str| Error::Formula { formula: text.into(), problem: problem.into() };
        let (target, right) = text.split_once('~').ok_or_else(|| refuse("it has no '~'; write target ~ features + (features | task)"))?;
        let target = target.trim();
        if target.is_empty() || !is_name(target) {
            return Err(refuse(
                "left of '~' must stand one column name; transform the column in the table, and give names with spaces by --task, --target and --features",
            ));
        }
        let open = right.find('(').ok_or_else(|| refuse("it names no task; add a term such as (1 | school)"))?;
        let close = right[open..].find(')').map(|at| at + open).ok_or_else(|| refuse("a '(' is not closed"))?;
        if !right[open..close].contains('|') {
            return Err(refuse("functions and other parentheses are not supported; put transformations into columns of the table"));
        }
        let mut outside = right[..open].to_string();
        outside.push_str(&right[close + 1..]);
        if outside.contains(['(', '|']) {
            return Err(refuse("only one grouping is supported (a task is one grouping); keep one (... | task) term"));
        }
        let inside = &right[open + 1..close];
        let (random, task, uncorrelated) = match (inside.split_once("||"), inside.split_once('|')) {
            (Some((random, task)), _) => (random, task, true),
            (None, Some((random, task))) => (random, task, false),
            _ => return Err(refuse("the term in parentheses needs a '|' before the task column")),
        };
        if random.trim().is_empty() {
            return Err(refuse("nothing stands before '|'; write (1 | task) for an intercept that varies"));
        }
        let task = task.trim();
        if !is_name(task) {
            return Err(refuse("right of '|' must stand one column name; nested or crossed groupings are not supported"));
        }
        let (fixed, intercept) = terms(&outside).map_err(|problem| refuse(&problem))?;
        let (random, task_intercept) = terms(random).map_err(|problem| refuse(&problem))?;
        let without_mean: Vec<String> = random.iter().filter(|name| !fixed.contains(name)).cloned().collect();
        if let Some(part) = [&target.to_string(), &task.to_string()].into_iter().find(|part| fixed.contains(part)) {
            return Err(refuse(&format!("'{part}' cannot be a feature too; take it out of the right side")));
        }
        if task_intercept && !intercept {
            return Err(refuse("the intercept varies but has no mean; take '0 +' or '- 1' out, or write (0 + ... | task)"));
        }
        let features = fixed.iter().chain(&without_mean).cloned().collect();
        let columns = Columns {
            task: task.into(),
            target: target.into(),
            features: Some(features),
            varying: Varying::Only(random),
            common_intercept: !task_intercept,
            no_intercept: !intercept,
            without_mean,
            ..Columns::default()
        };
        Ok(Formula { columns, uncorrelated })
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(|c| "~+-*:/^()|,".contains(c) || c.is_whitespace())
}

/// The names of a sum of terms, and whether the intercept is in.
fn terms(text: &str) -> std::result::Result<(Vec<String>, bool), String> {
    let mut names: Vec<String> = Vec::new();
    let mut intercept = true;
    let spaced = text.replace('-', "+ -");
    for term in spaced.split('+').map(str::trim).filter(|term| !term.is_empty()) {
        match term {
            "1" => intercept = true,
            "0" => intercept = false,
            _ => match term.strip_prefix('-').map(str::trim) {
                Some("1") => intercept = false,
                Some(other) => return Err(format!("'- {other}' is not supported; leave the feature out")),
                None if term == "." => return Err("'.' is not supported; name the features".into()),
                None if is_name(term) => {
                    if !names.iter().any(|name| name == term) {
                        names.push(term.into());
                    }
                }
                None => return Err(format!("'{term}' is not supported; put products and transformations into columns of the table")),
            },
        }
    }
    Ok((names, intercept))
}
