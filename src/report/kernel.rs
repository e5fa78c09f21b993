//! How relatedness follows from descriptors of the tasks, as lines of the page and as JSON.

use super::counted;
use super::text::{SHOWN, figure};
use crate::model::Fit;
use crate::prior::KernelShape;
use serde_json::{Value, json};
use std::fmt::{self, Formatter};

pub(super) fn write_kernel(fit: &Fit, out: &mut Formatter<'_>) -> fmt::Result {
    let Some(kernel) = &fit.prior().kernel else { return Ok(()) };
    let is_linear = kernel.shape == KernelShape::Linear;
    let what = if is_linear { "shares of the variance that they tell" } else { "length scales, in their units; levels are 1 apart" };
    writeln!(out, "\nKernel of the tasks' descriptors, {} ({what}):", kernel.shape.name())?;
    let names = kernel.points().names();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(6);
    for ((name, length), unit) in names.iter().zip(kernel.lengths()).zip(kernel.points().units()).take(SHOWN) {
        let spread = if is_linear { String::new() } else { format!("  {} standard deviations of the tasks", figure(length / unit)) };
        writeln!(out, "  {name:<width$}  {:>12}{spread}", figure(length))?;
    }
    if names.len() > SHOWN {
        writeln!(out, "  ... and {} more", names.len() - SHOWN)?;
    }
    writeln!(out, "  {:<width$}  {:>12}  of the variance between tasks, which descriptors do not tell", "nugget", figure(kernel.nugget))?;
    if let Some(count) = kernel.neighbours() {
        writeln!(out, "  every task depends on the {count} nearest of those before it (Vecchia's approximation)")?;
    }
    match fit.newcomers().len() {
        0 => Ok(()),
        count => writeln!(out, "  {} without rows can be predicted by their descriptors", counted(count, "task")),
    }
}

/// `{shape, descriptors: [{descriptor, length_scale, share, unit}], nugget, neighbours, newcomers}`: a length scale, or of a linear kernel a share of the
/// variance that descriptors tell, the other null; null without a kernel.
pub(super) fn kernel_json(fit: &Fit) -> Value {
    let Some(kernel) = &fit.prior().kernel else { return Value::Null };
    let is_linear = kernel.shape == KernelShape::Linear;
    let each = kernel.points().names().iter().zip(kernel.lengths()).zip(kernel.points().units());
    let descriptors: Vec<Value> = each
        .map(|((name, value), unit)| {
            let (length, share) = if is_linear { (None, Some(value)) } else { (Some(value), None) };
            json!({"descriptor": name, "length_scale": length, "share": share, "unit": unit})
        })
        .collect();
    json!({
        "shape": kernel.shape.name(),
        "descriptors": descriptors,
        "nugget": kernel.nugget,
        "neighbours": kernel.neighbours(),
        "newcomers": fit.newcomers(),
    })
}
