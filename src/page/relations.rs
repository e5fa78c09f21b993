//! The task graph and the heat map as the page has them.

use super::numbers::{maybe, number};
use crate::figures::{Heat, Links};
use serde_json::{Value, json};

/// `{of, certainty, edges: [[s, t, value, probability, low, high]], left_out, words}`.
pub(super) fn links_json(links: &Links) -> Value {
    let edges: Vec<Value> = (links.edges.iter())
        .map(|own| {
            let (low, high) = own.interval.unzip();
            json!([own.tasks.0, own.tasks.1, number(own.value), maybe(own.probability), maybe(low), maybe(high)])
        })
        .collect();
    json!({"of": links.of, "certainty": links.certainty, "left_out": links.left_out, "edges": edges, "words": links.words})
}

/// `{of, order, starts, cells}`, cells in hundredths; null without a map.
pub(super) fn heat_json(heat: Option<&Heat>) -> Value {
    let Some(heat) = heat else { return Value::Null };
    let hundredths = |own: &Option<f64>| own.map_or(Value::Null, |own| Value::from((100.0 * own).round() as i64));
    json!({"of": heat.of, "order": heat.order, "starts": heat.starts, "cells": heat.cells().iter().map(hundredths).collect::<Vec<_>>()})
}
