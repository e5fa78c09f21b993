//! Structures as the command line names them: a structure or a rung of a ladder, such as `factor:2` or `exchangeable:full:robust`.

use super::args::ModelArgs;
use crate::error::Result;
use crate::structure;
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use std::ffi::OsStr;

/// Reads the name of a rung.
#[derive(Clone)]
pub(super) struct RungParser {
    /// Whether `all` is one.
    pub all: bool,
}

impl TypedValueParser for RungParser {
    type Value = String;

    fn parse_ref(&self, command: &clap::Command, argument: Option<&clap::Arg>, value: &OsStr) -> std::result::Result<String, clap::Error> {
        let all = self.all;
        let checked = move |name: String| -> Result<String> {
            if !(all && name == structure::ALL) {
                structure::arguments(&name)?;
            }
            Ok(name)
        };
        StringValueParser::new().try_map(checked).parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(structure::NAMES.into_iter().chain(self.all.then_some(structure::ALL)).map(PossibleValue::new)))
    }
}

impl ModelArgs {
    /// Flags given for what the name of a rung says.
    pub(super) fn said_twice(&self, rung: &str) -> Result<Vec<&'static str>> {
        let said = structure::arguments(rung)?;
        let given = [
            ("--groups", self.shape.groups.is_some()),
            ("--rank", self.shape.rank.is_some()),
            ("--feature-covariance", self.feature_covariance.is_some()),
            ("--noise", self.noise.is_some()),
        ];
        Ok(given.into_iter().filter(|(flag, given)| *given && said.iter().any(|word| word == flag)).map(|(flag, _)| flag).collect())
    }
}
