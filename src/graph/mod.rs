//! The task graph: which tasks inform each other, over petgraph, and the storage of a sparse precision matrix.

mod communities;
mod dot;
mod formats;
mod graphml;

pub use dot::read_dot;
pub use graphml::read_graphml;

use crate::error::{Error, Result};
use nalgebra::DMatrix;
use petgraph::graph::{NodeIndex, UnGraph};
use petgraph::visit::{EdgeRef, NodeIndexable};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// A task in the graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Task name.
    pub task: String,
    /// Diagonal element of the precision matrix.
    pub precision: f64,
}

/// A conditional dependence between two tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    /// Off-diagonal element of the precision matrix.
    pub precision: f64,
    /// -precision / sqrt(product of both diagonals), in (-1, 1); where it was sampled, its mean given that the edge exists.
    pub partial_correlation: f64,
    /// Probability that the edge exists; none where the structure does not select edges.
    pub probability: Option<f64>,
    /// Given that it exists, the probability that its partial correlation has the sign shown.
    #[serde(default)]
    pub sign_probability: Option<f64>,
    /// Given that it exists, the ends of the 95 % interval of its partial correlation.
    #[serde(default)]
    pub interval: Option<(f64, f64)>,
    /// Instead of a probability, what EM alone makes of the edge: it ranks edges, and is too sure where tasks are noisy.
    #[serde(default)]
    pub score: Option<f64>,
}

impl Edge {
    /// Whether it joins tasks of the same cluster, with that probability, and says nothing of a partial correlation.
    pub fn is_membership(&self) -> bool {
        self.precision == 0.0 && self.partial_correlation == 0.0 && self.probability.is_some()
    }

    /// How strong it is, in [0, 1]: the size of the partial correlation; of tasks of the same cluster the probability.
    pub fn strength(&self) -> f64 {
        if self.is_membership() { self.probability.unwrap_or(0.0) } else { self.partial_correlation.abs() }
    }

    /// Probability that an edge with this sign does not exist: 1 - probability times sign probability (Stephens 2017).
    pub fn local_false_sign_rate(&self) -> Option<f64> {
        Some(1.0 - self.probability? * self.sign_probability?)
    }
}

/// Tasks and their conditional dependences: node t is task t, an edge is a non-zero element of the precision matrix
/// Omega = Sigma^-1.
///
/// ```
/// use cognate::TaskGraph;
/// let mut graph = TaskGraph::empty(&["a", "b", "c"]);
/// graph.connect(0, 2, -0.4, Some(0.9));
/// assert_eq!(graph.edges().count(), 1);
/// assert_eq!(graph.components(), vec![vec![0, 2], vec![1]]);
/// assert!((graph.precision()[(2, 0)] + 0.4).abs() < 1e-15);
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(into = "Record", try_from = "Record")]
pub struct TaskGraph {
    graph: UnGraph<Node, Edge>,
}

impl TaskGraph {
    /// Unit precisions and no edge.
    pub fn empty<S: AsRef<str>>(tasks: &[S]) -> Self {
        let mut graph = UnGraph::with_capacity(tasks.len(), 0);
        for task in tasks {
            graph.add_node(Node { task: task.as_ref().to_string(), precision: 1.0 });
        }
        TaskGraph { graph }
    }

    /// The graph of a dense precision matrix, with an edge for every non-zero element off the diagonal.
    pub fn of_precision<S: AsRef<str>>(tasks: &[S], precision: &DMatrix<f64>) -> Self {
        let mut graph = TaskGraph::empty(tasks);
        for t in 0..tasks.len() {
            graph.set_diagonal(t, precision[(t, t)]);
        }
        for t in 0..tasks.len() {
            for s in 0..t {
                if precision[(t, s)] != 0.0 {
                    graph.connect(s, t, precision[(t, s)], None);
                }
            }
        }
        graph
    }

    /// The same precisions; edges that `sampled` has too have its partial correlation.
    pub(crate) fn with_partial_correlations_of(mut self, sampled: &TaskGraph) -> Self {
        for edge in self.graph.edge_indices() {
            let Some((s, t)) = self.graph.edge_endpoints(edge) else { continue };
            if let Some(other) = sampled.edge(s.index(), t.index()) {
                self.graph[edge].partial_correlation = other.partial_correlation;
            }
        }
        self
    }

    /// The same edges, what was a probability being a score.
    pub(crate) fn scored(mut self) -> Self {
        self.graph.edge_weights_mut().for_each(|edge| edge.score = edge.score.or(edge.probability.take()));
        self
    }

    /// The same tasks with another precision matrix.
    pub(crate) fn like_precision(&self, precision: &DMatrix<f64>) -> Self {
        let names: Vec<&str> = self.graph.node_weights().map(|node| node.task.as_str()).collect();
        TaskGraph::of_precision(&names, precision)
    }

    /// How many tasks there are.
    pub fn len(&self) -> usize {
        self.graph.node_count()
    }

    /// Whether there is no task.
    pub fn is_empty(&self) -> bool {
        self.graph.node_count() == 0
    }

    /// The petgraph graph.
    pub fn as_petgraph(&self) -> &UnGraph<Node, Edge> {
        &self.graph
    }

    /// The node of task `t`.
    pub fn node(&self, t: usize) -> &Node {
        &self.graph[NodeIndex::new(t)]
    }

    /// The edge between two tasks, if any.
    pub fn edge(&self, s: usize, t: usize) -> Option<&Edge> {
        self.graph.find_edge(NodeIndex::new(s), NodeIndex::new(t)).map(|edge| &self.graph[edge])
    }

    /// All edges as (s, t, edge) with s < t, in ascending order.
    pub fn edges(&self) -> impl Iterator<Item = (usize, usize, &Edge)> {
        let mut edges: Vec<_> = self
            .graph
            .edge_references()
            .map(|e| {
                let (s, t) = (e.source().index(), e.target().index());
                (s.min(t), s.max(t), e.weight())
            })
            .collect();
        edges.sort_by_key(|(s, t, _)| (*s, *t));
        edges.into_iter()
    }

    /// The edges from the strongest to the weakest.
    pub fn strongest(&self) -> Vec<(usize, usize, &Edge)> {
        let mut edges: Vec<_> = self.edges().collect();
        edges.sort_by(|a, b| b.2.strength().total_cmp(&a.2.strength()));
        edges
    }

    /// Tasks joined to `t`, ascending.
    pub fn neighbours(&self, t: usize) -> Vec<usize> {
        let mut near: Vec<usize> = self.graph.neighbors(NodeIndex::new(t)).map(|n| n.index()).collect();
        near.sort_unstable();
        near
    }

    /// Sets the diagonal element of task `t`; call before its edges, whose partial correlations use it.
    pub fn set_diagonal(&mut self, t: usize, precision: f64) {
        self.graph[NodeIndex::new(t)].precision = precision;
    }

    /// Sets the element between `s` and `t`.
    pub fn connect(&mut self, s: usize, t: usize, precision: f64, probability: Option<f64>) {
        let scale = (self.node(s).precision * self.node(t).precision).sqrt();
        let edge =
            Edge { precision, partial_correlation: -precision / scale, probability, sign_probability: None, interval: None, score: None };
        self.graph.update_edge(NodeIndex::new(s), NodeIndex::new(t), edge);
    }

    /// Takes the edge between `s` and `t` away, if there is one.
    pub(crate) fn disconnect(&mut self, s: usize, t: usize) {
        if let Some(edge) = self.graph.find_edge(NodeIndex::new(s), NodeIndex::new(t)) {
            self.graph.remove_edge(edge);
        }
    }

    /// As [`TaskGraph::connect`] with everything that is known of the edge; its precision follows from the partial correlation.
    pub fn connect_uncertain(&mut self, s: usize, t: usize, edge: Edge) {
        let scale = (self.node(s).precision * self.node(t).precision).sqrt();
        let edge = Edge { precision: -edge.partial_correlation * scale, ..edge };
        self.graph.update_edge(NodeIndex::new(s), NodeIndex::new(t), edge);
    }

    /// Sets the element of an edge; all else that is known of it stays.
    pub(crate) fn set_precision(&mut self, s: usize, t: usize, precision: f64) {
        let scale = (self.node(s).precision * self.node(t).precision).sqrt();
        if let Some(edge) = self.graph.find_edge(NodeIndex::new(s), NodeIndex::new(t)) {
            self.graph[edge].precision = precision;
            self.graph[edge].partial_correlation = -precision / scale;
        }
    }

    /// The same tasks and edges with other elements: those on the diagonal, then those of the edges in ascending order.
    pub(crate) fn with_precisions(&self, values: &[f64]) -> TaskGraph {
        let mut graph = self.clone();
        (0..self.len()).for_each(|t| graph.set_diagonal(t, values[t]));
        self.edges().zip(&values[self.len()..]).for_each(|((s, t, _), value)| graph.set_precision(s, t, *value));
        graph
    }

    /// The same tasks with the same precisions and no edge.
    pub fn without_edges(&self) -> TaskGraph {
        TaskGraph { graph: self.graph.filter_map(|_, node| Some(node.clone()), |_, _| None) }
    }

    /// The median probability model (Barbieri and Berger 2004): the edges more likely than not.
    pub fn likely(&self) -> TaskGraph {
        let mut likely = self.without_edges();
        for (s, t, edge) in self.edges().filter(|(_, _, edge)| edge.probability.is_some_and(|p| p > 0.5)) {
            likely.connect_uncertain(s, t, edge.clone());
        }
        likely
    }

    /// The largest set of the most probable edges whose expected share of false ones, the mean of 1 - probability, is at
    /// most `rate` (Newton et al. 2004). Edges without a probability are left out.
    ///
    /// ```
    /// use cognate::TaskGraph;
    /// let mut graph = TaskGraph::empty(&["a", "b", "c"]);
    /// graph.connect(0, 1, -0.4, Some(0.99));
    /// graph.connect(1, 2, -0.2, Some(0.80));
    /// assert_eq!(graph.at_false_discovery_rate(0.05).edges().count(), 1);
    /// assert_eq!(graph.at_false_discovery_rate(0.11).edges().count(), 2);
    /// ```
    pub fn at_false_discovery_rate(&self, rate: f64) -> TaskGraph {
        let mut edges: Vec<(f64, usize, usize)> = self.edges().filter_map(|(s, t, edge)| Some((1.0 - edge.probability?, s, t))).collect();
        edges.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut sum = 0.0;
        // The running mean of an ascending sequence ascends.
        let kept = edges
            .iter()
            .enumerate()
            .take_while(|(i, (false_probability, _, _))| {
                sum += false_probability;
                sum <= rate * (i + 1) as f64
            })
            .count();
        let mut graph = self.without_edges();
        for (_, s, t) in &edges[..kept] {
            if let Some(edge) = self.edge(*s, *t) {
                graph.graph.update_edge(NodeIndex::new(*s), NodeIndex::new(*t), edge.clone());
            }
        }
        graph
    }

    /// The connected components, each ascending, ordered by their first task. O(T + edges).
    pub fn components(&self) -> Vec<Vec<usize>> {
        let mut sets = petgraph::unionfind::UnionFind::<usize>::new(self.graph.node_bound());
        for edge in self.graph.edge_references() {
            sets.union(edge.source().index(), edge.target().index());
        }
        grouped((0..self.len()).map(|t| sets.find(t)))
    }

    /// The dense precision matrix. O(T^2).
    pub fn precision(&self) -> DMatrix<f64> {
        let mut matrix = DMatrix::zeros(self.len(), self.len());
        for t in 0..self.len() {
            matrix[(t, t)] = self.node(t).precision;
        }
        for (s, t, edge) in self.edges() {
            matrix[(s, t)] = edge.precision;
            matrix[(t, s)] = edge.precision;
        }
        matrix
    }

    /// Every precision multiplied by `factor`; partial correlations and probabilities stay.
    pub fn scaled(mut self, factor: f64) -> Self {
        self.graph.node_weights_mut().for_each(|node| node.precision *= factor);
        self.graph.edge_weights_mut().for_each(|edge| edge.precision *= factor);
        self
    }
}

/// Tasks with the same label, each group ascending, ordered by their first.
fn grouped(labels: impl Iterator<Item = usize>) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut place = HashMap::new();
    for (t, label) in labels.enumerate() {
        let group = *place.entry(label).or_insert(groups.len());
        groups.resize_with(groups.len().max(group + 1), Vec::new);
        groups[group].push(t);
    }
    groups
}

impl PartialEq for TaskGraph {
    fn eq(&self, other: &Self) -> bool {
        self.graph.node_weights().eq(other.graph.node_weights()) && self.edges().eq(other.edges())
    }
}

/// The form a graph has in files: ours, whatever petgraph does.
#[derive(Clone, Serialize, Deserialize)]
struct Record {
    nodes: Vec<Node>,
    edges: Vec<EdgeRecord>,
}

#[derive(Clone, Serialize, Deserialize)]
struct EdgeRecord {
    source: usize,
    target: usize,
    #[serde(flatten)]
    edge: Edge,
}

impl From<TaskGraph> for Record {
    fn from(graph: TaskGraph) -> Record {
        let edges = graph.edges().map(|(source, target, edge)| EdgeRecord { source, target, edge: edge.clone() }).collect();
        Record { nodes: graph.graph.node_weights().cloned().collect(), edges }
    }
}

impl TryFrom<Record> for TaskGraph {
    type Error = Error;
    fn try_from(record: Record) -> Result<TaskGraph> {
        let tasks = record.nodes.len();
        let mut graph = UnGraph::with_capacity(tasks, record.edges.len());
        for node in record.nodes {
            graph.add_node(node);
        }
        for edge in record.edges {
            if edge.source >= tasks || edge.target >= tasks {
                return Err(Error::Shape { what: "an edge's task".into(), found: edge.source.max(edge.target), expected: tasks });
            }
            graph.update_edge(NodeIndex::new(edge.source), NodeIndex::new(edge.target), edge.edge);
        }
        Ok(TaskGraph { graph })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> TaskGraph {
        let omega = DMatrix::from_row_slice(3, 3, &[2.0, -0.5, 0.0, -0.5, 1.0, 0.25, 0.0, 0.25, 1.5]);
        TaskGraph::of_precision(&["a \"quoted\"", "b", "c"], &omega)
    }

    #[test]
    fn precision_matrix_goes_in_and_comes_out() {
        let graph = graph();
        assert_eq!(graph.precision()[(0, 1)], -0.5);
        assert_eq!(graph.precision()[(0, 2)], 0.0);
        assert!((graph.edge(1, 0).unwrap().partial_correlation - 0.5 / 2f64.sqrt()).abs() < 1e-15);
        assert_eq!(graph.strongest()[0].0, 0);
    }

    #[test]
    fn serde_keeps_everything() {
        let graph = graph();
        let text = serde_json::to_string(&graph).unwrap();
        assert_eq!(serde_json::from_str::<TaskGraph>(&text).unwrap(), graph);
        assert!(
            serde_json::from_str::<TaskGraph>(
                r#"{"nodes":[],"edges":[{"source":0,"target":1,"precision":1.0,"partial_correlation":0.1,"probability":null}]}"#
            )
            .is_err()
        );
    }
}
