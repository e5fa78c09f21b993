//! Where the tasks of a graph lie on a sheet: as far apart as their paths are long, part by part, and the parts packed.

use petgraph::graph::{NodeIndex, UnGraph};
use petgraph::visit::EdgeRef;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Rounds over all pairs, and of a large part.
const ROUNDS: usize = 40;
const FEWER: usize = 16;

/// Nodes beyond which a part is large.
const LARGE: usize = 600;

/// Room about a part, in lengths of an edge.
const ROOM: f64 = 0.55;

type Point = (f64, f64);

/// Places of so many nodes, whose edges have lengths of about 1, on an area of the shape `width` to `height`; the corner above on the left is (0, 0), and the second value the size
/// of all. Stress with weights 1 / d^2 over the shortest paths d, by stochastic gradient descent with a seed of its own (Zheng, Pawar and Goodman 2019). O(n^2) a round, and the paths.
pub(super) fn placed(nodes: usize, edges: &[(usize, usize, f64)], (width, height): (f64, f64)) -> (Vec<Point>, Point) {
    let mut graph = UnGraph::<(), f64>::with_capacity(nodes, edges.len());
    (0..nodes).for_each(|_| {
        graph.add_node(());
    });
    edges.iter().for_each(|(s, t, length)| {
        graph.update_edge(NodeIndex::new(*s), NodeIndex::new(*t), *length);
    });
    let mut parts = petgraph::algo::tarjan_scc(&graph);
    parts.iter_mut().for_each(|own| own.sort_unstable());
    parts.sort_by_key(|own| (Reverse(own.len()), own.first().copied()));
    let laid: Vec<Vec<Point>> = parts.iter().map(|own| level(stressed(&graph, own))).collect();
    let (corners, size) = packed(&laid.iter().map(|own| extent(own)).collect::<Vec<_>>(), width / height);
    let mut places = vec![(0.0, 0.0); nodes];
    for ((part, own), (left, top)) in parts.iter().zip(&laid).zip(corners) {
        part.iter().zip(own).for_each(|(node, (x, y))| places[node.index()] = (left + x, top + y));
    }
    (places, size)
}

/// Lengths of the shortest paths from a node (Dijkstra 1959). Bits of positive numbers are in the order of these.
fn lengths(graph: &UnGraph<(), f64>, from: NodeIndex) -> Vec<f64> {
    let mut far = vec![f64::INFINITY; graph.node_count()];
    far[from.index()] = 0.0;
    let mut next = BinaryHeap::from([(Reverse(0f64.to_bits()), from)]);
    while let Some((Reverse(bits), node)) = next.pop() {
        let length = f64::from_bits(bits);
        if length > far[node.index()] {
            continue;
        }
        for edge in graph.edges(node) {
            let (target, longer) = (edge.target(), length + edge.weight());
            if longer < far[target.index()] {
                far[target.index()] = longer;
                next.push((Reverse(longer.to_bits()), target));
            }
        }
    }
    far
}

fn stressed(graph: &UnGraph<(), f64>, part: &[NodeIndex]) -> Vec<Point> {
    let n = part.len();
    let mut random = ChaCha8Rng::seed_from_u64(n as u64);
    let spread = (n as f64).sqrt();
    let mut places: Vec<Point> = (0..n).map(|_| (spread * random.random::<f64>(), spread * random.random::<f64>())).collect();
    if n < 2 {
        return places;
    }
    let from = |k: usize| -> Vec<(u32, u32, f32)> {
        let far = lengths(graph, part[k]);
        (0..k).map(|j| (k as u32, j as u32, far[part[j].index()] as f32)).collect()
    };
    let mut pairs: Vec<(u32, u32, f32)> = (0..n).into_par_iter().flat_map_iter(from).collect();
    let (least, most) =
        pairs.iter().fold((f64::INFINITY, 0f64), |(least, most), own| (least.min(f64::from(own.2)), most.max(f64::from(own.2))));
    let (first, last) = (most * most, 0.05 * least * least);
    let rounds = if n > LARGE { FEWER } else { ROUNDS };
    for round in 0..rounds {
        let pace = first * (last / first).powf(round as f64 / (rounds - 1) as f64);
        pairs.shuffle(&mut random);
        for (s, t, length) in &pairs {
            let (s, t, length) = (*s as usize, *t as usize, f64::from(*length));
            let (x, y) = (places[s].0 - places[t].0, places[s].1 - places[t].1);
            let apart = x.hypot(y).max(1e-9);
            let step = 0.5 * (pace / (length * length)).min(1.0) * (apart - length) / apart;
            places[s] = (places[s].0 - step * x, places[s].1 - step * y);
            places[t] = (places[t].0 + step * x, places[t].1 + step * y);
        }
    }
    places
}

/// Turned so that the longest direction is level, with the corner of all at (0, 0).
fn level(places: Vec<Point>) -> Vec<Point> {
    let n = places.len() as f64;
    let mean = places.iter().fold((0.0, 0.0), |sum, own| (sum.0 + own.0 / n, sum.1 + own.1 / n));
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in places.iter().map(|own| (own.0 - mean.0, own.1 - mean.1)) {
        (xx, xy, yy) = (xx + x * x, xy + x * y, yy + y * y);
    }
    let angle = 0.5 * (2.0 * xy).atan2(xx - yy);
    let (sine, cosine) = angle.sin_cos();
    let turned: Vec<Point> = places.iter().map(|(x, y)| (cosine * x + sine * y, cosine * y - sine * x)).collect();
    let corner = turned.iter().fold((f64::INFINITY, f64::INFINITY), |low, own| (low.0.min(own.0), low.1.min(own.1)));
    turned.into_iter().map(|(x, y)| (x - corner.0, y - corner.1)).collect()
}

fn extent(places: &[Point]) -> Point {
    places.iter().fold((0.0, 0.0), |size, own| (f64::max(size.0, own.0), f64::max(size.1, own.1)))
}

/// The corners of boxes, the largest first, in rows of a width that fills an area of that shape best, and the size of all.
pub(super) fn packed(boxes: &[Point], shape: f64) -> (Vec<Point>, Point) {
    let widest = boxes.iter().map(|own| own.0).fold(0.0, f64::max);
    let sum: f64 = boxes.iter().map(|own| (own.0 + 2.0 * ROOM) * (own.1 + 2.0 * ROOM)).sum();
    let tries = (0..12).map(|k| ((sum * shape).sqrt() * (0.7 + 0.1 * f64::from(k))).max(widest + 2.0 * ROOM));
    let filled = |size: &Point| (size.0 / shape).max(size.1);
    let all = tries.map(|width| in_rows(boxes, width));
    all.reduce(|best, own| if filled(&own.1) < filled(&best.1) - 1e-9 { own } else { best }).expect("twelve")
}

fn in_rows(boxes: &[Point], width: f64) -> (Vec<Point>, Point) {
    let (mut corners, mut ends) = (Vec::with_capacity(boxes.len()), Vec::new());
    let (mut left, mut top, mut high) = (0.0, 0.0, 0f64);
    for own in boxes {
        let (own_width, own_height) = (own.0 + 2.0 * ROOM, own.1 + 2.0 * ROOM);
        if left > 0.0 && left + own_width > width + 1e-9 {
            ends.push((corners.len(), left));
            (left, top, high) = (0.0, top + high, 0.0);
        }
        corners.push((left + ROOM, top + ROOM));
        (left, high) = (left + own_width, high.max(own_height));
    }
    ends.push((corners.len(), left));
    let widest = ends.iter().map(|own| own.1).fold(0.0, f64::max);
    // Rows are centred.
    let mut from = 0;
    for (to, wide) in ends {
        corners[from..to].iter_mut().for_each(|own: &mut Point| own.0 += 0.5 * (widest - wide));
        from = to;
    }
    (corners, (widest, top + high))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(a: Point, b: Point) -> f64 {
        (a.0 - b.0).hypot(a.1 - b.1)
    }

    /// A chain is a line, a ring a circle, and parts do not meet.
    #[test]
    fn distances_are_those_of_paths() {
        let chain: Vec<_> = (1..8).map(|t| (t - 1, t, 1.0)).collect();
        let (places, _) = placed(8, &chain, (2.0, 1.0));
        assert!((apart(places[0], places[7]) - 7.0).abs() < 0.35, "{places:?}");
        let ring: Vec<_> = (0..10).map(|t| (t, (t + 1) % 10, 1.0)).collect();
        let (places, _) = placed(10, &ring, (1.0, 1.0));
        let sides: Vec<f64> = ring.iter().map(|(s, t, _)| apart(places[*s], places[*t])).collect();
        assert!(sides.iter().all(|own| (own / sides[0] - 1.0).abs() < 0.1), "{sides:?}");
        let two: Vec<_> = ring.iter().copied().chain(ring.iter().map(|(s, t, length)| (s + 10, t + 10, *length))).collect();
        let (places, size) = placed(21, &two, (2.0, 1.0));
        assert!((0..10).all(|s| (10..21).all(|t| apart(places[s], places[t]) > 2.0 * ROOM - 1e-9)));
        assert!(places.iter().all(|own| own.0 >= 0.0 && own.1 >= 0.0 && own.0 <= size.0 && own.1 <= size.1));
        assert_eq!(placed(21, &two, (2.0, 1.0)), (places, size));
    }
}
