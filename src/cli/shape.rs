//! The flags that shape a structure: how many clusters or factors, and whether tasks have scales of their own.

use crate::structure::{Robust, Structure};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct ShapeArgs {
    /// Every task has a scale of its own, so that one unlike the others is let go and named (known, exchangeable, factor, full)
    #[arg(long)]
    pub robust: bool,
    /// How many groups of tasks the structure clusters looks for (default: 2; compare tries all up to it, by default 3)
    #[arg(long, value_name = "K")]
    pub groups: Option<usize>,
    /// How many factors the structure factor has (default: 1; compare tries all up to it, by default 3)
    #[arg(long, value_name = "K")]
    pub rank: Option<usize>,
}

impl ShapeArgs {
    /// Each flag, and whether it was given and means nothing to a structure.
    pub(super) fn idle(&self, structure: &dyn Structure) -> [(&'static str, bool); 3] {
        [
            ("--robust", self.robust && !Robust::fits(structure)),
            ("--groups", self.groups.is_some() && structure.name() != "clusters"),
            ("--rank", self.rank.is_some() && structure.name() != "factor"),
        ]
    }
}
