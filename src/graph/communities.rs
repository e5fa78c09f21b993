//! Communities of the task graph: groups of tasks with more edges among them than between them.

use super::{TaskGraph, grouped};
use leiden_rs::{GraphData, GraphDataBuilder, Leiden, LeidenConfig};

/// Most runs of the algorithm, each from another seed: it climbs, and one run in six stops below the top of small dense graphs.
const RUNS: usize = 20;

/// Edges that all runs together go over, so that large dense graphs get fewer of them.
const WORK: usize = 200_000;

impl TaskGraph {
    /// A partition of the tasks with high modularity under the weights |partial correlation|, by the Leiden algorithm: each community
    /// connected and ascending, ordered by its first task; a task without an edge is a community of its own. The best of at most 20 runs,
    /// which need not be the best partition; the same graph always gives the same one. Cost: O(T + edges) a pass, and few passes.
    ///
    /// ```
    /// let mut graph = cognate::TaskGraph::empty(&["a", "b", "c", "d", "e"]);
    /// [(0, 1, -0.4), (2, 3, 0.4), (1, 2, -0.05)].into_iter().for_each(|(s, t, precision)| graph.connect(s, t, precision, None));
    /// assert_eq!(graph.communities(), [vec![0, 1], vec![2, 3], vec![4]]);
    /// ```
    ///
    /// Source: Traag, Waltman and van Eck (2019), From Louvain to Leiden: guaranteeing well-connected communities.
    pub fn communities(&self) -> Vec<Vec<usize>> {
        let runs = (WORK / self.as_petgraph().edge_count().max(1)).clamp(1, RUNS);
        let best = self.weighted().and_then(|data| {
            let run = |seed| Leiden::new(LeidenConfig::builder().seed(seed).build()).run(&data).ok();
            (0..runs as u64).filter_map(run).reduce(|best, next| if next.quality > best.quality + 1e-12 { next } else { best })
        });
        match best {
            Some(best) => grouped((0..self.len()).map(|t| best.partition.community_of(t))),
            None => self.components(),
        }
    }

    /// The graph with weights in (0, 1], the strongest 1, whatever the precisions are; none if it is refused.
    fn weighted(&self) -> Option<GraphData> {
        let strengths = || self.edges().map(|(s, t, edge)| (s, t, edge.strength())).filter(|(s, t, w)| s != t && w.is_finite());
        let most = strengths().fold(0.0, |most: f64, (_, _, strength)| most.max(strength));
        let mut builder = GraphDataBuilder::new(self.len());
        for (s, t, strength) in strengths().filter(|(_, _, strength)| strength / most > 0.0) {
            builder.add_edge(s, t, strength / most).ok()?;
        }
        builder.build().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    type Weighted = Vec<(usize, usize, f64)>;

    fn graph(tasks: usize, edges: &[(usize, usize, f64)]) -> TaskGraph {
        let mut graph = TaskGraph::empty(&(0..tasks).map(|t| t.to_string()).collect::<Vec<_>>());
        edges.iter().for_each(|(s, t, precision)| graph.connect(*s, *t, *precision, None));
        graph
    }

    fn joined(tasks: &[usize], weight: f64) -> Weighted {
        tasks.iter().flat_map(|s| tasks.iter().filter(move |t| s < *t).map(move |t| (*s, *t, weight))).collect()
    }

    fn modularity(labels: &[usize], edges: &[(usize, usize, f64)]) -> f64 {
        let total: f64 = edges.iter().map(|(_, _, w)| w.abs()).sum();
        let mut degree = vec![0.0; labels.len()];
        let mut inside = 0.0;
        for (s, t, w) in edges {
            inside += if labels[*s] == labels[*t] { w.abs() } else { 0.0 };
            [s, t].iter().for_each(|end| degree[labels[**end]] += w.abs());
        }
        inside / total - degree.iter().map(|d| (d / (2.0 * total)).powi(2)).sum::<f64>()
    }

    /// The highest modularity of all partitions.
    fn highest(labels: &mut Vec<usize>, tasks: usize, edges: &[(usize, usize, f64)]) -> f64 {
        if labels.len() == tasks {
            return modularity(labels, edges);
        }
        let next = labels.iter().max().map_or(0, |most| most + 1);
        let mut most = f64::NEG_INFINITY;
        for label in 0..=next {
            labels.push(label);
            most = most.max(highest(labels, tasks, edges));
            labels.pop();
        }
        most
    }

    /// What the communities lack to the highest modularity.
    fn gap(tasks: usize, edges: &[(usize, usize, f64)]) -> f64 {
        let mut labels = vec![0; tasks];
        for (label, members) in graph(tasks, edges).communities().iter().enumerate() {
            members.iter().for_each(|t| labels[*t] = label);
        }
        highest(&mut Vec::new(), tasks, edges) - modularity(&labels, edges)
    }

    #[test]
    fn small_graphs_reach_the_highest_modularity_of_all_partitions() {
        let chain = |n: usize| (1..n).map(|t| (t - 1, t, -0.3)).collect::<Weighted>();
        let ring = [chain(7), vec![(0, 6, -0.3)]].concat();
        let star = (1..7).map(|t| (0, t, 0.1 * t as f64)).collect::<Weighted>();
        let barbell = [joined(&[0, 1, 2], -0.4), joined(&[3, 4, 5, 6], 0.3), vec![(2, 3, -0.1)]].concat();
        for edges in [chain(2), chain(4), chain(7), ring, star, barbell, joined(&[0, 1, 2, 3, 4, 5], -0.1)] {
            let lacking = gap(7, &edges);
            assert!(lacking < 1e-12, "{lacking} lacking for {edges:?}");
        }
        // Any: the algorithm climbs, and may stop below the top.
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let gaps: Vec<f64> = (0..100)
            .map(|i| {
                let pairs = joined(&[0, 1, 2, 3, 4, 5, 6][..4 + i % 4], 1.0).into_iter();
                let share = rng.random_range(0.2..0.9);
                let drawn = pairs.map(|(s, t, _)| (s, t, f64::from(u8::from(rng.random_bool(share))) * rng.random_range(-0.6..0.6)));
                let edges: Weighted = drawn.filter(|(_, _, precision)| *precision != 0.0).collect();
                if edges.is_empty() { 0.0 } else { gap(4 + i % 4, &edges) }
            })
            .collect();
        let reached = gaps.iter().filter(|gap| **gap < 1e-12).count();
        assert!(reached >= 95 && gaps.iter().all(|gap| *gap < 0.05), "{reached} {gaps:?}");
    }

    #[test]
    fn weakly_joined_cliques_part_and_tasks_without_edges_stand_alone() {
        let edges = [joined(&[1, 3, 5], -0.3), joined(&[2, 4, 6], 0.3), vec![(3, 4, -0.05)]].concat();
        assert_eq!(graph(8, &edges).communities(), [vec![0], vec![1, 3, 5], vec![2, 4, 6], vec![7]]);
        assert_eq!(graph(3, &[]).communities(), [[0], [1], [2]]);
        assert_eq!(graph(1, &[]).communities(), [[0]]);
        assert!(graph(0, &[]).communities().is_empty());
    }

    #[test]
    fn odd_precisions_are_borne() {
        for odd in [0.0, f64::NAN, f64::INFINITY, 1e300, 1e-300, f64::MIN_POSITIVE / 1e10] {
            assert_eq!(graph(3, &[(0, 1, odd), (1, 2, odd)]).communities().concat().len(), 3, "{odd}");
            assert_eq!(graph(3, &[(0, 1, odd), (1, 2, -0.2)]).communities().concat().len(), 3, "{odd}");
        }
        assert_eq!(graph(3, &[(0, 1, 1e-300), (1, 2, 1e-300)]).communities(), [[0, 1, 2]]);
    }

    #[test]
    fn threads_and_repetition_change_nothing() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(2);
        let all: Vec<usize> = (0..150).collect();
        let edges: Weighted =
            joined(&all, 0.2).into_iter().filter(|(s, t, _)| rng.random_bool(if s % 5 == t % 5 { 0.4 } else { 0.03 })).collect();
        let graph = graph(150, &edges);
        let by = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| graph.communities());
        let planted: Vec<Vec<usize>> = (0..5).map(|k| (k..150).step_by(5).collect()).collect();
        assert_eq!(graph.communities(), planted);
        assert_eq!((by(1), by(4)), (planted.clone(), planted));
    }
}
