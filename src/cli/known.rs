//! What is known of the tasks beside their rows: the flags of a covariance and of descriptors, and the files behind them.

use super::args::DataArgs;
use crate::csv;
use crate::error::Result;
use crate::prior::KernelShape;
use crate::structure::{KnownRelation, Structure};
use crate::tasks::Descriptors;
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, Args)]
pub(super) struct KnownArgs {
    /// For the structure known instead of --graph the covariance of the tasks, as a square CSV matrix with names, or with the columns source,
    /// target and covariance
    #[arg(long, value_name = "FILE", conflicts_with = "graph")]
    covariance: Option<PathBuf>,
    /// CSV table of descriptors of the tasks for the structure kernel: a column of task names (the one of --task, or the first) and a column a descriptor, of numbers or
    /// of levels; tasks in it without rows in DATA can be predicted too
    #[arg(long, value_name = "FILE")]
    descriptors: Option<PathBuf>,
    /// How relatedness depends on them: squared-exponential (very smooth), matern52, matern32, exponential (rough) or linear
    #[arg(long, value_name = "K", default_value = KernelShape::default().name(), value_parser = KernelShape::NAMES, hide_possible_values = true)]
    kernel: String,
}

impl KnownArgs {
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.covariance.iter().chain(&self.descriptors)
    }

    /// The elements of the covariance.
    pub(super) fn covariance(&self) -> Result<Option<KnownRelation>> {
        let read = |path: &PathBuf| Ok(KnownRelation::Covariance(csv::read_relation(csv::open(path)?, &path.display().to_string())?));
        self.covariance.as_ref().map(read).transpose()
    }

    pub(super) fn shape(&self) -> KernelShape {
        KernelShape::by_name(&self.kernel).unwrap_or_default()
    }

    /// The table of descriptors, whose tasks are named as those of the data are, or by the first column.
    pub(super) fn descriptors(&self, table: &DataArgs) -> Result<Option<Arc<Descriptors>>> {
        let read = |path: &PathBuf| read_descriptors(path, &table.columns()?.0.task).map(Arc::new);
        self.descriptors.as_ref().map(read).transpose()
    }

    /// Each flag, and whether it was given and means nothing to a structure.
    pub(super) fn idle(&self, structure: &dyn Structure) -> [(&'static str, bool); 3] {
        let is_idle = structure.descriptors().is_none();
        [
            ("--covariance", self.covariance.is_some() && structure.name() != "known"),
            ("--descriptors", self.descriptors.is_some() && is_idle),
            ("--kernel", self.shape() != KernelShape::default() && is_idle),
        ]
    }
}

/// The descriptors in a file.
pub(super) fn read_descriptors(path: &Path, task: &str) -> Result<Descriptors> {
    csv::read_descriptors(csv::open(path)?, &path.display().to_string(), task)
}
