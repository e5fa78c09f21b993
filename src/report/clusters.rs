//! Tasks unlike others on the page: clusters, who is in them and where they are, and tasks that are let go.

use super::counted;
use super::text::{SHOWN, figure};
use crate::model::{Cluster, Fit};
use std::fmt::{self, Formatter};

/// Clusters of which means are shown side by side.
const ABREAST: usize = 6;

pub(super) fn write_clusters(fit: &Fit, out: &mut Formatter<'_>) -> fmt::Result {
    let clusters = fit.clusters();
    let (Some(probabilities), Some(mixture)) = (fit.memberships(), &fit.prior().mixture) else { return Ok(()) };
    writeln!(
        out,
        "\nClusters (share of all tasks, expected number of these, scale of their variation; likeliest members, the surest first):"
    )?;
    for (c, own) in clusters.iter().enumerate() {
        writeln!(out, "  {}  share {:.3}  {:.1} tasks  scale {}", c + 1, own.share, own.size, figure(own.scale))?;
        write_members(fit, Some(c), out)?;
    }
    let none = clusters.len();
    writeln!(out, "  none  share {:.3}  {:.1} tasks", mixture.shares[none], probabilities.row(none).sum())?;
    write_members(fit, None, out)?;
    write_means(fit, &clusters, out)
}

/// The scales of single tasks, and those that are let go.
pub(super) fn write_scales(fit: &Fit, out: &mut Formatter<'_>) -> fmt::Result {
    let Some(scales) = fit.task_scales() else { return Ok(()) };
    let mut sorted = scales.values.clone();
    sorted.sort_by(f64::total_cmp);
    let (least, middle, most) = (figure(sorted[0]), figure(sorted[sorted.len() / 2]), figure(sorted[sorted.len() - 1]));
    let degrees = figure(scales.degrees_of_freedom);
    writeln!(out, "\nScales of the tasks (t with {degrees} degrees of freedom): {least} to {most}, median {middle}")?;
    let far = fit.let_go();
    let named = |t: &usize| format!("{} ({})", fit.tasks().names()[*t], figure(scales.values[*t]));
    let shown: Vec<String> = far.iter().take(SHOWN).map(named).collect();
    let more = if far.len() > shown.len() { format!(" ... and {} more", far.len() - shown.len()) } else { String::new() };
    match shown.is_empty() {
        true => writeln!(out, "  no task is let go (a scale of 3 or more)"),
        false => writeln!(out, "  let go (a scale of 3 or more): {}{more}", shown.join(", ")),
    }
}

fn write_members(fit: &Fit, cluster: Option<usize>, out: &mut Formatter<'_>) -> fmt::Result {
    let (Some(probabilities), members) = (fit.memberships(), fit.members(cluster)) else { return Ok(()) };
    let row = cluster.unwrap_or(probabilities.nrows() - 1);
    let named = |t: &usize| {
        let probability = probabilities[(row, *t)];
        let sure = if probability > 0.995 { String::new() } else { format!(" ({probability:.2})") };
        format!("{}{sure}", fit.tasks().names()[*t])
    };
    let shown: Vec<String> = members.iter().take(SHOWN).map(named).collect();
    if shown.is_empty() {
        return Ok(());
    }
    let more = members.len() - shown.len();
    // The least sure are the ones to look at.
    let last = members
        .last()
        .filter(|_| more > 0)
        .map_or_else(String::new, |t| format!(" ... to {}, {} in all", named(t), counted(members.len(), "task")));
    writeln!(out, "     {}{last}", shown.join(", "))
}

fn write_means(fit: &Fit, clusters: &[Cluster], out: &mut Formatter<'_>) -> fmt::Result {
    const MEANS: usize = 40;
    let names = fit.tasks().design().features();
    let shown: Vec<usize> = (0..names.len()).filter(|f| clusters.iter().any(|own| own.mean[*f] != 0.0)).collect();
    let width = shown.iter().map(|f| names[*f].chars().count()).max().unwrap_or(0).max(7);
    for (block, own) in clusters.chunks(ABREAST).enumerate() {
        writeln!(out, "\nMeans of the clusters (standard error):")?;
        write!(out, "  {:<width$}", "feature")?;
        (0..own.len()).try_for_each(|c| write!(out, "  {:>24}", block * ABREAST + c + 1))?;
        writeln!(out)?;
        for f in shown.iter().take(MEANS) {
            write!(out, "  {:<width$}", names[*f])?;
            for cluster in own {
                let se = cluster.mean_covariance[(*f, *f)].max(0.0).sqrt();
                write!(out, "  {:>24}", format!("{} ({})", figure(cluster.mean[*f]), figure(se)))?;
            }
            writeln!(out)?;
        }
        if shown.len() > MEANS {
            writeln!(out, "  ... and {} more", shown.len() - MEANS)?;
        }
    }
    Ok(())
}
