//! Relatedness from descriptors of the tasks: a kernel of learned lengths and what each task has for itself, so that unseen tasks have a place too.

use super::exchangeable::Exchangeable;
use super::feature_covariance::{FactorSpace, FeatureCovariance};
use super::{Setting, Smooth, Structure};
use crate::error::{Error, Result};
use crate::likelihood::Dispersion;
use crate::linalg;
use crate::posterior::Posterior;
use crate::prior::{KernelShape, Prior, Relatedness, TaskKernel};
use crate::tasks::{Descriptors, Points};
use nalgebra::DMatrix;
use std::sync::Arc;

/// Standard deviation of the logarithm of a length, or of the root of a weight: of a factor of four and a half.
const SPREAD: f64 = 1.5;

/// How far logarithms of lengths may go from where they begin, in these standard deviations.
const FAR: f64 = 6.0;

/// Bounds of the nugget's logit: beyond them descriptors tell all of a task or nothing.
const REACH: f64 = 11.5;

/// Most tasks, and most varying directions of them, of which Sigma is dense.
const MOST_DENSE: (usize, usize) = (2_000, 4_000);

/// Tasks among which the mean relatedness is taken.
const SAMPLE: usize = 1_000;

/// Sigma from descriptors of the tasks ([`TaskKernel`]), with a length scale for each descriptor (of a linear kernel a weight) and a nugget: those of
/// highest posterior density, lengths log-normal about a standard deviation of the tasks times the root of the number of descriptors, the nugget
/// uniform. The common mean is integrated.
///
/// Lengths start at several multiples, for the likelihood may have several maxima. With more than 2,000 tasks, or 4,000 varying directions of them all, every task
/// depends on its nearest ones (Vecchia 1988), chosen once by the plain distances and again by the lengths found.
///
/// ```
/// use cognate::{DescriptorValues, Descriptors, FeatureCovariance, Kernel, KernelShape, Structure};
/// let ages = DescriptorValues::Numbers(vec![20.0, 40.0, 60.0]);
/// let descriptors = Descriptors::new(["a", "b", "c"].map(String::from).to_vec(), vec![("age".into(), ages)])?;
/// assert_eq!(Kernel::new(FeatureCovariance::Diagonal, KernelShape::Matern32, descriptors).name(), "kernel");
/// # Ok::<(), cognate::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Kernel {
    space: FactorSpace,
    shape: KernelShape,
    descriptors: Arc<Descriptors>,
    names: Vec<String>,
    points: Option<Arc<Points>>,
    /// Whether nearest tasks are those by plain distances.
    by_plain_distances: bool,
}

impl Kernel {
    /// With K of that shape.
    pub fn new(covariance: FeatureCovariance, shape: KernelShape, descriptors: impl Into<Arc<Descriptors>>) -> Self {
        Kernel {
            space: FactorSpace::new(covariance),
            shape,
            descriptors: descriptors.into(),
            names: Vec::new(),
            points: None,
            by_plain_distances: false,
        }
    }

    /// Whether all tasks depend on all others at once.
    fn is_dense(&self) -> bool {
        let tasks = self.names.len();
        self.shape == KernelShape::Linear || (tasks <= MOST_DENSE.0 && tasks * self.space.size() <= MOST_DENSE.1)
    }

    /// 1 / length where it is looked for.
    fn centre(&self) -> f64 {
        if self.shape == KernelShape::Linear { 1.0 } else { (self.descriptors.names().len() as f64).sqrt().recip() }
    }

    fn kernel(prior: &Prior) -> &TaskKernel {
        prior.kernel.as_ref().expect("every prior of this structure but the one it starts from has a kernel")
    }

    /// The prior with that kernel, K as far as it was between tasks.
    fn begun(kernel: TaskKernel, like: &Prior) -> Option<Prior> {
        let relatedness = kernel.relatedness()?;
        let factor = &like.factor / kernel.variance_between(SAMPLE).sqrt();
        Some(Prior { relatedness, kernel: Some(kernel), factor, ..like.clone() })
    }
}

impl Structure for Kernel {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn feature_covariance(&self) -> Option<FeatureCovariance> {
        Some(self.space.kind)
    }

    fn base(&self) -> Option<Box<dyn Structure>> {
        if self.is_dense() || self.by_plain_distances {
            return Some(Box::new(Exchangeable::new(self.space.kind)));
        }
        Some(Box::new(Kernel { by_plain_distances: true, ..self.clone() }))
    }

    fn start(&mut self, setting: &Setting) -> Result<(Prior, Option<Dispersion>)> {
        self.points = Some(Arc::new(Points::of(&self.descriptors, setting.names)?));
        self.names = setting.names.to_vec();
        let prior = setting.prior(setting.learned_mean(), Relatedness::Identity, self.space.start(setting));
        Ok((prior, None))
    }

    fn starts(&mut self, base: &dyn Fn() -> Result<Posterior<'static>>) -> Result<Vec<Prior>> {
        /// Lengths over where they are looked for, and the nugget.
        const LENGTHS: [f64; 3] = [0.3, 1.0, 3.0];
        const NUGGET: f64 = 0.5;
        let (posterior, points) = (base()?, self.points.clone().expect("it has started"));
        let like = posterior.prior();
        if let Some(kernel) = &like.kernel {
            let nearer = kernel.clone().with_nearest(Some(kernel.nearest(&self.names)));
            let found = nearer.relatedness().map(|relatedness| Prior { relatedness, kernel: Some(nearer), ..like.clone() });
            return Ok(vec![found.unwrap_or_else(|| like.clone())]);
        }
        let lengths: &[f64] = if self.shape == KernelShape::Linear { &[1.0] } else { &LENGTHS };
        let at = |length: f64| {
            let rates = vec![self.centre() / length; points.names().len()];
            TaskKernel::new(self.shape, Arc::clone(&points), rates, NUGGET)
        };
        let nearest = (!self.is_dense()).then(|| at(1.0).nearest(&self.names));
        let starts: Vec<Prior> = lengths.iter().filter_map(|length| Self::begun(at(*length).with_nearest(nearest.clone()), like)).collect();
        if starts.is_empty() {
            return Err(Error::NotPositiveDefinite {
                matrix: "the task covariance Sigma".into(),
                remedy: "check the descriptors of the tasks".into(),
            });
        }
        Ok(starts)
    }

    fn update(&mut self, posterior: &Posterior) -> Result<Prior> {
        Ok(self.space.step(posterior))
    }

    fn log_prior(&self, prior: &Prior) -> f64 {
        let Some(kernel) = &prior.kernel else { return 0.0 };
        -0.5 * kernel.rates.iter().map(|rate| ((rate / self.centre()).ln() / SPREAD).powi(2)).sum::<f64>()
    }

    fn descriptors(&self) -> Option<&Descriptors> {
        Some(&self.descriptors)
    }

    fn relates(&self) -> bool {
        true
    }

    fn parameters(&self, prior: &Prior) -> usize {
        let lengths = Self::kernel(prior).rates.len();
        self.space.len(prior) + 1 + if self.shape == KernelShape::Linear { lengths - 1 } else { lengths }
    }

    fn smooth(&self) -> Option<&dyn Smooth> {
        Some(self)
    }
}

/// Those of K, log (1 / length) of every descriptor and the logit of the nugget.
impl Smooth for Kernel {
    fn coordinates(&self, prior: &Prior) -> Vec<f64> {
        let kernel = Self::kernel(prior);
        let mut point = self.space.coordinates(prior);
        point.extend(kernel.rates.iter().map(|rate| rate.ln()));
        point.push((kernel.nugget / (1.0 - kernel.nugget)).ln().clamp(-REACH, REACH));
        point
    }

    fn at(&self, point: &[f64], like: &Prior) -> Option<Prior> {
        let (own, rest) = point.split_at(self.space.len(like));
        let (logit, logs) = rest.split_last()?;
        let centre = self.centre().ln();
        let kernel = TaskKernel {
            rates: logs.iter().map(|log| log.clamp(centre - FAR * SPREAD, centre + FAR * SPREAD).exp()).collect(),
            nugget: 1.0 / (1.0 + (-logit.clamp(-REACH, REACH)).exp()),
            ..Self::kernel(like).clone()
        };
        let relatedness = kernel.relatedness()?;
        Some(Prior { relatedness, kernel: Some(kernel), ..self.space.at(own, like)? })
    }

    /// In Sigma it is 1/2 Omega (M - r Sigma) Omega with M = E[U' K^-1 U], in Omega 1/2 (r Sigma - M), in loadings that of [`Factor`](super::Factor).
    fn slope(&self, posterior: &Posterior) -> Vec<f64> {
        let prior = posterior.prior();
        let (kernel, related) = (Self::kernel(prior), posterior.related());
        let r = related.prior().factor.ncols() as f64;
        let own = match (&prior.relatedness, &kernel.nearest) {
            (Relatedness::Graph(graph), Some(nearest)) => {
                let (expected, found) = (related.prior_task_moment_on_graph(graph), related.task_moment_on_graph(graph));
                let rise: Vec<f64> = expected.iter().zip(&found).map(|(prior, own)| prior - own).collect();
                kernel.slope_along_nearest(nearest, &rise)
            }
            (Relatedness::LowRank { loadings, uniquenesses }, _) => {
                let (loadings, moments) = (loadings.transpose(), related.factor_moments());
                let rise = moments.slope_in_loadings(&loadings, uniquenesses);
                let along = &moments.factors * &loadings;
                let of_uniqueness = |t: usize| {
                    let left = moments.squares[t] - 2.0 * loadings.column(t).dot(&moments.cross.column(t));
                    let left = left + loadings.column(t).dot(&along.column(t));
                    0.5 * (left / uniquenesses[t] - r) / uniquenesses[t]
                };
                kernel.slope_of_factors(&loadings, &rise, (0..loadings.ncols()).map(of_uniqueness).sum())
            }
            (Relatedness::Dense(sigma), _) => {
                let tasks = sigma.nrows();
                let omega =
                    linalg::cholesky(sigma.clone()).map_or_else(|| DMatrix::zeros(tasks, tasks), |root| linalg::inverse_of_cholesky(&root));
                kernel.slope_of_dense(&((&omega * related.task_moment() * &omega - &omega * r) * 0.5))
            }
            _ => vec![0.0; kernel.rates.len() + 1],
        };
        let mut slope = self.space.slope(posterior);
        let centre = self.centre();
        let (of_nugget, of_rates) = own.split_last().expect("the nugget is there");
        for (rise, rate) in of_rates.iter().zip(&kernel.rates) {
            let away = (rate / centre).ln() / SPREAD;
            slope.push(if away.abs() < FAR { rise - away / SPREAD } else { 0.0 });
        }
        let spread = kernel.nugget * (1.0 - kernel.nugget);
        let inside = (kernel.nugget / (1.0 - kernel.nugget)).ln().abs() < REACH - 1e-9;
        slope.push(if inside { of_nugget * spread } else { 0.0 });
        slope
    }

    fn of_features(&self) -> Option<&dyn Smooth> {
        Some(&self.space)
    }

    /// Lengths and nugget too.
    fn carried(&self, prior: &Prior) -> usize {
        self.coordinates(prior).len()
    }

    /// That of K, with a uniform nugget.
    fn reference(&self, prior: &Prior) -> Option<f64> {
        let nugget = Self::kernel(prior).nugget;
        Some(self.space.reference(prior)? + (nugget * (1.0 - nugget)).ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::likelihood::{Gaussian, Observations};
    use crate::prior::{Groups, Mean};
    use crate::quadratic::{Quadratic, Quadratics};
    use crate::tasks::{Coordinates, DescriptorValues, Design, Rows, Tasks};
    use nalgebra::DVector;

    /// So few that the nearest ones of each are all before it, and of a new one all but one.
    const FEW: usize = 10;

    fn uneven(i: usize, k: usize) -> f64 {
        ((i * 37 + k * 101 + i * i * (k + 3)) % 97) as f64 / 30.0 - 1.5
    }

    /// So many tasks with rows and two without.
    fn table(tasks: usize) -> (Tasks, Descriptors) {
        let mut rows = Rows::new("y", &["a", "b"]);
        for i in 0..tasks * 6 {
            rows.push(&format!("t{}", i % tasks), &[uneven(i, 0), uneven(i, 1)], uneven(i, 3), 1.0).unwrap();
        }
        let names = (0..tasks + 2).map(|t| format!("t{t}")).collect();
        let age = DescriptorValues::Numbers((0..tasks + 2).map(|t| uneven(t, 5)).collect());
        let kind = DescriptorValues::Levels((0..tasks + 2).map(|t| ["x", "y", "z"][(t * t) % 3].to_string()).collect());
        let descriptors = Descriptors::new(names, vec![("age".into(), age), ("kind".into(), kind)]).unwrap();
        (rows.tasks(&Design::varying(rows.features())), descriptors)
    }

    /// A prior of that shape, by nearest tasks or not, and the quadratics of the tasks.
    fn begun(shape: KernelShape, tasks: usize, by_nearest: bool) -> (Kernel, Prior, Quadratics, Descriptors) {
        let (tasks, descriptors) = table(tasks);
        let data = Observations::new(&tasks, &Coordinates::identity(tasks.design()));
        let likelihood = Gaussian::default();
        let setting = Setting {
            data: &data,
            names: tasks.names(),
            mean_features: &[0, 1, 2],
            varying: &[0, 2],
            unrelated: &[],
            intercept: Some(0),
            mean: &Mean::Profiled,
            mean_precision: &DMatrix::zeros(0, 0),
            noise: 0.3,
            groups: &Groups::default(),
            likelihood: &likelihood,
        };
        let mut structure = Kernel::new(FeatureCovariance::Diagonal, shape, descriptors.clone());
        let (prior, _) = structure.start(&setting).unwrap();
        let mut kernel = TaskKernel::new(shape, structure.points.clone().unwrap(), vec![0.8, 1.7], 0.3);
        kernel.scale = 1.3;
        let nearest = by_nearest.then(|| kernel.nearest(tasks.names()));
        let kernel = kernel.with_nearest(nearest);
        let prior = Kernel::begun(kernel, &prior).unwrap();
        (structure, prior, likelihood.quadratics(&data, &Dispersion::shared(0.3)), descriptors)
    }

    #[test]
    fn slopes_are_finite_differences() {
        for shape in KernelShape::NAMES.map(|name| KernelShape::by_name(name).unwrap()) {
            for by_nearest in [false, true] {
                if by_nearest && shape == KernelShape::Linear {
                    continue;
                }
                let (structure, prior, quadratics, _) = begun(shape, 24, by_nearest);
                let point = structure.coordinates(&prior);
                let at = |point: &[f64]| {
                    let prior = structure.at(point, &prior).unwrap();
                    Posterior::given(&quadratics, &prior).unwrap()
                };
                let value = |point: &[f64]| {
                    let posterior = at(point);
                    posterior.log_likelihood() + structure.log_prior(posterior.prior())
                };
                let slope = structure.slope(&at(&point));
                assert_eq!(slope.len(), 5);
                for (k, (found, expected)) in slope.iter().zip(linalg::differences(value, &point, 1e-4)).enumerate() {
                    assert!((found - expected).abs() < 1e-6 * (1.0 + expected.abs()), "{shape:?} {by_nearest} {k}: {found} and {expected}");
                }
            }
        }
    }

    /// As long as no task has more earlier ones than it depends on.
    #[test]
    fn nearest_tasks_are_exact_where_they_are_all() {
        let (_, dense, quadratics, _) = begun(KernelShape::Matern52, FEW, false);
        let (_, sparse, ..) = begun(KernelShape::Matern52, FEW, true);
        let sigma = |prior: &Prior| prior.relatedness.covariance(FEW).unwrap();
        assert!((sigma(&dense) - sigma(&sparse)).amax() < 1e-10);
        let [dense, sparse] = [dense, sparse].map(|prior| Posterior::given(&quadratics, &prior).unwrap().log_likelihood());
        assert!((dense - sparse).abs() < 1e-9);
    }

    /// Against the E-step with the new task among the others, its rows none.
    #[test]
    fn newcomers_are_tasks_without_rows() {
        for (shape, tasks, by_nearest) in
            [(KernelShape::SquaredExponential, 20, false), (KernelShape::Exponential, FEW, true), (KernelShape::Linear, 20, false)]
        {
            for mean in [Mean::Integrated, Mean::Profiled, Mean::Given(DVector::from_vec(vec![0.3, -0.2, 0.5]))] {
                let (structure, prior, quadratics, descriptors) = begun(shape, tasks, by_nearest);
                let prior = Prior { mean, ..prior };
                let kernel = prior.kernel.as_ref().unwrap();
                let place = kernel.points().place(&descriptors, tasks + 1).unwrap();
                let tie = kernel.ties(std::slice::from_ref(&place)).unwrap().remove(0);
                let posterior = Posterior::given(&quadratics, &prior).unwrap();
                let (own, covariance) = posterior.newcomer(&tie, 0, 1.0);

                let mut each: Vec<Quadratic> = (0..tasks).map(|t| quadratics.task(t)).collect();
                each.push(Quadratic { constant: 0.0, linear: DVector::zeros(3), curvature: DMatrix::zeros(3, 3) });
                let at = DMatrix::from_fn(
                    place.len(),
                    tasks + 1,
                    |c, t| {
                        if t < tasks { kernel.points().coordinates()[(c, t)] } else { place[c] }
                    },
                );
                let rates: Vec<f64> = kernel.points().descriptor_of().iter().map(|k| kernel.rates[*k]).collect();
                let scaled = DMatrix::from_fn(at.nrows(), at.ncols(), |c, t| at[(c, t)] * rates[c]);
                // Of the tasks with rows, the mean of the diagonal is 1.
                let unit = (0..tasks).map(|t| scaled.column(t).norm_squared()).sum::<f64>() / tasks as f64;
                let sigma = DMatrix::from_fn(tasks + 1, tasks + 1, |s, t| {
                    let r = (scaled.column(s) - scaled.column(t)).norm();
                    let value = match shape {
                        KernelShape::SquaredExponential => (-r * r / 2.0).exp(),
                        KernelShape::Exponential => (-r).exp(),
                        _ => scaled.column(s).dot(&scaled.column(t)) / unit,
                    };
                    1.3 * (0.7 * value + if s == t { 0.3 } else { 0.0 })
                });
                let whole = Prior { relatedness: Relatedness::Dense(sigma), ..prior.clone() };
                let with_new = Quadratics::new(&each).unwrap();
                let all = Posterior::given(&with_new, &whole).unwrap();
                assert!((all.log_likelihood() - posterior.log_likelihood()).abs() < 1e-8, "{shape:?}");
                assert!((all.coefficients(tasks) - own).amax() < 1e-9, "{shape:?}");
                assert!((all.covariance(tasks) - covariance).amax() < 1e-9, "{shape:?}");
                assert_eq!(structure.name(), "kernel");
            }
        }
    }
}
