//! Where a model comes from: how its tables are read and by which commands it was made, which its file has beside the fit.

use super::run::{quoted, without};
use crate::csv::Schema;
use serde::{Deserialize, Serialize};

/// What a model file of the command line has beside the fit.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Origin {
    #[serde(flatten)]
    pub schema: Schema,
    /// The commands that made it, the fit first.
    #[serde(default)]
    pub commands: Vec<String>,
}

/// A command as it was given, but for what no result depends on.
pub(super) fn command(words: &[String]) -> String {
    let kept = without(words.iter().skip(1), &["--threads", "--color"], &["--quiet"]);
    quoted(std::iter::once(&"cognate".to_string()).chain(kept))
}

/// The command that made a model, but for where results went.
pub(super) fn of_model(words: &[String]) -> String {
    let kept: Vec<String> =
        without(words.iter(), &["--model", "--report", "--output", "-o", "--format"], &[]).into_iter().cloned().collect();
    command(&kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_that_given() {
        let words =
            ["/usr/bin/cognate", "report", "a b.cognate", "--threads", "2", "-o", "x.html", "--threads=4", "--quiet"].map(String::from);
        assert_eq!(command(&words), "cognate report 'a b.cognate' -o x.html");
        assert_eq!(of_model(&words), "cognate report 'a b.cognate'");
    }
}
