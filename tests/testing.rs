//! The checks of `cognate::testing` find what is planted, so that none of them can never fail; and the strategies draw and shrink as they say.

use cognate::structure::Setting;
use cognate::testing::strategies::{prior, rows, task_graph};
use cognate::testing::{Promise, check_family, check_likelihood, check_structure};
use cognate::{
    Approximation, Binomial, Design, Dispersion, Exchangeable, Family, FeatureCovariance, Gamma, Gaussian, Generalised, Likelihood, Local,
    NegativeBinomial, Normal, Observations, Poisson, Posterior, Prior, Quadratic, Quadratics, Relatedness, Result, Rows, Smooth, Structure,
    StudentT, Tasks,
};
use nalgebra::{DMatrix, DVector};
use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};
use std::sync::Arc;

/// What is wrong with a family.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mistake {
    None,
    SlopeSign,
    Curvature,
    Constant,
    Mean,
    Variance,
    VarianceOfWeight,
    Cumulative,
    CumulativeFarOut,
    Weight,
    ExpectedAtMean,
    ExpectedCurvature,
    DeviancePower,
    DevianceSign,
    DispersionSlope,
    DispersionNames,
    DispersionUnset,
    BeginsNegative,
    AcceptsAll,
    RefusesSome,
    Start,
    Concave,
    Name,
}

/// A family of cognate's with a mistake.
#[derive(Clone, Debug)]
struct Planted(Arc<dyn Family>, Mistake);

impl Planted {
    fn of(family: impl Family + 'static, mistake: Mistake) -> Self {
        Planted(Arc::new(family), mistake)
    }
}

impl Family for Planted {
    fn name(&self) -> &'static str {
        if self.1 == Mistake::Name { "poisson" } else { "planted" }
    }
    fn at(&self, y: f64, weight: f64, eta: f64) -> Local {
        let own = self.0.at(y, if self.1 == Mistake::Weight { 1.0 } else { weight }, eta);
        match self.1 {
            Mistake::SlopeSign => Local { slope: -own.slope, ..own },
            Mistake::Curvature => Local { curvature: 0.9 * own.curvature, ..own },
            Mistake::Constant => Local { value: own.value + 0.001, ..own },
            _ => own,
        }
    }
    fn mean(&self, eta: f64) -> f64 {
        self.0.mean(eta) * if self.1 == Mistake::Mean { 1.001 } else { 1.0 }
    }
    fn variance(&self, weight: f64, eta: f64) -> f64 {
        match self.1 {
            Mistake::Variance => 1.001 * self.0.variance(weight, eta),
            Mistake::VarianceOfWeight => self.0.variance(1.0, eta),
            _ => self.0.variance(weight, eta),
        }
    }
    fn cumulative(&self, y: f64, weight: f64, eta: f64) -> Option<f64> {
        let own = self.0.cumulative(y, weight, eta)?;
        Some(match self.1 {
            Mistake::Cumulative => own * own,
            Mistake::CumulativeFarOut if y > 1000.0 => 0.0,
            _ => own,
        })
    }
    fn is_whole(&self) -> bool {
        self.0.is_whole()
    }
    fn has_ends(&self) -> bool {
        self.0.has_ends()
    }
    fn has_unit(&self) -> bool {
        self.0.has_unit()
    }
    fn deviance(&self, y: f64, mean: f64) -> Option<f64> {
        let own = self.0.deviance(y, mean)?;
        Some(match self.1 {
            Mistake::DeviancePower => own.sqrt(),
            Mistake::DevianceSign => -own,
            _ => own,
        })
    }
    fn start(&self, y: f64, weight: f64) -> f64 {
        if self.1 == Mistake::Start { f64::NEG_INFINITY } else { self.0.start(y, weight) }
    }
    fn refuses(&self, y: f64, weight: f64) -> Option<&'static str> {
        match self.1 {
            Mistake::AcceptsAll => None,
            Mistake::RefusesSome if y > 3.0 => Some("is too large"),
            _ => self.0.refuses(y, weight),
        }
    }
    fn expected(&self, y: f64, weight: f64, mean: f64, sd: f64) -> Local {
        match self.1 {
            Mistake::ExpectedAtMean => self.at(y, weight, mean),
            Mistake::ExpectedCurvature => Local { curvature: self.at(y, weight, mean).curvature, ..self.0.expected(y, weight, mean, sd) },
            Mistake::Weight => self.0.expected(y, 1.0, mean, sd),
            _ => self.0.expected(y, weight, mean, sd),
        }
    }
    fn dispersion(&self) -> Vec<f64> {
        self.0.dispersion()
    }
    fn dispersion_names(&self) -> Vec<String> {
        if self.1 == Mistake::DispersionNames { Vec::new() } else { self.0.dispersion_names() }
    }
    fn with_dispersion(&self, values: &[f64]) -> Option<Arc<dyn Family>> {
        if self.1 == Mistake::DispersionUnset {
            return Some(Arc::new(self.clone()));
        }
        Some(Arc::new(Planted(self.0.with_dispersion(values)?, self.1)))
    }
    fn begin(&self, targets: &[f64], weights: &[f64]) -> Option<Arc<dyn Family>> {
        if self.1 == Mistake::BeginsNegative {
            return Some(Arc::new(Normal { variance: -1.0 }));
        }
        Some(Arc::new(Planted(self.0.begin(targets, weights)?, self.1)))
    }
    fn add_dispersion_slope(&self, y: f64, weight: f64, mean: f64, sd: f64, sum: &mut [f64]) {
        let mut own = vec![0.0; sum.len()];
        self.0.add_dispersion_slope(y, weight, mean, sd, &mut own);
        let sign = if self.1 == Mistake::DispersionSlope { -1.0 } else { 1.0 };
        sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += sign * own);
    }
    fn is_concave(&self) -> bool {
        self.1 == Mistake::Concave || self.0.is_concave()
    }
}

/// A family and targets with their weights.
type Case = (Planted, [(f64, f64); 3]);

const COUNTS: [(f64, f64); 3] = [(0.0, 1.0), (4.0, 1.0), (2.0, 3.0)];
const POSITIVE: [(f64, f64); 3] = [(0.1, 1.0), (4.0, 1.0), (2.0, 3.0)];
const NUMBERS: [(f64, f64); 3] = [(0.0, 1.0), (40.0, 1.0), (-2.0, 3.0)];
const SHARES: [(f64, f64); 3] = [(0.0, 1.0), (1.0, 1.0), (0.25, 8.0)];

#[test]
fn mistakes_of_families_are_found() {
    let counts = |mistake| (Planted::of(NegativeBinomial { dispersion: 0.4 }, mistake), COUNTS);
    let positive = |mistake| (Planted::of(Gamma { dispersion: 0.3 }, mistake), POSITIVE);
    let numbers = |mistake| (Planted::of(StudentT { scale2: 1.5, freedom: 4.0 }, mistake), NUMBERS);
    let shares = |mistake| (Planted::of(Binomial::default(), mistake), SHARES);
    for (family, targets) in [counts(Mistake::None), positive(Mistake::None), numbers(Mistake::None), shares(Mistake::None)] {
        check_family(&family, &targets).unwrap();
    }
    let of_all = [
        (Mistake::SlopeSign, Promise::Slope),
        (Mistake::Curvature, Promise::Curvature),
        (Mistake::Constant, Promise::Mass),
        (Mistake::Mean, Promise::Mean),
        (Mistake::Variance, Promise::Variance),
        (Mistake::VarianceOfWeight, Promise::Variance),
        (Mistake::ExpectedAtMean, Promise::Expected),
        (Mistake::ExpectedCurvature, Promise::Expected),
        (Mistake::Start, Promise::Start),
    ];
    let of_dispersions = [
        (Mistake::Cumulative, Promise::Cumulative),
        (Mistake::CumulativeFarOut, Promise::Cumulative),
        (Mistake::DispersionSlope, Promise::DispersionSlope),
        (Mistake::DispersionNames, Promise::Dispersion),
        (Mistake::BeginsNegative, Promise::Dispersion),
    ];
    let mut planted: Vec<(Case, Promise)> = Vec::new();
    for (mistake, promise) in of_all {
        planted.extend([counts(mistake), positive(mistake), shares(mistake)].map(|own| (own, promise)));
        planted.push((numbers(mistake), promise));
    }
    for (mistake, promise) in of_dispersions {
        planted.extend([counts(mistake), positive(mistake), numbers(mistake)].map(|own| (own, promise)));
    }
    for mistake in [Mistake::DeviancePower, Mistake::DevianceSign] {
        planted.extend([counts(mistake), positive(mistake), shares(mistake)].map(|own| (own, Promise::Deviance)));
    }
    planted.extend([counts, positive, shares].map(|own| (own(Mistake::AcceptsAll), Promise::Refuses)));
    planted.extend([counts, positive, numbers].map(|own| (own(Mistake::RefusesSome), Promise::Accepts)));
    planted.extend([counts, positive].map(|own| (own(Mistake::DispersionUnset), Promise::DispersionSlope)));
    // A weight of t divides its scale; of shares it is what they are shares of.
    planted.push((numbers(Mistake::DispersionUnset), Promise::Weight));
    planted.push((shares(Mistake::Weight), Promise::Mass));
    planted.extend([counts(Mistake::Weight), positive(Mistake::Weight), numbers(Mistake::Weight)].map(|own| (own, Promise::Weight)));
    planted.push((numbers(Mistake::Concave), Promise::Concave));
    // cognate draws by name: what is not Poisson may not be called so.
    planted.push((counts(Mistake::Name), Promise::Draws));
    for ((family, targets), promise) in planted {
        let failure = check_family(&family, &targets).expect_err(&format!("{family:?} keeps its promises"));
        assert_eq!(failure.promise, promise, "{family:?}: {failure}");
        assert!(failure.to_string().contains(&promise.to_string()) && !failure.place.is_empty());
    }
}

fn tasks(target: impl Fn(usize) -> f64) -> Tasks {
    let mut rows = Rows::new("y", &["x"]);
    (0..60).for_each(|i| rows.push(&format!("task {}", i % 5), &[(i * 37 % 23) as f64 / 10.0 - 1.0], target(i), 1.0).unwrap());
    rows.tasks(&Design::varying(rows.features())).with_rows(rows).unwrap()
}

/// What is wrong with a likelihood.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slip {
    None,
    Slope,
    SlopeMissing,
    Update,
    At,
    Asymmetric,
    Negative,
    Posterior,
}

#[derive(Clone, Debug)]
struct Slipped(Gaussian, Slip);

impl Likelihood for Slipped {
    fn name(&self) -> &'static str {
        "slipped"
    }
    fn start(&self, data: &Observations, mean_features: &[usize]) -> Dispersion {
        self.0.start(data, mean_features)
    }
    fn noise(&self, data: &Observations, dispersion: &Dispersion) -> Vec<f64> {
        self.0.noise(data, dispersion)
    }
    fn posterior(&self, data: &Observations, own: &Dispersion, prior: &Prior, search: (Option<&Quadratics>, f64)) -> Result<Approximation> {
        let doubled = Dispersion::shared(2.0 * own.values[0]);
        let mut found = self.0.posterior(data, if self.1 == Slip::Posterior { &doubled } else { own }, prior, search)?;
        let mut first = found.quadratics.task(0);
        match self.1 {
            Slip::Asymmetric => first.curvature[(0, 1)] += 1.0,
            Slip::Negative => first.curvature = -first.curvature,
            _ => return Ok(found),
        }
        let rest = (1..found.quadratics.len()).map(|t| found.quadratics.task(t));
        let all: Vec<Quadratic> = std::iter::once(first).chain(rest).collect();
        found.quadratics = Quadratics::new(&all)?;
        Ok(found)
    }
    fn update(&self, data: &Observations, posterior: &Posterior, dispersion: &Dispersion) -> Dispersion {
        let own = self.0.update(data, posterior, dispersion);
        if self.1 == Slip::Update { Dispersion::shared(3.0 * own.values[0]) } else { own }
    }
    fn at(&self, point: &[f64], like: &Dispersion) -> Dispersion {
        let own = self.0.at(point, like);
        if self.1 == Slip::At { Dispersion::shared(own.values[0].sqrt()) } else { own }
    }
    fn slope(&self, data: &Observations, found: &Approximation, dispersion: &Dispersion) -> Result<Vec<f64>> {
        let own = self.0.slope(data, found, dispersion)?;
        Ok(match self.1 {
            Slip::Slope => own.into_iter().map(|value| -value).collect(),
            Slip::SlopeMissing => Vec::new(),
            _ => own,
        })
    }
    fn log_prior(&self, dispersion: &Dispersion) -> f64 {
        self.0.log_prior(dispersion)
    }
}

#[test]
fn mistakes_of_likelihoods_are_found() {
    let numbers = tasks(|i| (i * 29 % 31) as f64 / 8.0 + (i % 5) as f64);
    check_likelihood(Slipped(Gaussian::default(), Slip::None), &numbers).unwrap();
    let planted = [
        (Slip::Slope, Promise::CoordinateSlope),
        (Slip::SlopeMissing, Promise::CoordinateSlope),
        (Slip::Posterior, Promise::CoordinateSlope),
        (Slip::At, Promise::RoundTrip),
        (Slip::Asymmetric, Promise::Quadratics),
        (Slip::Negative, Promise::Quadratics),
        (Slip::Update, Promise::Update),
    ];
    for (slip, promise) in planted {
        let failure = check_likelihood(Slipped(Gaussian::default(), slip), &numbers).expect_err(&format!("{slip:?} is not found"));
        assert_eq!(failure.promise, promise, "{slip:?}: {failure}");
    }
    // A family's mistakes are those of its likelihood too.
    let counts = tasks(|i| (i * i * 5 % 13) as f64);
    check_likelihood(Generalised::new(Planted::of(Poisson, Mistake::None)), &counts).unwrap();
    for (mistake, promise) in
        [(Mistake::SlopeSign, Promise::Slope), (Mistake::Curvature, Promise::Curvature), (Mistake::Constant, Promise::Mass)]
    {
        let failure = check_likelihood(Generalised::new(Planted::of(Poisson, mistake)), &counts).unwrap_err();
        assert_eq!(failure.promise, promise, "{failure}");
    }
    let failure = check_likelihood(Generalised::new(Poisson), &tasks(|i| i as f64 - 0.5)).unwrap_err();
    assert!(failure.promise == Promise::Accepts && failure.place.contains("target -0.5"), "{failure}");
}

/// What is wrong with a structure.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    Start,
    Update,
    Slope,
    SlopeMissing,
    At,
    Names,
    Order,
}

#[derive(Clone, Debug)]
struct Flawed(Exchangeable, Flaw);

impl Flawed {
    fn inner(&self) -> &dyn Smooth {
        self.0.smooth().unwrap()
    }
}

impl Structure for Flawed {
    fn name(&self) -> &'static str {
        "flawed"
    }
    fn feature_covariance(&self) -> Option<FeatureCovariance> {
        self.0.feature_covariance()
    }
    fn start(&mut self, setting: &Setting) -> Result<(Prior, Option<Dispersion>)> {
        let (mut prior, fixed) = self.0.start(setting)?;
        let tasks = setting.names.len();
        let scales = |scale: &dyn Fn(usize) -> f64| Relatedness::Dense(DMatrix::from_diagonal(&DVector::from_fn(tasks, |t, _| scale(t))));
        match self.1 {
            Flaw::Start => prior.factor[(0, 0)] = f64::NAN,
            Flaw::Names => prior.relatedness = scales(&|t| if setting.names[t].ends_with(['1', '2', '3']) { 4.0 } else { 1.0 }),
            Flaw::Order => prior.relatedness = scales(&|t| 1.0 + t as f64),
            _ => {}
        }
        Ok((prior, fixed))
    }
    fn update(&mut self, posterior: &Posterior) -> Result<Prior> {
        let mut prior = self.0.update(posterior)?;
        if self.1 == Flaw::Update {
            prior.factor *= 2.0;
        }
        Ok(prior)
    }
    fn parameters(&self, prior: &Prior) -> usize {
        self.0.parameters(prior)
    }
    fn smooth(&self) -> Option<&dyn Smooth> {
        Some(self)
    }
}

impl Smooth for Flawed {
    fn coordinates(&self, prior: &Prior) -> Vec<f64> {
        self.inner().coordinates(prior)
    }
    fn at(&self, point: &[f64], like: &Prior) -> Option<Prior> {
        let mut prior = self.inner().at(point, like)?;
        if self.1 == Flaw::At {
            prior.factor *= 1.1;
        }
        Some(prior)
    }
    fn slope(&self, posterior: &Posterior) -> Vec<f64> {
        let mut slope = self.inner().slope(posterior);
        match self.1 {
            Flaw::Slope => slope[1] *= -1.0,
            Flaw::SlopeMissing => slope.truncate(1),
            _ => {}
        }
        slope
    }
}

#[test]
fn mistakes_of_structures_are_found() {
    let of = |flaw| Flawed(Exchangeable::new(FeatureCovariance::Diagonal), flaw);
    check_structure(|_| Box::new(of(Flaw::None))).unwrap();
    let planted = [
        (Flaw::Start, Promise::Prior),
        (Flaw::Update, Promise::Update),
        (Flaw::Slope, Promise::CoordinateSlope),
        (Flaw::SlopeMissing, Promise::CoordinateSlope),
        (Flaw::At, Promise::RoundTrip),
        (Flaw::Names, Promise::Names),
        (Flaw::Order, Promise::Order),
    ];
    for (flaw, promise) in planted {
        let failure = check_structure(|_| Box::new(of(flaw))).expect_err(&format!("{flaw:?} is not found"));
        assert_eq!(failure.promise, promise, "{flaw:?}: {failure}");
    }
}

/// The simplest value for which a property does not hold.
fn simplest<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>, holds: impl Fn(&T) -> bool) -> T {
    let runner = &mut TestRunner::deterministic();
    let failed = runner.run(&strategy, |value| if holds(&value) { Ok(()) } else { Err(TestCaseError::fail("it does not hold")) });
    match failed {
        Err(TestError::Fail(_, value)) => value,
        other => panic!("the property holds, or was not tried: {other:?}"),
    }
}

#[test]
fn strategies_shrink_to_what_is_simple() {
    let few = simplest(rows(1..8, 2, 1..8, (-5i32..5).prop_map(|y| (f64::from(y), 1.0))), |rows| rows.len() < 4);
    assert_eq!(few.len(), 4);
    assert!((0..4).all(|i| few.x(i) == [0.0, 0.0] && few.y(i) == 0.0));
    let joined = simplest(task_graph(1..9, 0..20), |graph| graph.edges().count() == 0);
    assert_eq!(joined.edges().count(), 1);
    let plain = simplest(prior(4, 2), |prior| prior.mean_features.is_empty());
    assert!(matches!(plain.relatedness, Relatedness::Identity) && plain.factor[(1, 0)] == 0.0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// With a posterior under each of the priors for rows of each table.
    #[test]
    fn priors_and_tasks_go_together(
        prior in prior(3, 2),
        tasks in cognate::testing::strategies::tasks(3, 1, 1..6, (-5.0..5.0, 0.5..2.0)),
    ) {
        let data = Observations::new(&tasks, &cognate::Coordinates::identity(tasks.design()));
        let quadratics = Gaussian::default().quadratics(&data, &Dispersion::shared(0.5));
        let posterior = Posterior::given(&quadratics, &prior);
        prop_assert!(posterior.is_ok_and(|posterior| posterior.log_likelihood().is_finite()));
    }
}
