//! Coordinates of Omega with given edges in which all directions are about as well determined, so that few steps reach an optimum.

use crate::graph::TaskGraph;
use crate::linalg;
use nalgebra::DMatrix;

/// Most coordinates of a component that are made round together; those of larger ones are scaled one by one.
const MOST: usize = 4_000;

/// A linear map of the logarithms of Omega's diagonal and its elements on the edges, component by component: y = C' x / scale with
/// C C' = H, the information that a known draw from N(0, Omega^-1) has on x, at the Omega it was made from.
#[derive(Clone, Debug)]
pub(crate) struct Natural {
    components: Vec<Component>,
    scale: f64,
}

#[derive(Clone, Debug)]
struct Component {
    /// Which of the coordinates x: tasks first, then edges in the order of the graph.
    places: Vec<usize>,
    /// Lower C, or its diagonal as a column.
    root: DMatrix<f64>,
}

/// A coordinate's tasks: the same twice for an element of the diagonal.
type Ends = (usize, usize);

impl Natural {
    /// At the precision matrix of `graph`; r draws have curvature r scale^2 in every direction of y. O(k^3) for a component of k tasks and edges.
    pub(crate) fn at(graph: &TaskGraph, scale: f64) -> Self {
        let tasks = graph.len();
        let components = graph.components();
        let mut owner = vec![0; tasks];
        components.iter().enumerate().for_each(|(c, members)| members.iter().for_each(|t| owner[*t] = c));
        let mut lists: Vec<Vec<(usize, Ends)>> =
            components.iter().map(|members| members.iter().map(|t| (*t, (*t, *t))).collect()).collect();
        graph.edges().enumerate().for_each(|(k, (s, t, _))| lists[owner[s]].push((tasks + k, (s, t))));
        let components = components.iter().zip(lists).map(|(members, list)| Component::at(graph, members, &list)).collect();
        Natural { components, scale }
    }

    /// y of x.
    pub(crate) fn of(&self, x: &[f64]) -> Vec<f64> {
        self.mapped(x, |own, root| root.tr_mul(own) / self.scale, |value, root| value * root / self.scale)
    }

    /// x of y.
    pub(crate) fn back(&self, y: &[f64]) -> Vec<f64> {
        let whole = |own: &DMatrix<f64>, root: &DMatrix<f64>| {
            let mut own = own * self.scale;
            linalg::solve_lower_transpose(root.as_slice(), root.nrows(), own.as_mut_slice());
            own
        };
        self.mapped(y, whole, |value, root| value * self.scale / root)
    }

    /// The slope in y of a slope in x.
    pub(crate) fn slope(&self, slope: &[f64]) -> Vec<f64> {
        let whole = |own: &DMatrix<f64>, root: &DMatrix<f64>| {
            let mut own = own * self.scale;
            linalg::solve_lower_matrix(root, &mut own);
            own
        };
        self.mapped(slope, whole, |value, root| value * self.scale / root)
    }

    fn mapped(
        &self,
        values: &[f64],
        whole: impl Fn(&DMatrix<f64>, &DMatrix<f64>) -> DMatrix<f64>,
        each: impl Fn(f64, f64) -> f64,
    ) -> Vec<f64> {
        let mut mapped = vec![0.0; values.len()];
        for Component { places, root } in &self.components {
            if root.is_square() {
                let own = DMatrix::from_fn(places.len(), 1, |i, _| values[places[i]]);
                places.iter().zip(whole(&own, root).iter()).for_each(|(place, value)| mapped[*place] = *value);
            } else {
                places.iter().zip(root.iter()).for_each(|(place, root)| mapped[*place] = each(values[*place], *root));
            }
        }
        mapped
    }
}

impl Component {
    fn at(graph: &TaskGraph, members: &[usize], list: &[(usize, Ends)]) -> Self {
        let places = list.iter().map(|(place, _)| *place).collect();
        let position = |t: usize| members.binary_search(&t).expect("a component's own task");
        let unit = |(s, t): Ends| if s == t { graph.node(s).precision } else { 1.0 };
        let n = members.len();
        let mut omega = DMatrix::from_fn(n, n, |i, j| if i == j { graph.node(members[i]).precision } else { 0.0 });
        let ends: Vec<Ends> = list.iter().map(|(_, (s, t))| (position(*s), position(*t))).collect();
        for (_, (s, t)) in list.iter().filter(|(_, (s, t))| s != t) {
            let value = graph.edge(*s, *t).map_or(0.0, |edge| edge.precision);
            (omega[(position(*s), position(*t))], omega[(position(*t), position(*s))]) = (value, value);
        }
        let sigma = linalg::cholesky(omega).filter(|_| list.len() <= MOST).map(|root| linalg::inverse_of_cholesky(&root));
        let whole = sigma.and_then(|sigma| {
            // H_ab = tr(Sigma E_a Sigma E_b) / 2 with E_a the elements that coordinate a moves.
            let information = DMatrix::from_fn(list.len(), list.len(), |a, b| {
                let ((s, t), (u, v)) = (ends[a], ends[b]);
                let both = sigma[(s, u)] * sigma[(t, v)] + sigma[(s, v)] * sigma[(t, u)];
                let weight = match (s == t, u == v) {
                    (true, true) => 0.25,
                    (false, false) => 1.0,
                    _ => 0.5,
                };
                weight * both * unit(list[a].1) * unit(list[b].1)
            });
            linalg::cholesky(information)
        });
        // Of tasks that are not related: 1/2 on a logarithm, and 1 / (omega_ss omega_tt) on an edge.
        let root = whole.unwrap_or_else(|| {
            DMatrix::from_fn(list.len(), 1, |a, _| {
                let (s, t) = list[a].1;
                if s == t { 0.5f64.sqrt() } else { (graph.node(s).precision * graph.node(t).precision).sqrt().recip() }
            })
        });
        Component { places, root }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> TaskGraph {
        let mut omega = DMatrix::identity(6, 6) * 1.5;
        omega[(1, 1)] = 2.5;
        for (s, t, value) in [(0, 1, -0.6), (1, 2, 0.5), (0, 2, 0.3), (4, 5, -0.4)] {
            (omega[(s, t)], omega[(t, s)]) = (value, value);
        }
        TaskGraph::of_precision(&["a", "b", "c", "d", "e", "f"], &omega)
    }

    fn moved(graph: &TaskGraph, x: &[f64]) -> f64 {
        let mut there = graph.clone();
        (0..graph.len()).for_each(|t| there.set_diagonal(t, x[t].exp()));
        graph.edges().zip(&x[graph.len()..]).for_each(|((s, t, _), value)| there.set_precision(s, t, *value));
        let sigma = graph.precision().try_inverse().unwrap();
        let omega = there.precision();
        0.5 * ((&omega * sigma).trace() - linalg::log_determinant(&linalg::cholesky(omega).unwrap()))
    }

    fn coordinates(graph: &TaskGraph) -> Vec<f64> {
        let diagonal = (0..graph.len()).map(|t| graph.node(t).precision.ln());
        diagonal.chain(graph.edges().map(|(_, _, edge)| edge.precision)).collect()
    }

    /// The expected log-likelihood of a draw has curvature scale^2 in every direction of y, by finite differences.
    #[test]
    fn the_likelihood_is_round() {
        let graph = graph();
        let natural = Natural::at(&graph, 6f64.sqrt());
        let (x, h) = (coordinates(&graph), 1e-3);
        let y = natural.of(&x);
        let value = |steps: &[(usize, f64)]| {
            let mut there = y.clone();
            steps.iter().for_each(|(k, step)| there[*k] += step);
            moved(&graph, &natural.back(&there))
        };
        for a in 0..y.len() {
            for b in 0..y.len() {
                let both = value(&[(a, h), (b, h)]) - value(&[(a, h), (b, -h)]) - value(&[(a, -h), (b, h)]) + value(&[(a, -h), (b, -h)]);
                let (found, expected) = (both / (4.0 * h * h), if a == b { 6.0 } else { 0.0 });
                assert!((found - expected).abs() < 0.02, "{a} {b}: {found}");
            }
        }
        assert!(x.iter().zip(natural.back(&y)).all(|(a, b)| (a - b).abs() < 1e-12));
    }
}
