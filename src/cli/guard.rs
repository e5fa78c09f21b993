//! `cognate fit --guard`: tasks that would lose by sharing are let go.

use super::args::FitArgs;
use super::progress::Progress;
use super::run::{Beside, Output, conclude, structure as structure_of};
use crate::compare;
use crate::csv::Table;
use crate::error::{Error, Result};
use crate::model::{Fit, Intervals};
use crate::structure::{self, FeatureCovariance, Options};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct GuardArgs {
    /// Guards every task against losing by sharing: scales of single tasks, as by --robust, where the structure may have them; then those that in a
    /// cross-validation are expected to be predicted worse than by themselves are detached, fitted by themselves, and named
    #[arg(long, conflicts_with_all = ["summaries", "family_column"])]
    pub guard: bool,
}

/// What a guard found out, and a fit in which the tasks that it detached are by themselves.
pub(super) type Guarded = (compare::Guard, Option<Fit>);

/// A guarded fit of a table.
pub(super) fn fit(args: &FitArgs, table: Table, implied: Option<FeatureCovariance>, quiet: bool, progress: &Progress) -> Result<Output> {
    let Table { rows, design, schema, .. } = table;
    args.uncertainty.check(&design)?;
    let plain = args.model.options(&args.table, implied)?;
    if structure_of(args, &plain, rows.names(), &design, quiet)?.name() == "independent" {
        return Err(Error::Arguments("independent tasks share nothing that a guard could keep from them; leave --guard out".into()));
    }
    // What goes neither with shared rows nor with graph features stays without scales.
    let may_be = !args.table.shares_rows() && args.table.graph_features.is_none();
    let options = Options { robust: plain.robust || may_be, ..plain };
    let builder = args.model.builder(&args.table);
    let make = || Ok(builder(structure::by_name(&args.structure, &options)?));
    // Who is alone may still know how noisy the others are.
    let shares_noise = args.model.is_gaussian() && !args.table.shares_rows();
    let alone_name = if shares_noise { "independent:shared-noise" } else { "independent" };
    let plug_in = {
        let builder = builder.clone();
        move |structure| builder(structure).intervals(Intervals::PlugIn)
    };
    let candidates = compare::ladder(&[args.structure.as_str(), alone_name], &options, plug_in.clone())?;
    let how = compare::Options { seed: args.model.seed, ..Default::default() };
    let guard = compare::guard(&rows, &design, (&candidates[0], &candidates[1]), &how, &progress.of_fits())?;
    let [kept, all] = guard.parts(&rows, &design)?;
    let of_alone = || plug_in(structure::by_name(alone_name, &options)?).fit(&all);
    let alone = (!guard.detached.is_empty()).then(of_alone).transpose()?;
    conclude(args, (make()?, &make, Beside { guarded: Some((guard, alone)), stability: None }), &kept, &schema, quiet, progress)
}
