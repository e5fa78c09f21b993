//! Is there structure beyond exchangeable tasks? The same edge sampler on data that have none.

use super::{Fit, Visibility};
use crate::em::{self, Stop};
use crate::error::{Error, Result};
use crate::graph::TaskGraph;
use crate::likelihood::{Gaussian, Likelihood, Noise, Observations};
use crate::linalg::{self, normal};
use crate::posterior::Posterior;
use crate::prior::{Mean, Prior, Relatedness};
use crate::quadratic::Quadratics;
use crate::structure::{CorrelationDraws, EdgeMethod, Exchangeable, FeatureCovariance, Graph, Setting, Structure};
use nalgebra::{DMatrix, DVector};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{ChiSquared, Distribution};
use rayon::prelude::*;

/// How data without relations between tasks are made from data that may have some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Null {
    /// Parameters and targets drawn anew from the exchangeable model, the features as they are.
    Parametric,
    /// The feature space of every task rotated by a random rotation of its own (in coordinates in which K is the identity): the
    /// tasks keep their estimates' sizes and their noise, and lose what they have in common.
    Rotation,
}

/// Edges sampled from one data set.
#[derive(Clone, Debug)]
pub struct SampledEdges {
    /// Every pair with a probability worth naming.
    pub graph: TaskGraph,
    /// Sum of the probabilities of all pairs, named or not.
    pub expected: f64,
    /// How weak a relation could have been seen.
    pub visibility: Visibility,
}

/// The edges of a model's tasks beside those of data without relations.
#[derive(Clone, Debug)]
pub struct NullTest {
    /// From the model's data.
    pub observed: SampledEdges,
    /// From each null.
    pub nulls: Vec<SampledEdges>,
}

impl NullTest {
    /// (1 + nulls that expect at least as many edges) / (1 + nulls), for "there is no structure beyond exchangeable tasks".
    pub fn p_value(&self) -> f64 {
        let beyond = self.nulls.iter().filter(|null| null.expected >= self.observed.expected).count();
        (1 + beyond) as f64 / (1 + self.nulls.len()) as f64
    }

    /// Mean number of edges that the nulls expect.
    pub fn expected_of_nulls(&self) -> f64 {
        self.nulls.iter().map(|null| null.expected).sum::<f64>() / self.nulls.len().max(1) as f64
    }

    /// Nulls with any edge at that false discovery rate.
    pub fn with_any_edge(&self, rate: f64) -> usize {
        self.nulls.iter().filter(|null| null.graph.at_false_discovery_rate(rate).edges().next().is_some()).count()
    }
}

impl Fit {
    /// Samples edge probabilities anew by the method of `graph`, at the exchangeable fit to the statistics of this model, whatever
    /// its own structure.
    ///
    /// # Errors
    /// [`Error::Arguments`] for [`EdgeMethod::Fast`](crate::EdgeMethod::Fast), which samples nothing, and what
    /// [`Model::fit`](crate::Model::fit) refuses.
    pub fn sample_edges(&self, graph: &Graph) -> Result<SampledEdges> {
        self.edges_of_own(&Observations::new(self.tasks(), self.coordinates()), graph)
    }

    /// The draws of the sampler of edges by the correlations that they imply, of all pairs or those of one task: where the fit was sampled so, the very draws
    /// of its edge probabilities. Of a family, and of rows that tasks share, K and what the rows say are those of the fit itself.
    ///
    /// # Errors
    /// As [`Fit::sample_edges`], and for tasks too many to be sampled exactly.
    pub(crate) fn edge_draws(&self, only: Option<usize>, (draws, seed): (usize, u64)) -> Result<CorrelationDraws> {
        let tasks = self.tasks().len();
        if !matches!(EdgeMethod::Auto.for_tasks(tasks), EdgeMethod::Exact { .. }) {
            return Err(Error::Arguments(format!(
                "the edges of {tasks} tasks are sampled by an approximation that has no joint draws of correlations; 'cognate graph' has the edges with their intervals"
            )));
        }
        let (mut prior, quadratics) = match self.sites.is_some() {
            true => (Prior { relatedness: Relatedness::Identity, ..self.prior().clone() }, self.quadratics()?),
            false => self.exchangeable_or_own(&Observations::new(self.tasks(), self.coordinates()))?,
        };
        let covariance = self.feature_covariance_kind().unwrap_or(FeatureCovariance::Diagonal);
        let graph = Graph::new(covariance).with_edges(EdgeMethod::Exact { sweeps: draws }).with_seed(seed);
        let graph = graph.with_rule(self.candidates().cloned().unwrap_or_default()).among(self.tasks().names());
        let mut graph = graph.keeping(CorrelationDraws::new(tasks, only, draws)?);
        // The first update may only leave out directions without variance.
        for _ in 0..2 {
            let posterior = Posterior::given(&quadratics, &prior)?;
            prior = graph.update(&posterior)?;
            if graph.edge_probabilities().is_some() {
                break;
            }
        }
        let kept = graph.kept().filter(|kept| kept.len() > 0);
        kept.ok_or_else(|| {
            Error::Arguments("no feature varies between the tasks, so that there is nothing in which they could be related".into())
        })
    }

    /// Compares the edges of this model's data with those of `count` data sets without relations; the same for the same seed
    /// whatever the thread count. `progress` is called after each.
    ///
    /// ```no_run
    /// use cognate::{FeatureCovariance, Fit, Graph, Null};
    /// let fit = Fit::load("school.cognate")?;
    /// let test = fit.null_test(Null::Rotation, &Graph::new(FeatureCovariance::Diagonal), 200, 0, &|| {})?;
    /// println!("p = {:.3}", test.p_value());
    /// # Ok::<(), cognate::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Fit::sample_edges`].
    pub fn null_test(&self, null: Null, graph: &Graph, count: usize, seed: u64, progress: &(dyn Fn() + Sync)) -> Result<NullTest> {
        let data = Observations::new(self.tasks(), self.coordinates());
        let (prior, quadratics) = self.exchangeable(&data)?;
        let posterior = Posterior::given(&quadratics, &prior)?;
        let nulls = (0..count as u64)
            .into_par_iter()
            .map(|k| {
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                random.set_stream(k + 1);
                let drawn = match null {
                    Null::Parametric => redrawn(&data, &quadratics, &posterior, &mut random),
                    Null::Rotation => rotated(&data, &posterior, &mut random),
                };
                let edges = self.exchangeable(&drawn).and_then(|start| self.edges_of(start, graph));
                progress();
                edges
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(NullTest { observed: self.edges_of_own(&data, graph)?, nulls })
    }

    /// The exchangeable prior of highest restricted likelihood and the quadratics at its noise.
    fn exchangeable(&self, data: &Observations) -> Result<(Prior, Quadratics)> {
        let own = self.prior();
        if self.sites.is_some() {
            return Err(Error::Arguments(format!(
                "a {} model holds no rows to fit anew; fit with --structure graph, or sample edges from an exchangeable fit with --reml",
                self.family()
            )));
        }
        if own.groups.are_several() {
            let problem =
                "tasks in groups with means of their own are not compared with nulls; ask for the probabilities of the fit itself";
            return Err(Error::Arguments(problem.into()));
        }
        let noise = match self.dispersion().is_each() {
            _ if self.noise_is_known() => Noise::Known,
            true => Noise::Task,
            false => Noise::Shared,
        };
        let likelihood = Gaussian { noise };
        let mean = if own.mean_features.is_empty() { Mean::Given(DVector::zeros(0)) } else { Mean::Integrated };
        let setting = Setting {
            data,
            names: self.tasks().names(),
            mean_features: &own.mean_features,
            varying: &own.varying,
            unrelated: &own.unrelated,
            intercept: super::intercepts::number(self.tasks()),
            mean: &mean,
            mean_precision: &DMatrix::zeros(0, 0),
            noise: likelihood.start(data, &own.mean_features).common_variance(),
            groups: &own.groups,
            likelihood: &likelihood,
        };
        let mut structure = Exchangeable::new(self.feature_covariance_kind().unwrap_or(FeatureCovariance::Diagonal));
        let climbed = em::climb(&likelihood, &mut structure, &setting, &em::Options::default(), &|_| {})?;
        Ok((climbed.prior, likelihood.quadratics(data, &climbed.dispersion)))
    }

    /// Those of the model's data: where the fit is the exchangeable one already, it is not made again.
    fn edges_of_own(&self, data: &Observations, graph: &Graph) -> Result<SampledEdges> {
        self.edges_of(self.exchangeable_or_own(data)?, graph)
    }

    fn exchangeable_or_own(&self, data: &Observations) -> Result<(Prior, Quadratics)> {
        let own = self.prior();
        let made = matches!(own.relatedness, Relatedness::Identity)
            && own.mean == Mean::Integrated
            && self.stop() == Stop::Optimum
            && self.added_rows() == 0;
        if made { Ok((own.clone(), self.quadratics()?)) } else { self.exchangeable(data) }
    }

    /// At an exchangeable prior and the quadratics at its noise.
    fn edges_of(&self, (mut prior, quadratics): (Prior, Quadratics), graph: &Graph) -> Result<SampledEdges> {
        if !self.prior().free.is_empty() || self.prior().varying.is_empty() {
            return Err(Error::Arguments(format!(
                "the structure '{}' shares no spread of the tasks in which to look for edges; fit with --structure exchangeable or graph",
                self.structure()
            )));
        }
        let mut graph = graph.clone().among(self.tasks().names());
        // The first update may only leave out directions without variance.
        for _ in 0..2 {
            let posterior = Posterior::given(&quadratics, &prior)?;
            prior = graph.update(&posterior)?;
            if let Some(edges) = graph.edge_probabilities() {
                let tasks = edges.len();
                let neighbours = 2.0 * edges.likely().edges().count() as f64 / tasks as f64;
                let pairs = graph.candidates().map_or(0.0, |rule| rule.pairs);
                let visibility = Visibility::among(tasks, pairs, posterior.related().effective_directions() - neighbours);
                return Ok(SampledEdges { graph: edges.clone(), expected: graph.expected_edges(), visibility });
            }
        }
        Err(Error::Arguments("EM alone gives scores, which have no null distribution; sample the edges instead".into()))
    }
}

/// Targets drawn anew: w_t from the prior about its mean, X'y given w_t, and y'y beyond what the features explain.
fn redrawn<R: Rng + ?Sized>(data: &Observations, quadratics: &Quadratics, posterior: &Posterior, random: &mut R) -> Observations {
    let prior = posterior.prior();
    let p = quadratics.features();
    let drawn = Quadratics::build(quadratics.len(), p, |t, linear, curvature| {
        curvature.copy_from_slice(data.quadratics.curvature(t));
        let sd = quadratics.precision(t).powf(-0.5);
        let mut w = posterior.mean().clone();
        let moved = &prior.factor * DVector::from_fn(prior.factor.ncols(), |_, _| normal(random));
        prior.varying.iter().zip(moved.iter()).for_each(|(f, value)| w[*f] += value);
        let (root, pivots) = linalg::pivoted_root(&DMatrix::from_column_slice(p, p, curvature));
        let mut along = root.transpose() * w;
        along.iter_mut().for_each(|value| *value += sd * normal(random));
        linear.copy_from_slice((&root * &along).as_slice());
        let freedom = data.rows[t] - pivots.len() as f64;
        let rest = if freedom > 0.0 { ChiSquared::new(freedom).map_or(freedom, |chi| chi.sample(random)) } else { 0.0 };
        along.norm_squared() + sd * sd * rest
    });
    data.with_sums(drawn)
}

/// Deviations from the mean, each task's features mapped by M' with M = L R' L^+ + (I - L L^+), R a random rotation; L is of the
/// directions in which tasks may be related, the others stay.
fn rotated<R: Rng + ?Sized>(data: &Observations, posterior: &Posterior, random: &mut R) -> Observations {
    let prior = posterior.prior();
    let kept: Vec<usize> = prior.related_columns().into_iter().filter(|k| prior.factor.column(*k).norm() > 0.0).collect();
    let factor = prior.factor.select_columns(&kept);
    let (r, p) = (kept.len(), data.quadratics.features());
    let inverse = (factor.transpose() * &factor).try_inverse().map_or(DMatrix::zeros(r, prior.varying.len()), |i| i * factor.transpose());
    let drawn = Quadratics::build(data.quadratics.len(), p, |t, linear, curvature| {
        let rotation = rotation(r, random);
        let turned = &factor * (rotation.transpose() - DMatrix::identity(r, r)) * &inverse;
        let mut map = DMatrix::<f64>::identity(p, p);
        for (i, a) in prior.varying.iter().enumerate() {
            prior.varying.iter().enumerate().for_each(|(j, b)| map[(*a, *b)] += turned[(i, j)]);
        }
        let own = DMatrix::from_column_slice(p, p, data.quadratics.curvature(t));
        let along = DVector::from_column_slice(data.quadratics.linear(t)) - &own * posterior.mean();
        let mut moved = map.transpose() * own * &map;
        linalg::symmetrise(&mut moved);
        curvature.copy_from_slice(moved.as_slice());
        linear.copy_from_slice((map.transpose() * along).as_slice());
        data.quadratics.residual(t, posterior.mean().as_slice()).max(0.0)
    });
    data.with_sums(drawn)
}

/// A uniformly distributed orthogonal matrix: Q of a Gaussian one, its signs by R's diagonal (Stewart 1980).
fn rotation<R: Rng + ?Sized>(n: usize, random: &mut R) -> DMatrix<f64> {
    let qr = DMatrix::from_fn(n, n, |_, _| normal(random)).qr();
    let (mut q, r) = qr.unpack();
    (0..n).filter(|k| r[(*k, *k)] < 0.0).for_each(|k| q.column_mut(k).neg_mut());
    q
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;
    use crate::simulate::{Layout, NoiseLevel, gaussian, task_graph};
    use crate::structure::EdgeMethod;
    use crate::tasks::Design;

    fn fitted(layout: Option<Layout>, seed: u64) -> Fit {
        let names: Vec<String> = (0..8).map(|t| t.to_string()).collect();
        let relatedness = layout.map_or(Relatedness::Identity, |l| Relatedness::Graph(task_graph(l, &names, 0.4..0.45, seed).unwrap()));
        let prior = Prior::new(Mean::Given(DVector::from_element(30, 2.0)), relatedness, DMatrix::identity(30, 30));
        let drawn = gaussian(&prior, 8, 60, NoiseLevel::Ratio(0.2), seed).unwrap();
        let tasks = drawn.rows.tasks(&Design::varying(drawn.rows.features()).without_intercept());
        Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Scalar)).fit(&tasks).unwrap()
    }

    #[test]
    fn p_values_are_small_with_a_chain_and_not_without() {
        let graph = Graph::new(FeatureCovariance::Scalar).with_edges(EdgeMethod::Exact { sweeps: 60 });
        for null in [Null::Parametric, Null::Rotation] {
            let chain = fitted(Some(Layout::Chain), 1).null_test(null, &graph, 19, 3, &|| {}).unwrap();
            assert_eq!(chain.p_value(), 0.05, "{null:?}");
            let none = fitted(None, 2).null_test(null, &graph, 19, 3, &|| {}).unwrap();
            assert!(none.p_value() > 0.1, "{null:?}: {}", none.p_value());
        }
    }

    /// A rotation keeps what one task says of itself (its evidence under the exchangeable prior) when the mean is held.
    #[test]
    fn rotation_keeps_every_tasks_own_evidence() {
        let fit = fitted(Some(Layout::Chain), 4);
        let data = Observations::new(fit.tasks(), fit.coordinates());
        let (prior, quadratics) = fit.exchangeable(&data).unwrap();
        let posterior = Posterior::given(&quadratics, &prior).unwrap();
        let turned = rotated(&data, &posterior, &mut ChaCha8Rng::seed_from_u64(1));
        let evidence = |data: &Observations, mean: DVector<f64>| {
            let q = Gaussian::default().quadratics(data, &fit.dispersion().clone());
            Posterior::given(&q, &Prior { mean: Mean::Given(mean), ..prior.clone() }).unwrap().log_likelihood()
        };
        let before = evidence(&data, posterior.mean().clone());
        let after = evidence(&turned, DVector::zeros(30));
        assert!((before - after).abs() < 1e-7 * before.abs(), "{before} against {after}");
    }
}
