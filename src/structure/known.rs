//! Relatedness given by the user: a graph whose neighbours are alike, or a task covariance; only its strength is learned.

use super::feature_covariance::{FactorSpace, FeatureCovariance};
use super::{Setting, Smooth, Structure};
use crate::error::{Error, Result};
use crate::graph::TaskGraph;
use crate::likelihood::Dispersion;
use crate::linalg;
use crate::posterior::Posterior;
use crate::prior::{Prior, Relatedness};
use nalgebra::DMatrix;
use std::collections::HashMap;

/// What is known of how tasks are related, by task name; an element (s, t, value) stands for (t, s) too.
///
/// ```
/// use cognate::KnownRelation;
/// let neighbours = KnownRelation::Graph(vec![("north".into(), "south".into(), 1.0)]);
/// assert!(matches!(neighbours, KnownRelation::Graph(_)));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum KnownRelation {
    /// Weights of edges, positive. Tasks that no edge names stand alone; edges of tasks without data are left out.
    Graph(Vec<(String, String, f64)>),
    /// Elements of the covariance of the tasks, the diagonal among them; what is not given is 0.
    Covariance(Vec<(String, String, f64)>),
}

/// Omega = I + gamma (D - W) up to a scale, with W the weights of a graph and D their row sums: a Laplacian prior of learned strength
/// gamma on a nugget, proper on every component (Besag, York and Mollie 1991); or Sigma as given. The common mean is profiled.
///
/// ```
/// use cognate::{FeatureCovariance, Known, KnownRelation, Structure};
/// let chain = KnownRelation::Graph(vec![("a".into(), "b".into(), 1.0), ("b".into(), "c".into(), 1.0)]);
/// assert_eq!(Known::new(FeatureCovariance::Diagonal, chain).name(), "known");
/// ```
#[derive(Clone, Debug)]
pub struct Known {
    space: FactorSpace,
    relation: KnownRelation,
    /// D - W on the tasks of the data, once they are known.
    laplacian: Option<TaskGraph>,
}

/// Bounds of log gamma: beyond them neighbours are all the same, or strangers.
const REACH: f64 = 12.0;

impl Known {
    /// With K of that shape.
    pub fn new(covariance: FeatureCovariance, relation: KnownRelation) -> Self {
        Known { space: FactorSpace::new(covariance), relation, laplacian: None }
    }

    /// c (I + gamma (D - W)) with tr Omega = T: at that scale K hardly depends on gamma.
    fn precision(laplacian: &TaskGraph, log_gamma: f64) -> TaskGraph {
        let gamma = log_gamma.exp();
        let scale = Self::scale(laplacian, gamma);
        let mut omega = laplacian.clone();
        (0..omega.len()).for_each(|t| omega.set_diagonal(t, scale * (1.0 + gamma * laplacian.node(t).precision)));
        laplacian.edges().for_each(|(s, t, edge)| omega.set_precision(s, t, scale * gamma * edge.precision));
        omega
    }

    /// c, 1 / (1 + gamma (mean degree)).
    fn scale(laplacian: &TaskGraph, gamma: f64) -> f64 {
        let degrees: f64 = (0..laplacian.len()).map(|t| laplacian.node(t).precision).sum();
        1.0 / (1.0 + gamma * degrees / laplacian.len() as f64)
    }

    /// Gamma by one edge (or task) of it.
    fn log_gamma(laplacian: &TaskGraph, omega: &TaskGraph) -> f64 {
        let Some((s, t, edge)) = laplacian.edges().next() else { return 0.0 };
        // The fit may have moved a scale between Omega and K: Omega = c (I + gamma L).
        let (own, degree) = (omega.node(s).precision, laplacian.node(s).precision);
        let scaled = omega.edge(s, t).map_or(0.0, |e| e.precision) / edge.precision;
        (scaled / (own - scaled * degree)).ln().clamp(-REACH, REACH)
    }
}

/// The elements that name two tasks, by their positions.
fn placed(names: &[String], elements: &[(String, String, f64)]) -> Vec<(usize, usize, f64)> {
    let place: HashMap<&str, usize> = names.iter().enumerate().map(|(t, name)| (name.as_str(), t)).collect();
    elements.iter().filter_map(|(s, t, value)| Some((*place.get(s.as_str())?, *place.get(t.as_str())?, *value))).collect()
}

fn laplacian(names: &[String], edges: &[(String, String, f64)]) -> Result<TaskGraph> {
    if let Some((s, t, weight)) = edges.iter().find(|(_, _, weight)| !(*weight > 0.0 && weight.is_finite())) {
        return Err(Error::Arguments(format!(
            "the edge {s} -- {t} of --graph has weight {weight}; give a positive one, or negative relations by --covariance"
        )));
    }
    let placed = placed(names, edges);
    if placed.iter().all(|(s, t, _)| s == t) {
        return Err(Error::Arguments("no edge of --graph joins two tasks of the data; check how the tasks are named".into()));
    }
    let mut graph = TaskGraph::empty(names);
    (0..names.len()).for_each(|t| graph.set_diagonal(t, 0.0));
    let between: Vec<(usize, usize, f64)> = placed.into_iter().filter(|(s, t, _)| s != t).collect();
    let largest = between.iter().map(|(_, _, weight)| *weight).fold(0.0, f64::max);
    let mean = between.iter().map(|(_, _, weight)| weight / largest).sum::<f64>() / between.len() as f64;
    // Only ratios of weights matter: their unit is gamma's, whose search is bounded.
    for (s, t, weight) in between.into_iter().map(|(s, t, weight)| (s, t, weight / largest / mean)) {
        let before = graph.edge(s, t).map_or(0.0, |edge| edge.precision);
        // An edge listed in both directions is one edge.
        if before == 0.0 {
            graph.connect(s, t, -weight, None);
            [s, t].iter().for_each(|end| graph.set_diagonal(*end, graph.node(*end).precision + weight));
        } else if before != -weight {
            return Err(Error::Arguments(format!(
                "the edge {} -- {} of --graph has two weights; leave one out",
                graph.node(s).task,
                graph.node(t).task
            )));
        }
    }
    Ok(graph)
}

fn covariance(names: &[String], elements: &[(String, String, f64)]) -> Result<DMatrix<f64>> {
    let tasks = names.len();
    let mut sigma = DMatrix::<f64>::zeros(tasks, tasks);
    for (s, t, value) in placed(names, elements) {
        let before = sigma[(s, t)];
        if before != 0.0 && (value - before).abs() > 1e-9 * value.abs().max(before.abs()) {
            return Err(Error::Arguments(format!(
                "--covariance has two values between '{}' and '{}', {before} and {value}; it must be symmetric",
                names[s], names[t]
            )));
        }
        let value = if before == 0.0 { value } else { 0.5 * (before + value) };
        (sigma[(s, t)], sigma[(t, s)]) = (value, value);
    }
    if let Some(t) = (0..tasks).find(|t| sigma[(*t, *t)] <= 0.0) {
        return Err(Error::Arguments(format!(
            "--covariance has no positive variance for task '{}'; every task of the data needs one",
            names[t]
        )));
    }
    let sigma = &sigma * (tasks as f64 / sigma.trace());
    match linalg::cholesky(sigma.clone()) {
        Some(_) => Ok(sigma),
        None => Err(Error::NotPositiveDefinite {
            matrix: "the task covariance of --covariance".into(),
            remedy: "correct it, or add a little to its diagonal".into(),
        }),
    }
}

impl Structure for Known {
    fn name(&self) -> &'static str {
        "known"
    }

    fn feature_covariance(&self) -> Option<FeatureCovariance> {
        Some(self.space.kind)
    }

    fn start(&mut self, setting: &Setting) -> Result<(Prior, Option<Dispersion>)> {
        let relatedness = match &self.relation {
            KnownRelation::Covariance(elements) => Relatedness::Dense(covariance(setting.names, elements)?),
            KnownRelation::Graph(edges) => {
                let own = laplacian(setting.names, edges)?;
                let omega = Self::precision(&own, 0.0);
                self.laplacian = Some(own);
                Relatedness::Graph(omega)
            }
        };
        // What all tasks have in common is the mean's: a Sigma of little else asks for a larger K, far from which 0 is an optimum too.
        let between = match &relatedness {
            Relatedness::Dense(sigma) if sigma.nrows() > 1 => linalg::variance_between(sigma).max(1e-12 * sigma.trace()),
            _ => 1.0,
        };
        Ok((setting.prior(setting.mean.clone(), relatedness, self.space.start_at(setting, between)), None))
    }

    fn update(&mut self, posterior: &Posterior) -> Result<Prior> {
        Ok(self.space.step(posterior))
    }

    fn relates(&self) -> bool {
        true
    }

    fn parameters(&self, prior: &Prior) -> usize {
        self.space.len(prior) + usize::from(self.laplacian.is_some())
    }

    fn smooth(&self) -> Option<&dyn Smooth> {
        Some(self)
    }
}

/// K's coordinates and log gamma.
impl Smooth for Known {
    fn coordinates(&self, prior: &Prior) -> Vec<f64> {
        let mut point = self.space.coordinates(prior);
        if let (Some(laplacian), Relatedness::Graph(omega)) = (&self.laplacian, &prior.relatedness) {
            point.push(Self::log_gamma(laplacian, omega));
        }
        point
    }

    fn at(&self, point: &[f64], like: &Prior) -> Option<Prior> {
        let (own, rest) = point.split_at(self.space.len(like));
        let relatedness = match (&self.laplacian, rest) {
            (Some(laplacian), [log_gamma]) => Relatedness::Graph(Self::precision(laplacian, log_gamma.clamp(-REACH, REACH))),
            _ => like.relatedness.clone(),
        };
        Some(Prior { relatedness, ..self.space.at(own, like)? })
    }

    /// d log-likelihood / d log gamma = tr((r Sigma - M) dOmega) / 2 with dOmega = c (Omega - I), by tr(M Omega) = T tr F.
    fn slope(&self, posterior: &Posterior) -> Vec<f64> {
        let mut slope = self.space.slope(posterior);
        let related = posterior.related();
        if let (Some(laplacian), Relatedness::Graph(omega)) = (&self.laplacian, &posterior.prior().relatedness) {
            let log_gamma = Self::log_gamma(laplacian, omega);
            let moment = related.feature_moment();
            let along = omega.len() as f64 * (moment.nrows() as f64 - moment.trace());
            let alone = omega.without_edges();
            let (expected, own) = (related.prior_task_moment_on_graph(&alone), related.task_moment_on_graph(&alone));
            let spread: f64 = expected.iter().zip(&own).map(|(prior, own)| prior - own).sum();
            let inside = log_gamma.abs() < REACH;
            slope.push(if inside { 0.5 * Self::scale(laplacian, log_gamma.exp()) * (along - spread) } else { 0.0 });
        }
        slope
    }

    fn of_features(&self) -> Option<&dyn Smooth> {
        Some(&self.space)
    }

    /// The strength of the relations too.
    fn carried(&self, prior: &Prior) -> usize {
        self.coordinates(prior).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::likelihood::{Gaussian, Observations};
    use crate::prior::{Groups, Mean};
    use crate::tasks::{Coordinates, Design, Rows};

    #[test]
    fn the_unit_of_weights_and_a_rounding_error_do_not_matter() {
        let names: Vec<String> = ["a", "b", "c"].map(String::from).to_vec();
        let pair = |s: &str, t: &str, value: f64| (s.to_string(), t.to_string(), value);
        let of = |unit: f64| laplacian(&names, &[pair("a", "b", unit), pair("b", "c", 3.0 * unit)]).unwrap();
        for unit in [1e-300, 1e-7, 1e200] {
            assert!((of(unit).precision() - of(1.0).precision()).amax() < 1e-12);
        }
        assert!((of(1.0).edge(1, 2).unwrap().precision + 1.5).abs() < 1e-12);
        let own = [pair("a", "a", 1.0), pair("b", "b", 1.0), pair("c", "c", 1.0), pair("a", "b", 0.3)];
        let with = |value: f64| covariance(&names, &[&own[..], &[pair("b", "a", value)]].concat());
        assert_eq!(with(0.3 + 1e-15).unwrap()[(0, 1)], with(0.3 + 1e-15).unwrap()[(1, 0)]);
        assert!(with(0.31).unwrap_err().to_string().contains("0.3 and 0.31"));
    }

    #[test]
    fn slopes_are_finite_differences() {
        let mut rows = Rows::new("y", &["a", "b", "c"]);
        let uneven = |i: usize, k: usize| ((i * 37 + k * 101 + i * i * (k + 3)) % 97) as f64 / 30.0 - 1.5;
        for i in 0..60 {
            rows.push(&format!("t{}", i % 6), &[uneven(i, 0), uneven(i, 1), uneven(i, 2)], uneven(i, 3), 1.0).unwrap();
        }
        let tasks = rows.tasks(&Design::varying(rows.features()).without_intercept());
        let data = Observations::new(&tasks, &Coordinates::identity(tasks.design()));
        let likelihood = Gaussian::default();
        let setting = Setting {
            data: &data,
            names: tasks.names(),
            mean_features: &[0, 1, 2],
            varying: &[0, 1, 2],
            unrelated: &[],
            intercept: None,
            mean: &Mean::Profiled,
            mean_precision: &nalgebra::DMatrix::zeros(0, 0),
            noise: 0.3,
            groups: &Groups::default(),
            likelihood: &likelihood,
        };
        let pair = |s: usize, t: usize, weight: f64| (format!("t{s}"), format!("t{t}"), weight);
        let edges = vec![pair(0, 1, 1.0), pair(1, 0, 1.0), pair(1, 2, 0.5), pair(2, 3, 2.0), pair(3, 0, 1.0), pair(4, 9, 1.0)];
        // Every shape of K, with all features related and with one that is not.
        let points: [(FeatureCovariance, &[usize], &[f64]); 4] = [
            (FeatureCovariance::Diagonal, &[], &[1.3, 0.8, 2.0, 0.4]),
            (FeatureCovariance::Full, &[], &[1.3, 0.2, -0.4, 0.8, 0.5, 2.0, 0.4]),
            (FeatureCovariance::Full, &[1], &[1.3, -0.4, 2.0, 0.8, 0.4]),
            (FeatureCovariance::Scalar, &[0], &[1.3, 0.7, 0.4]),
        ];
        for (kind, unrelated, point) in points {
            let mut structure = Known::new(kind, KnownRelation::Graph(edges.clone()));
            let (prior, _) = structure.start(&Setting { unrelated, ..setting }).unwrap();
            let quadratics = likelihood.quadratics(&data, &Dispersion::shared(0.3));
            let value = |point: &[f64]| Posterior::given(&quadratics, &structure.at(point, &prior).unwrap()).unwrap().log_likelihood();
            let slope = structure.slope(&Posterior::given(&quadratics, &structure.at(point, &prior).unwrap()).unwrap());
            assert_eq!(slope.len(), point.len());
            for (k, expected) in linalg::differences(value, point, 1e-5).into_iter().enumerate() {
                assert!((slope[k] - expected).abs() < 1e-5 * (1.0 + expected.abs()), "{kind:?} {k}: {} against {expected}", slope[k]);
            }
        }
    }
}
