//! The flags of descriptors of tasks: the table, and how relatedness depends on them.

use crate::csv;
use crate::error::Result;
use crate::prior::KernelShape;
use crate::structure::Structure;
use crate::tasks::Descriptors;
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, Args)]
pub(super) struct DescriptorArgs {
    /// CSV table of descriptors of the tasks for the structure kernel: a column of task names (the one of --task, or the first) and a column a descriptor, of numbers or
    /// of levels; tasks in it without rows in DATA can be predicted too
    #[arg(long, value_name = "FILE")]
    pub descriptors: Option<PathBuf>,
    /// How relatedness depends on them: squared-exponential (very smooth), matern52, matern32, exponential (rough) or linear
    #[arg(long, value_name = "K", default_value = KernelShape::default().name(), value_parser = KernelShape::NAMES, hide_possible_values = true)]
    kernel: String,
}

impl DescriptorArgs {
    pub(super) fn shape(&self) -> KernelShape {
        KernelShape::by_name(&self.kernel).unwrap_or_default()
    }

    /// The table, whose tasks are named by the column `task` or the first.
    pub(super) fn read(&self, task: &str) -> Result<Option<Arc<Descriptors>>> {
        self.descriptors.as_deref().map(|path| read(path, task).map(Arc::new)).transpose()
    }

    /// Each flag, and whether it was given and means nothing to a structure.
    pub(super) fn idle(&self, structure: &dyn Structure) -> [(&'static str, bool); 2] {
        let is_idle = structure.descriptors().is_none();
        [("--descriptors", self.descriptors.is_some() && is_idle), ("--kernel", self.shape() != KernelShape::default() && is_idle)]
    }
}

/// The table in a file, whose tasks are named by the column `task` or the first.
pub(super) fn read(path: &Path, task: &str) -> Result<Descriptors> {
    csv::read_descriptors(csv::open(path)?, &path.display().to_string(), task)
}
