//! Which rows of a table are fitted, the same for every bench that holds rows out, and how many splits are asked for.

use cognate::Rows;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::HashSet;

/// Which rows are fitted: so many of every task, or three quarters of it or of the shared units.
pub fn split(rows: &Rows, fitted: Option<usize>, seed: u64) -> Vec<bool> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let of = |own: usize| fitted.unwrap_or((own * 3).div_ceil(4)).min(own);
    if !rows.units().is_empty() {
        let mut order: Vec<&str> = rows.units().iter().map(String::as_str).collect();
        order.shuffle(&mut random);
        let kept: HashSet<&str> = order[..of(order.len())].iter().copied().collect();
        return (0..rows.len()).map(|i| kept.contains(rows.unit_name(i))).collect();
    }
    let mut train = vec![false; rows.len()];
    for t in 0..rows.names().len() {
        let mut own: Vec<usize> = (0..rows.len()).filter(|i| rows.task(*i) == t).collect();
        own.shuffle(&mut random);
        own[..of(own.len())].iter().for_each(|i| train[*i] = true);
    }
    train
}
