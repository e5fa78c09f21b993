//! The flags about uncertainty: what intervals carry, and tests of variances.

use crate::error::{Error, Result};
use crate::model::{Fit, Intervals, Model, VarianceTest};
use crate::tasks::{Design, Tasks};
use clap::{Args, ValueEnum};

/// What intervals carry, and what is tested.
#[derive(Debug, Args)]
pub(super) struct UncertaintyArgs {
    /// Whether intervals of tasks, of the mean and of predictions carry the uncertainty of the hyperparameters (variances, noise, dispersion)
    #[arg(long, value_enum, default_value_t = IntervalsArg::Auto)]
    intervals: IntervalsArg,
    /// Test whether these features vary between tasks ((Intercept) for the intercept, all for every varying one), by the likelihood ratio against the same model
    /// in which one does not
    #[arg(long, value_delimiter = ',', value_name = "FEATURES")]
    test_variance: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum IntervalsArg {
    /// They do, where it changes them by more than a thousandth and takes seconds; variances and noise have profile intervals
    Auto,
    /// They do, however long it takes
    Full,
    /// Hyperparameters are taken as known, as lme4 does: the fastest
    PlugIn,
}

impl UncertaintyArgs {
    pub(super) fn intervals(&self) -> Intervals {
        match self.intervals {
            IntervalsArg::Auto => Intervals::Auto,
            IntervalsArg::Full => Intervals::Full,
            IntervalsArg::PlugIn => Intervals::PlugIn,
        }
    }

    /// Refuses features that do not vary.
    pub(super) fn check(&self, design: &Design) -> Result<()> {
        self.features(design).map(|_| ())
    }

    fn features(&self, design: &Design) -> Result<Vec<String>> {
        let varying: Vec<String> = design.varying_features().into_iter().map(|k| design.features()[k].clone()).collect();
        if self.test_variance.iter().any(|name| name == "all") {
            return Ok(varying);
        }
        match self.test_variance.iter().find(|name| !varying.contains(name)) {
            Some(other) => Err(Error::Arguments(format!(
                "--test-variance {other}: no such feature varies between tasks; name some of {}",
                varying.join(", ")
            ))),
            None => Ok(self.test_variance.clone()),
        }
    }

    /// Fits the model without each variance, and compares.
    pub(super) fn run(&self, fit: &Fit, tasks: &Tasks, make: &dyn Fn() -> Result<Model>) -> Result<Vec<VarianceTest>> {
        let design = tasks.design();
        let varying: Vec<&str> = design.varying_features().into_iter().map(|k| design.features()[k].as_str()).collect();
        let test = |feature: &String| {
            let fewer = design.clone().with_varying(|name| name != feature && varying.contains(&name));
            fit.variance_test(&make()?.intervals(Intervals::PlugIn).fit(&tasks.clone().with_design(fewer))?)
        };
        self.features(design)?.iter().map(test).collect()
    }
}
