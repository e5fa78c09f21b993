//! The flags that shape a structure: how many clusters or factors, how strong its prior is, and whether tasks have scales of their own.

use crate::error::{Error, Result};
use crate::structure::{Robust, Structure};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct ShapeArgs {
    /// Every task has a scale of its own, so that one unlike the others is let go and named (known, kernel, exchangeable, factor, full)
    #[arg(long)]
    pub robust: bool,
    /// How many groups of tasks the structure clusters looks for (default: 2; compare tries all up to it, by default 3)
    #[arg(long, value_name = "K")]
    pub groups: Option<usize>,
    /// How many factors the structure factor has (default: 1; compare tries all up to it, by default 3)
    #[arg(long, value_name = "K")]
    pub rank: Option<usize>,
    /// Strength nu of the prior on the task covariance (full: learned; factor: 4, on what each task has for itself; graph: 2; the exact
    /// sampler of edges has one of its own)
    #[arg(long)]
    pub prior_strength: Option<f64>,
}

impl ShapeArgs {
    /// Refuses numbers that no structure can have.
    pub(super) fn check(&self) -> Result<()> {
        if self.rank == Some(0) {
            return Err(Error::Arguments("--rank 0 leaves no factor; give 1 or more, or use --structure exchangeable".into()));
        }
        if self.groups == Some(0) {
            return Err(Error::Arguments("--groups 0 leaves no cluster; give 1 or more, or use --structure exchangeable".into()));
        }
        match self.prior_strength {
            Some(strength) if !(strength > 0.0 && strength.is_finite()) => {
                Err(Error::Arguments(format!("--prior-strength {strength} is not positive; give a number such as 2")))
            }
            _ => Ok(()),
        }
    }

    /// Each flag, and whether it was given and means nothing to a structure.
    pub(super) fn idle(&self, structure: &dyn Structure) -> [(&'static str, bool); 3] {
        [
            ("--robust", self.robust && !Robust::fits(structure)),
            ("--groups", self.groups.is_some() && structure.name() != "clusters"),
            ("--rank", self.rank.is_some() && structure.name() != "factor"),
        ]
    }
}
