//! The node-wise M-step on complete data, user CPU on one thread, median of five, with the AUC of its scores.
//!
//! `cargo bench --bench scores -- DATA TRUTH`: DATA a headerless CSV, a row an observation and a column a variable, TRUTH a line `i,j` for each
//! edge, counted from 1. Prints `cognate,user seconds,AUC`. `benches/huge.sh` makes the data and measures huge beside it.

use cognate::edge_scores;
use cpu_time::ProcessTime;
use nalgebra::DMatrix;
use std::collections::{BTreeMap, BTreeSet};

fn numbers(file: &str) -> Vec<Vec<f64>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_path(file).expect("a file");
    let rows = reader.records().map(|row| row.expect("a row").iter().map(|cell| cell.trim().parse().expect("a number")).collect());
    rows.collect()
}

/// Area under the ROC curve, ties half.
fn auc(scores: &[(f64, bool)]) -> f64 {
    let hits = scores.iter().filter(|(_, hit)| *hit).count() as f64;
    let mut groups: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
    for (score, hit) in scores {
        let group = groups.entry((score * 1e15) as i64).or_default();
        if *hit { group.0 += 1.0 } else { group.1 += 1.0 }
    }
    let (mut below, mut area) = (0.0, 0.0);
    for (right, wrong) in groups.values() {
        area += right * (below + 0.5 * wrong);
        below += wrong;
    }
    area / (hits * below)
}

fn main() {
    let files: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let [data, truth] = files.as_slice() else { return println!("give DATA and TRUTH") };
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("one thread");
    let rows = numbers(data);
    let tasks = rows[0].len();
    let mut w = DMatrix::from_fn(tasks, rows.len(), |t, i| rows[i][t]);
    w.row_iter_mut().for_each(|mut row| {
        let (mean, scale) = (row.mean(), row.variance().sqrt());
        row.iter_mut().for_each(|value| *value = (*value - mean) / scale);
    });
    let names: Vec<String> = (1..=tasks).map(|t| t.to_string()).collect();
    let edges: BTreeSet<(usize, usize)> = numbers(truth).iter().map(|e| (e[0] as usize - 1, e[1] as usize - 1)).collect();
    let mut seconds = Vec::new();
    let mut scores = edge_scores(&names, &w).expect("scores");
    for _ in 0..5 {
        let clock = ProcessTime::now();
        scores = edge_scores(&names, &w).expect("scores");
        seconds.push(clock.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let mut all = Vec::new();
    for t in 0..tasks {
        for s in 0..t {
            let score = scores.edge(s, t).and_then(|edge| edge.probability).unwrap_or(0.0);
            all.push((score, edges.contains(&(s, t)) || edges.contains(&(t, s))));
        }
    }
    println!("cognate,{:.3},{:.6}", seconds[2], auc(&all));
}
