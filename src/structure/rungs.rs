//! The rungs of a ladder by name: structures, and sizes of those that have one, such as `factor:2`.

use super::{NAMES, Options};
use crate::error::{Error, Result};

/// A structure of which there are several sizes.
struct Sized {
    name: &'static str,
    /// What its size is.
    size: &'static str,
    least: usize,
    /// The largest that a ladder tries where nothing is said.
    most: usize,
    asked: fn(&Options) -> Option<usize>,
}

const SIZED: [Sized; 2] = [
    Sized { name: "clusters", size: "number", least: 2, most: 3, asked: |options| options.clusters },
    Sized { name: "factor", size: "rank", least: 1, most: 3, asked: |options| options.rank },
];

/// The structure of a name and its size where the name says one: `factor` and 2 of `factor:2`.
///
/// # Errors
/// [`Error::Arguments`] for a size of a structure that has none, and for one that is no number or too small.
pub(super) fn named(name: &str) -> Result<(&str, Option<usize>)> {
    let Some((name, size)) = name.split_once(':') else { return Ok((name, None)) };
    let Some(own) = SIZED.iter().find(|own| own.name == name) else {
        let names: Vec<&str> = SIZED.iter().map(|own| own.name).collect();
        return Err(Error::Arguments(format!("the structure '{name}' has no sizes to choose from; only {} have", names.join(" and "))));
    };
    match size.parse() {
        Ok(number) if number >= own.least => Ok((name, Some(number))),
        _ => Err(Error::Arguments(format!("'{size}' is no {} of the structure '{name}'; give {} or more", own.size, own.least))),
    }
}

/// The rungs that names on a ladder stand for, simple to rich, each once: a structure with a size, such as `factor:2`, stands for itself, and
/// without one for every size up to that of the options, or to 3.
///
/// ```
/// use cognate::structure::{Options, rungs};
/// let asked = ["factor", "exchangeable", "factor:5"].map(String::from);
/// assert_eq!(rungs(&asked, &Options { rank: Some(2), ..Options::default() })?, ["exchangeable", "factor:1", "factor:2", "factor:5"]);
/// # Ok::<(), cognate::Error>(())
/// ```
///
/// # Errors
/// [`Error::Arguments`] for a name that is no structure's, and for a size that it cannot have.
pub fn rungs(asked: &[String], options: &Options) -> Result<Vec<String>> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for name in asked {
        let (name, size) = named(name)?;
        let place = NAMES.iter().position(|own| *own == name).ok_or_else(|| super::unknown(name))?;
        match (SIZED.iter().find(|own| own.name == name), size) {
            (Some(own), None) => found.extend((own.least..=(own.asked)(options).unwrap_or(own.most)).map(|size| (place, size))),
            (_, size) => found.push((place, size.unwrap_or(0))),
        }
    }
    found.sort();
    found.dedup();
    let text = |(place, size): (usize, usize)| if size == 0 { NAMES[place].to_string() } else { format!("{}:{size}", NAMES[place]) };
    Ok(found.into_iter().map(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_those_that_cannot_be_are_refused() {
        assert_eq!(named("factor:4").unwrap(), ("factor", Some(4)));
        assert_eq!(named("graph").unwrap(), ("graph", None));
        for (name, reason) in [("factor:0", "give 1 or more"), ("factor:x", "'x' is no rank"), ("graph:2", "has no sizes")] {
            assert!(named(name).unwrap_err().to_string().contains(reason), "{name}");
        }
        assert!(rungs(&["factors".into()], &Options::default()).is_err());
    }
}
