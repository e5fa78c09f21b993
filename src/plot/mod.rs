//! Figures for papers, as SVG or PNG: the task graph, the heat map of relatedness, parameters with intervals, the climb of the fit and its calibration.

mod axes;
mod calibration;
mod climb;
mod graph;
mod layout;
mod letters;
mod map;
mod names;
mod parameters;
mod sheet;

use crate::check::Check;
use crate::error::{Error, Result};
use crate::model::Fit;
use sheet::Sheet;

/// Half the width of an interval of 95 % in standard deviations.
const REACH: f64 = 1.959_963_985;

/// Least and most pixels of a side.
const SIDES: std::ops::RangeInclusive<u32> = 160..=20_000;

/// A figure on white ground, without a title, its letters of 8 and 9 points where a pixel is 1/96 inch: [`Figure::svg`] and [`Figure::png`] have the same bytes for the same fit, size
/// and seed, whatever the thread count.
///
/// ```
/// use cognate::{Design, FeatureCovariance, Full, Gaussian, Model, Rows, plot::Figure};
/// // Eight fields; odd ones answer to light and rain as even ones do, with the sign changed.
/// let mut rows = Rows::new("growth", &["a", "b", "c", "d", "e", "f"]);
/// for i in 0..320u32 {
///     let (field, x) = (i % 8, (0..6).map(|k| f64::from((i / 8 * (k + 2) + k) % 11) - 5.0).collect::<Vec<_>>());
///     let sign = if field % 2 == 0 { 1.0 } else { -1.0 };
///     let growth = x.iter().enumerate().map(|(k, x)| sign * (1.0 + k as f64) * x).sum::<f64>() + f64::from(i % 7);
///     rows.push(&format!("field {field}"), &x, growth, 1.0)?;
/// }
/// let tasks = rows.tasks(&Design::varying(rows.features()));
/// let fit = Model::new(Gaussian::default(), Full::new(FeatureCovariance::Scalar)).fit(&tasks)?;
/// let svg = Figure::graph(&fit, 0.1, 1)?.svg()?;
/// assert!(svg.starts_with("<svg") && svg.contains("field 3"));
/// let map = Figure::relatedness(&fit)?.with_size(Some(600), Some(500))?;
/// assert_eq!(map.size(), (600, 500));
/// assert!(map.png(2.0)?.starts_with(b"\x89PNG"));
/// # Ok::<(), cognate::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Figure {
    drawn: Drawn,
    width: Option<u32>,
    height: Option<u32>,
}

#[derive(Clone, Debug)]
enum Drawn {
    Graph(graph::Graph),
    Relatedness(map::Map),
    Parameters(parameters::Caterpillars),
    Trace(climb::Climb),
    Calibration(calibration::Calibration),
}

impl Figure {
    fn new(drawn: Drawn) -> Self {
        Figure { drawn, width: None, height: None }
    }

    /// The task graph. A learned graph has the largest set of edges whose expected share of false ones is at most `rate` (of at most .5), as
    /// [`TaskGraph::at_false_discovery_rate`](crate::TaskGraph::at_false_discovery_rate) has it; of up to 30 tasks whose correlations are learned otherwise (full, factor) it is the
    /// largest set of correlations whose expected share of false signs is at most that, by 400 draws for which the seed is; a given graph is drawn whole, of other structures the three
    /// strongest correlations of each task are; of clusters their members. At most 6,000 edges and 2,000 tasks, the most probable or strongest first. Width is strength, colour sign, and the
    /// fainter an edge the less probable. More than 60 tasks lose names that fit nowhere, more than 400 all. O(T^2) for relations and places.
    ///
    /// ```
    /// use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Model, Rows, plot::Figure};
    /// let mut rows = Rows::new("growth", &["light"]);
    /// for i in 0..90 {
    ///     let (field, light) = (i % 6, f64::from(i % 9) / 4.0);
    ///     rows.push(&format!("field {field}"), &[light], light + 0.3 * f64::from(field % 4) + f64::from((i * 5 + field) % 7) * 0.1, 1.0)?;
    /// }
    /// let tasks = rows.tasks(&Design::varying(rows.features()));
    /// let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks)?;
    /// // All tasks are related alike.
    /// let refused = Figure::graph(&fit, 0.1, 1).unwrap_err().to_string();
    /// assert!(refused.contains("equally related") && refused.contains("parameters"));
    /// # Ok::<(), cognate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Arguments`] for a rate that is none, and where there is no edge: all tasks are related alike, or none is at that rate; what the draws refuse.
    pub fn graph(fit: &Fit, rate: f64, seed: u64) -> Result<Self> {
        graph::Graph::of(fit, rate, seed).map(|own| Figure::new(Drawn::Graph(own)))
    }

    /// The heat map of correlations (of clusters the probability that two tasks are of the same one) with a bar of its colours, the likest tasks side by side (average linkage, ends
    /// joined as Gruvaeus and Wainer 1972 do). Up to 200 tasks have rows and names, where these are of at least 6 points; beyond it is 160 blocks of tasks. O(T^2) up to 10,000 tasks.
    ///
    /// # Errors
    /// [`Error::Arguments`] where all tasks are related alike, and for more than 10,000 tasks without a graph.
    pub fn relatedness(fit: &Fit) -> Result<Self> {
        map::Map::of(fit).map(|own| Figure::new(Drawn::Relatedness(own)))
    }

    /// Caterpillar plots: for each of these features (if empty, for up to twelve, those in which tasks differ most against their uncertainty) the estimates of all tasks in their order with
    /// intervals of 95 %, and the common mean as a dashed line. Up to 60 tasks have names, beyond 400 the intervals are one area. O(T d^3).
    ///
    /// ```
    /// # use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Model, Rows, plot::Figure};
    /// # let mut rows = Rows::new("growth", &["light"]);
    /// # for i in 0..90 {
    /// #     let (field, light) = (i % 6, f64::from(i % 9) / 4.0);
    /// #     rows.push(&format!("field {field}"), &[light], light + 0.3 * f64::from(field % 4) + f64::from((i * 5 + field) % 7) * 0.1, 1.0)?;
    /// # }
    /// # let tasks = rows.tasks(&Design::varying(rows.features()));
    /// # let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks)?;
    /// assert!(Figure::parameters(&fit, &["light".into()])?.svg()?.contains("light [growth per unit]"));
    /// let refused = Figure::parameters(&fit, &["ligt".into()]).unwrap_err().to_string();
    /// assert!(refused.contains("did you mean 'light'?"));
    /// # Ok::<(), cognate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Arguments`] for a feature that the fit does not have.
    pub fn parameters(fit: &Fit, features: &[String]) -> Result<Self> {
        parameters::Caterpillars::of(fit, features).map(|own| Figure::new(Drawn::Parameters(own)))
    }

    /// The log likelihood after every E-step, in fitted units, and above it the log posterior where priors make that another shape.
    ///
    /// # Errors
    /// [`Error::Arguments`] for a fit that took no steps.
    pub fn trace(fit: &Fit) -> Result<Self> {
        climb::Climb::of(fit).map(|own| Figure::new(Drawn::Trace(own)))
    }

    /// Calibration: the histogram of probability integral transforms, and how many targets lay in central intervals of their forecasts less how many should, with intervals of 95 %
    /// clustered by task. Grey is where 95 % of samples of as many independent rows would lie (binomial); rows of a task that are alike reach beyond it by chance too.
    ///
    /// # Errors
    /// [`Error::Arguments`] for a check without rows.
    pub fn calibration(check: &Check) -> Result<Self> {
        calibration::Calibration::of(check).map(|own| Figure::new(Drawn::Calibration(own)))
    }

    /// Whether it has the edges at a false discovery rate.
    pub(crate) fn is_at_rate(&self) -> bool {
        matches!(&self.drawn, Drawn::Graph(own) if own.is_at_rate())
    }

    /// With a width and a height in pixels of 1/96 inch, in the place of those that suit what is drawn.
    ///
    /// # Errors
    /// [`Error::Arguments`] for less than 160 or more than 20,000.
    pub fn with_size(self, width: Option<u32>, height: Option<u32>) -> Result<Self> {
        for (name, side) in [("width", width), ("height", height)] {
            if let Some(side) = side.filter(|own| !SIDES.contains(own)) {
                let problem = format!("a {name} of {side} pixels is no figure's; give one of {} to {}", SIDES.start(), SIDES.end());
                return Err(Error::Arguments(problem));
            }
        }
        Ok(Figure { width, height, ..self })
    }

    /// Width and height in pixels of 1/96 inch.
    pub fn size(&self) -> (u32, u32) {
        let (width, height) = match &self.drawn {
            Drawn::Graph(own) => own.size(),
            Drawn::Relatedness(own) => own.size(),
            Drawn::Parameters(own) => own.size(),
            Drawn::Trace(own) => own.size(),
            Drawn::Calibration(own) => own.size(),
        };
        let whole = |own: f64| (own.ceil() as u32).clamp(*SIDES.start(), *SIDES.end());
        (self.width.unwrap_or(whole(width)), self.height.unwrap_or(whole(height)))
    }

    fn sheet(&self) -> Sheet {
        let (width, height) = self.size();
        let mut sheet = Sheet::new((f64::from(width), f64::from(height)));
        match &self.drawn {
            Drawn::Graph(own) => own.draw(&mut sheet),
            Drawn::Relatedness(own) => own.draw(&mut sheet),
            Drawn::Parameters(own) => own.draw(&mut sheet),
            Drawn::Trace(own) => own.draw(&mut sheet),
            Drawn::Calibration(own) => own.draw(&mut sheet),
        }
        sheet
    }

    /// The figure as SVG. Letters are text, in Noto Sans where there is one, else Helvetica or Arial; names are escaped.
    ///
    /// # Errors
    /// [`Error::Arguments`] where it cannot be drawn.
    pub fn svg(&self) -> Result<String> {
        self.sheet().svg()
    }

    /// The figure as PNG with `scale` pixels to each of its own (1: of the figure's size; 3 for print, 288 to the inch). Letters are of an embedded Noto Sans (Latin, Greek and Cyrillic), so
    /// that they do not depend on the machine; other scripts are set from its fonts, letter by letter.
    ///
    /// # Errors
    /// [`Error::Arguments`] for a scale that is not from .1 to 20 and for more than 64 million pixels.
    pub fn png(&self, scale: f64) -> Result<Vec<u8>> {
        if !(0.1..=20.0).contains(&scale) {
            return Err(Error::Arguments(format!("{scale} is no scale of a PNG; give one from 0.1 to 20, such as 3 for print")));
        }
        self.sheet().png(scale)
    }
}
