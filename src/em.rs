//! The only loop: rows become quadratics, quadratics and prior a posterior, the posterior's moments a better prior.

use crate::error::Result;
use crate::likelihood::{Approximation, Dispersion, Inference, Likelihood, Observations, STILL};
use crate::linalg::{self, Lbfgs};
use crate::posterior::Posterior;
use crate::prior::{Mean, Prior};
use crate::quadratic::Quadratics;
use crate::structure::{Information, Setting, Smooth, Structure};
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

/// When to stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Most E-steps.
    pub max_iterations: usize,
    /// Gain in log posterior, promised by a quadratic model, below which a fit is at its optimum.
    pub tolerance: f64,
    /// EM steps before the quasi-Newton finish.
    pub warm_up: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { max_iterations: 3_000, tolerance: 1e-7, warm_up: 4 }
    }
}

/// One E-step of the trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Log-likelihood in fitted units.
    pub log_likelihood: f64,
    /// Plus the log priors: what is climbed.
    pub log_posterior: f64,
    /// Edges of the task graph.
    pub edges: usize,
}

/// Why a fit stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stop {
    /// The Karush-Kuhn-Tucker conditions hold to the tolerance.
    Optimum,
    /// Edge sets recurred; the best of them was kept.
    Cycle,
    /// The most iterations were used.
    IterationLimit,
}

impl std::fmt::Display for Stop {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Stop::Optimum => "at the optimum",
            Stop::Cycle => "edge sets recur, the best kept,",
            Stop::IterationLimit => "not at the optimum",
        })
    }
}

impl Stop {
    /// Whether the fit is at an optimum (of a settled edge set).
    pub fn converged(self) -> bool {
        self == Stop::Optimum
    }
}

/// What the loop hands to the model.
pub(crate) struct Climbed {
    pub prior: Prior,
    pub dispersion: Dispersion,
    pub trace: Vec<Step>,
    pub stop: Stop,
    /// Those of the last E-step.
    pub quadratics: Option<Quadratics>,
    /// The E-step at the prior and the dispersion, where there is one at hand that is exact.
    found: Option<Approximation>,
}

impl Climbed {
    /// Where a climb ended that was made before.
    pub(crate) fn at(prior: Prior, dispersion: Dispersion, trace: Vec<Step>, stop: Stop) -> Self {
        Climbed { prior, dispersion, trace, stop, quadratics: None, found: None }
    }
}

/// Change of a coefficient below which quadratics stand for an EM step, which moves the prior by more.
const ROUGHLY: f64 = 1e-3;

/// And for a quasi-Newton step: what is left changes the log-likelihood by its square.
const NEARLY: f64 = 1e-6;

/// Alternates E- and M-steps from the structure's start (or its base's optimum) until the structure is at an optimum.
pub(crate) fn climb(
    likelihood: &dyn Likelihood,
    structure: &mut dyn Structure,
    setting: &Setting,
    options: &Options,
    progress: &dyn Fn(&Step),
) -> Result<Climbed> {
    let data = setting.data;
    let (mut prior, fixed) = structure.start(setting)?;
    let mut dispersion = likelihood.start(data, setting.mean_features);
    let mut trace: Vec<Step> = Vec::new();
    let mut known = None;
    if let Some(mut base) = structure.base() {
        let integrated = Setting { mean: &prior.mean, ..*setting };
        let climbed = climb(likelihood, base.as_mut(), &integrated, options, progress)?;
        (prior, dispersion, known) = (climbed.prior, climbed.dispersion, climbed.found);
        let from = climbed.quadratics.as_ref();
        let starts = structure.starts(&|| Ok(likelihood.posterior(data, &dispersion, &prior, (from, ROUGHLY))?.posterior))?;
        if !starts.is_empty() {
            (prior, dispersion) = best_start(likelihood, structure, data, starts, (&dispersion, from))?;
            known = None;
        }
    }
    if let Some(own) = fixed {
        trace.push(step(&likelihood.posterior(data, &own, &prior, (None, STILL))?, 0.0));
        return Ok(Climbed { prior, dispersion: own, trace, stop: Stop::Optimum, quadratics: None, found: None });
    }

    let mut seen = Seen::default();
    let mut quadratics = None;
    let mut stop = Stop::IterationLimit;
    while trace.len() < options.max_iterations {
        let found = match known.take() {
            Some(found) => found,
            None => likelihood.posterior(data, &dispersion, &prior, (quadratics.as_ref(), ROUGHLY))?, //    rows -> quadratics -> E-step
        };
        trace.push(step(&found, structure.log_prior(&prior) + likelihood.log_prior(&dispersion)));
        progress(&trace[trace.len() - 1]);
        if let Some(reason) = seen.reason(structure, &trace, &prior, &dispersion, options) {
            stop = reason;
            known = Some(found);
            break;
        }
        (prior, dispersion, quadratics) = moved((likelihood, structure, data), found, &dispersion)?; // M-step: prior and its graph
    }
    match structure.smooth() {
        Some(smooth) => finish(likelihood, structure, smooth, data, (prior, dispersion, quadratics, known), trace, options, progress),
        None => {
            if let (Stop::Cycle, Some((best_prior, best_dispersion, _))) = (stop, seen.best) {
                (prior, dispersion) = (best_prior, best_dispersion);
            }
            Ok(Climbed { prior, dispersion, trace, stop, quadratics, found: None })
        }
    }
}

/// The M-step, and the quadratics from which the next E-step begins.
fn moved(
    (likelihood, structure, data): (&dyn Likelihood, &mut dyn Structure, &Observations),
    found: Approximation,
    dispersion: &Dispersion,
) -> Result<(Prior, Dispersion, Option<Quadratics>)> {
    let prior = structure.update(&found.posterior)?;
    Ok((prior, likelihood.update(data, &found.posterior, dispersion), Some(found.quadratics)))
}

/// A start on its way: its prior, dispersion and quadratics, and how high it was last.
struct Begun(Prior, Dispersion, Option<Quadratics>, f64);

/// Of several starts what a few EM steps make of the best, the better third taking more of them each time.
fn best_start(
    likelihood: &dyn Likelihood,
    structure: &mut dyn Structure,
    data: &Observations,
    starts: Vec<Prior>,
    (first, from): (&Dispersion, Option<&Quadratics>),
) -> Result<(Prior, Dispersion)> {
    const STEPS: usize = 3;
    let mut begun: Vec<Begun> = starts.into_iter().map(|prior| Begun(prior, first.clone(), from.cloned(), f64::NEG_INFINITY)).collect();
    loop {
        for Begun(prior, dispersion, quadratics, height) in &mut begun {
            for _ in 0..STEPS {
                let found = likelihood.posterior(data, dispersion, prior, (quadratics.as_ref(), ROUGHLY))?;
                *height = step(&found, structure.log_prior(prior) + likelihood.log_prior(dispersion)).log_posterior;
                (*prior, *dispersion, *quadratics) = moved((likelihood, structure, data), found, dispersion)?;
            }
        }
        begun.sort_by(|a, b| b.3.total_cmp(&a.3));
        if begun.len() == 1 {
            let Begun(prior, dispersion, ..) = begun.swap_remove(0);
            return Ok((prior, dispersion));
        }
        begun.truncate(begun.len().div_ceil(3));
    }
}

fn step(found: &Approximation, log_prior: f64) -> Step {
    let edges = found.posterior.prior().relatedness.as_graph().map_or(0, |graph| graph.edges().count());
    let log_posterior = found.log_likelihood + found.posterior.log_mean_density() + log_prior;
    Step { log_likelihood: found.log_likelihood, log_posterior, edges }
}

/// Iterations a structure with discrete choices may take before its recurring edge sets count as a cycle.
const PATIENCE: usize = 60;

/// The best prior among those met once the choices ought to have settled.
#[derive(Default)]
struct Seen {
    /// Iterations without a settled choice.
    searching: usize,
    best: Option<(Prior, Dispersion, f64)>,
}

impl Seen {
    /// Why the loop should stop now, if it should.
    fn reason(
        &mut self,
        structure: &dyn Structure,
        trace: &[Step],
        prior: &Prior,
        dispersion: &Dispersion,
        options: &Options,
    ) -> Option<Stop> {
        if structure.smooth().is_some() {
            return (trace.len() > options.warm_up || self.searching > 0).then_some(Stop::Optimum);
        }
        let last = &trace[trace.len() - 1];
        self.searching += 1;
        if self.searching + 15 > PATIENCE && self.best.as_ref().is_none_or(|(_, _, value)| last.log_posterior > *value) {
            self.best = Some((prior.clone(), dispersion.clone(), last.log_posterior));
        }
        (self.searching >= PATIENCE).then_some(Stop::Cycle)
    }
}

/// Quasi-Newton steps in the structure's coordinates and the dispersion's; the gradient of the evidence is free by
/// Fisher's identity. Ends when the Karush-Kuhn-Tucker conditions hold: no gain promised inside, none across a boundary.
#[allow(clippy::too_many_arguments)]
fn finish(
    likelihood: &dyn Likelihood,
    structure: &dyn Structure,
    smooth: &dyn Smooth,
    data: &Observations,
    start: (Prior, Dispersion, Option<Quadratics>, Option<Approximation>),
    mut trace: Vec<Step>,
    options: &Options,
    progress: &dyn Fn(&Step),
) -> Result<Climbed> {
    const RELEASES: usize = 20;
    let (mut prior, mut dispersion, mut quadratics, mut known) = start;
    let is_exact = |found: &Approximation| likelihood.inference().is_none() && found.posterior.log_likelihood_error() == 0.0;
    let mut stop = Stop::IterationLimit;
    for round in 0..RELEASES {
        let own = smooth.coordinates(&prior);
        let noise = likelihood.coordinates(&dispersion);
        let means = Means::of(likelihood, data, (&prior, &dispersion), quadratics.as_ref())?;
        if round > 0 && known.is_none() && likelihood.inference().is_none() {
            let found = likelihood.posterior(data, &dispersion, &prior, (quadratics.as_ref(), NEARLY))?;
            trace.push(step(&found, structure.log_prior(&prior) + likelihood.log_prior(&dispersion)));
            known = Some(found);
        }
        let units = Units::at(smooth, likelihood.information(data, &dispersion), known.as_ref(), own.len() + noise.len() + means.len());
        let point: Vec<f64> = own.iter().copied().chain(noise.iter().copied()).chain(std::iter::repeat_n(0.0, means.len())).collect();
        let point = units.of(&point);
        let at = |point: &[f64]| {
            let point = units.back(point);
            let (own_point, rest) = point.split_at(own.len());
            let (noise_point, mean_point) = rest.split_at(noise.len());
            let next = means.at(mean_point, smooth.at(own_point, &prior)?);
            Some((next, likelihood.at(noise_point, &dispersion)))
        };
        let mut last = known.take().filter(&is_exact).map(|found| (point.clone(), found));
        let evaluations = options.max_iterations.saturating_sub(trace.len());
        let mut path = Path::default();
        // Units of far away are poor ones: they are taken again on the way.
        let on_the_way = round == 0 && units.curvature().is_some();
        let gain = match (on_the_way, Posterior::is_estimated_for(&prior)) {
            (true, _) => options.tolerance.max(ON_THE_WAY),
            (false, true) => options.tolerance.max(ESTIMATED),
            (false, false) => options.tolerance * if units.curvature().is_some() { FURTHER } else { 1.0 },
        };
        let search = Lbfgs { memory: 30, evaluations, gain, curvature: units.curvature().or(smooth.curvature(&prior)) };
        let found = search.minimise(point, |point| {
            let Some((next, noise)) = at(point) else { return Ok(None) };
            let before = last.take().filter(|(there, _)| there == point).map(|(_, found)| found);
            let is_new = before.is_none();
            let found = match before.map_or_else(|| likelihood.posterior(data, &noise, &next, (quadratics.as_ref(), NEARLY)), Ok) {
                Ok(found) => found,
                Err(_) => return Ok(None),
            };
            quadratics = Some(found.quadratics.clone());
            let latest = step(&found, structure.log_prior(&next) + likelihood.log_prior(&noise));
            if is_new {
                progress(&latest);
                trace.push(latest.clone());
            }
            if !latest.log_posterior.is_finite() {
                return Ok(None);
            }
            // The structure's slope and the mean's follow the posterior, the dispersion's does not.
            let along = |posterior: &Posterior| [smooth.slope(posterior), means.slope(posterior)].concat();
            let mut slope = likelihood.slope_along(data, &found, &noise, &along)?;
            let of_mean = slope.split_off(own.len());
            slope.extend(likelihood.slope(data, &found, &noise)?);
            slope.extend(of_mean);
            let slope: Vec<f64> = units.slope(&slope).into_iter().map(|v| -v).collect();
            let value = match found.posterior.log_likelihood_error() {
                0.0 => -latest.log_posterior,
                error => path.value(point, &slope, (-latest.log_posterior, error)),
            };
            last = Some((point.to_vec(), found));
            Ok::<_, crate::Error>(Some((value, slope)))
        })?;
        if let Some(best) = at(&found.point) {
            (prior, dispersion) = best;
        }
        let before = last.take().filter(|(there, here)| *there == found.point && is_exact(here));
        let mut here = match before {
            Some((_, here)) => here,
            None => {
                let here = likelihood.posterior(data, &dispersion, &prior, (quadratics.as_ref(), NEARLY))?;
                trace.push(step(&here, structure.log_prior(&prior) + likelihood.log_prior(&dispersion)));
                here
            }
        };
        if on_the_way {
            known = Some(here);
            continue;
        }
        if let Some(snapped) = smooth.snap(&prior) {
            let there = likelihood.posterior(data, &dispersion, &snapped, (Some(&here.quadratics), NEARLY))?;
            let tolerance = 10.0 * options.tolerance + here.posterior.log_likelihood_error();
            if there.log_likelihood > here.log_likelihood - tolerance {
                (prior, here) = (snapped, there);
            }
        }
        quadratics = Some(here.quadratics.clone());
        match smooth.release(&here.posterior) {
            Some(released) => prior = released,
            None => {
                stop = if found.converged { Stop::Optimum } else { Stop::IterationLimit };
                known = Some(here);
                break;
            }
        }
    }
    Ok(Climbed { prior, dispersion, trace, stop, quadratics, found: known.filter(is_exact) })
}

/// The coordinates of a finish in units in which the log posterior bends by about 1 in each, and steps along directions in which it bends less: x = y / units
/// and as much of each direction as further coordinates say.
#[derive(Default)]
struct Units {
    each: Vec<f64>,
    along: Vec<(Vec<f64>, f64)>,
}

impl Units {
    /// From the information of the structure's coordinates at the E-step where the finish begins and of the dispersion's; as they are where either does
    /// not know.
    fn at(smooth: &dyn Smooth, of_dispersion: Option<Vec<f64>>, known: Option<&Approximation>, count: usize) -> Self {
        let own = known.and_then(|found| smooth.information(&found.posterior));
        let Some((Information { mut each, along }, more)) = own.zip(of_dispersion) else { return Units::default() };
        each.extend(more);
        if each.len() != count {
            return Units::default();
        }
        each.iter_mut().for_each(|own| *own = own.sqrt());
        Units { each, along: along.into_iter().map(|(step, own)| (step, own.sqrt())).collect() }
    }

    fn of(&self, point: &[f64]) -> Vec<f64> {
        if self.each.is_empty() {
            return point.to_vec();
        }
        point.iter().zip(&self.each).map(|(own, unit)| own * unit).chain(self.along.iter().map(|_| 0.0)).collect()
    }

    fn back(&self, point: &[f64]) -> Vec<f64> {
        if self.each.is_empty() {
            return point.to_vec();
        }
        let mut all: Vec<f64> = point.iter().zip(&self.each).map(|(own, unit)| own / unit).collect();
        for ((step, unit), own) in self.along.iter().zip(&point[self.each.len()..]) {
            all.iter_mut().zip(step).for_each(|(cell, step)| *cell += own / unit * step);
        }
        all
    }

    /// The slope in these coordinates.
    fn slope(&self, slope: &[f64]) -> Vec<f64> {
        if self.each.is_empty() {
            return slope.to_vec();
        }
        let along = self.along.iter().map(|(step, unit)| step.iter().zip(slope).map(|(step, own)| step * own).sum::<f64>() / unit);
        slope.iter().zip(&self.each).map(|(own, unit)| own / unit).chain(along).collect()
    }

    fn curvature(&self) -> Option<f64> {
        (!self.each.is_empty()).then_some(1.0)
    }
}

/// The mean as coordinates of the finish, where a Gaussian posterior does not hold the best one: by Laplace's approximation the
/// log-determinant depends on it too. Displacements are in units of its standard errors over sqrt(T), in which the curvature is that of
/// the structures' coordinates.
struct Means {
    base: DVector<f64>,
    root: DMatrix<f64>,
}

impl Means {
    fn of(
        likelihood: &dyn Likelihood,
        data: &Observations,
        (prior, dispersion): (&Prior, &Dispersion),
        from: Option<&Quadratics>,
    ) -> Result<Self> {
        let moves = likelihood.inference() == Some(Inference::Laplace) && matches!(prior.mean, Mean::Profiled | Mean::Estimated(_));
        if !moves || prior.mean_features.is_empty() {
            return Ok(Means { base: DVector::zeros(0), root: DMatrix::zeros(0, 0) });
        }
        let found = likelihood.posterior(data, dispersion, prior, (from, ROUGHLY))?;
        let root = linalg::semidefinite_factor(found.posterior.mean_covariance()) / (data.quadratics.len() as f64).sqrt();
        Ok(Means { base: found.posterior.mean_values(), root })
    }

    fn len(&self) -> usize {
        self.root.ncols()
    }

    fn at(&self, point: &[f64], prior: Prior) -> Prior {
        if self.len() == 0 {
            return prior;
        }
        Prior { mean: Mean::Estimated(&self.base + &self.root * DVector::from_column_slice(point)), ..prior }
    }

    fn slope(&self, posterior: &Posterior) -> Vec<f64> {
        if self.len() == 0 { Vec::new() } else { (self.root.transpose() * posterior.mean_score()).as_slice().to_vec() }
    }
}

/// Gain below which a finish is near enough to its end to take its units once more.
const ON_THE_WAY: f64 = 1.0;

/// How much less than the tolerance may be left to gain where steps are in known units and the last ones cost little. Sizes of factors rest on the place where
/// their directions are found, not on its height.
const FURTHER: f64 = 1e-2;

/// Gain below which a fit by estimated slopes is at its optimum: beyond it searches went on for minutes without a gain of .01.
const ESTIMATED: f64 = 0.05;

/// Values for the points of a search whose log-likelihood is an estimate. Changes far beyond its error stand as they are estimated;
/// smaller ones are the slope integrated from the best point by the trapezoid rule, for the zero of the slope is what is looked for.
#[derive(Default)]
struct Path {
    best: Option<Place>,
}

struct Place {
    point: Vec<f64>,
    slope: Vec<f64>,
    estimate: f64,
    value: f64,
}

impl Path {
    /// The value to minimise at a point of that slope and estimate, whose standard error is known.
    fn value(&mut self, point: &[f64], slope: &[f64], (estimate, error): (f64, f64)) -> f64 {
        const FAR: f64 = 20.0;
        let rise = |best: &Place| {
            let estimated = estimate - best.estimate;
            let steps = point.iter().zip(&best.point).map(|(here, there)| here - there);
            let integrated = steps.zip(slope.iter().zip(&best.slope)).map(|(step, (now, then))| 0.5 * (now + then) * step).sum::<f64>();
            best.value + if estimated.abs() > FAR * error { estimated } else { integrated }
        };
        let value = self.best.as_ref().map_or(0.0, rise);
        if self.best.as_ref().is_none_or(|best| value < best.value) {
            self.best = Some(Place { point: point.to_vec(), slope: slope.to_vec(), estimate, value });
        }
        value
    }
}

/// The setting's mean under maximum (or restricted) likelihood.
pub(crate) fn mean_treatment(restricted: bool) -> Mean {
    if restricted { Mean::Integrated } else { Mean::Profiled }
}
