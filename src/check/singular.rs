//! What is singular in a fit, in plain words: where it is, what it means and what to do.

use crate::model::Fit;
use serde::Serialize;

/// What is singular.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A variance between tasks is 0.
    NoVariance,
    /// Deviations in a feature follow from those in others.
    Combination,
    /// They all but do.
    NearCombination,
    /// Nothing is shared through a factor.
    NoFactor,
    /// Two tasks are the same but for chance.
    SameTasks,
    /// Nothing is left for noise.
    NoNoise,
    /// A feature is the same in all rows of tasks.
    ConstantWithinTasks,
    /// Rows of a task are fewer than what varies.
    FewRows,
    /// A family is at its limit.
    LimitOfFamily,
    /// A feature has no mean of its own.
    NoMean,
}

/// One thing that is singular.
#[derive(Clone, Debug, Serialize)]
pub struct Singularity {
    /// What it is.
    pub kind: Kind,
    /// The features or tasks that it is about.
    pub about: Vec<String>,
    /// What was found.
    pub finding: String,
    /// What it means for a reader of the fit.
    pub meaning: String,
    /// What to do.
    pub remedy: String,
}

/// Correlation of two tasks beyond which they are the same.
const SAME: f64 = 0.999;

/// Variance of the noise, in fitted units, at or below which there is none.
const NO_NOISE: f64 = 1e-9;

/// The first five names, and how many more there are.
fn first_five(names: &[String]) -> String {
    let more = if names.len() > 5 { format!(" and {} more", names.len() - 5) } else { String::new() };
    names[..names.len().min(5)].join(", ") + &more
}

/// Three digits, without those that say nothing.
fn short(value: f64) -> String {
    let digits = (2 - value.abs().max(1e-300).log10().floor() as i32).clamp(0, 6) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

/// 2.1 x1 - 0.3 x2.
fn combination(of: &[(String, f64)]) -> String {
    let mut text = String::new();
    for (k, (name, value)) in of.iter().enumerate() {
        let sign = match (k, *value < 0.0) {
            (0, false) => "",
            (0, true) => "-",
            (_, false) => " + ",
            (_, true) => " - ",
        };
        let size = short(value.abs());
        text += &if size == "1" { format!("{sign}{name}") } else { format!("{sign}{size} {name}") };
    }
    text
}

impl Fit {
    /// What is singular in it, in words: variances at 0, features in which tasks deviate together, tasks that are the same, noise at its floor, families at their limit,
    /// and what the rows of tasks do not tell apart. Read off the fit; O(q^3 + T d^2), and O(T^3) where relatedness is learned.
    ///
    /// ```
    /// use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Model, Rows, check::Kind};
    /// let mut rows = Rows::new("y", &["x"]);
    /// for i in 0..60 {
    ///     // Tasks have levels of their own and the same slope.
    ///     let (t, x) = (i % 6, f64::from(i / 6));
    ///     rows.push(&format!("t{t}"), &[x], f64::from(3 * t % 5) + 2.0 * x + 0.1 * f64::from(i * 7 % 4), 1.0)?;
    /// }
    /// let tasks = rows.tasks(&Design::varying(rows.features()));
    /// let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks)?;
    /// let found = fit.singularities();
    /// assert!(found.iter().any(|own| own.kind == Kind::NoVariance && own.about == ["x"]));
    /// # Ok::<(), cognate::Error>(())
    /// ```
    pub fn singularities(&self) -> Vec<Singularity> {
        let mut found = Vec::new();
        let mut say = |kind: Kind, about: Vec<String>, finding: String, meaning: &str, remedy: &str| {
            found.push(Singularity { kind, about, finding, meaning: meaning.into(), remedy: remedy.into() });
        };
        let zero: Vec<String> = self.singular_features().into_iter().map(String::from).collect();
        if !zero.is_empty() {
            let finding = format!("the variance between tasks is 0 in {}", first_five(&zero));
            let meaning =
                "these coefficients are the same in all tasks: what differs between the tasks' own estimates is not more than noise makes";
            say(
                Kind::NoVariance,
                zero,
                finding,
                meaning,
                "nothing for predictions; leave them out of --varying for a smaller model that fits as well",
            );
        }
        for own in self.dependences() {
            let (kind, how) = if own.left <= 1e-8 { (Kind::Combination, "is") } else { (Kind::NearCombination, "is all but") };
            let about = std::iter::once(own.feature.clone()).chain(own.of.iter().map(|(name, _)| name.clone())).collect();
            let level = if own.at_mean { ", of which (Intercept) is the level at the mean of the features" } else { "" };
            let finding = format!("the deviation of a task in {} {how} {}{level}", own.feature, combination(&own.of));
            let meaning = "with the others held, no difference between tasks is seen in it beyond noise: K is 0 along that direction, correlations may be printed as 1, and intervals along it are too short";
            say(
                kind,
                about,
                finding,
                meaning,
                "nothing for predictions; to read variances, fit with --feature-covariance diagonal, or leave it out of --varying; more rows a task can tell them apart",
            );
        }
        if self.structure() == "factor" && self.loadings().is_none_or(|own| own.loadings.ncols() == 0) {
            let meaning =
                "no relation between tasks is seen beyond what chance makes: they are exchangeable but for variances of their own";
            say(Kind::NoFactor, Vec::new(), "no factor is left".into(), meaning, "use --structure exchangeable");
        }
        if let Some(pairs) = self.same_tasks() {
            for (s, t, value) in pairs {
                let about = vec![self.tasks().names()[s].clone(), self.tasks().names()[t].clone()];
                let finding = format!("tasks {} and {} have a correlation of {value:.4}", about[0], about[1]);
                let meaning = "they deviate alike in all that varies, so that the task covariance is all but singular and partial correlations of these tasks mean little";
                say(Kind::SameTasks, about, finding, meaning, "if they are one task under two names, give them one; else nothing");
            }
        }
        self.singular_noise(&mut say);
        self.singular_rows(&mut say);
        if !self.dropped().is_empty() {
            let finding = format!("{} had no mean of its own, as a combination of the features before", first_five(self.dropped()));
            let meaning = "the rows do not tell these coefficients of the mean from those of the features before them, which carry both";
            say(
                Kind::NoMean,
                self.dropped().to_vec(),
                finding,
                meaning,
                "leave one of the features out, or nothing: predictions are the same",
            );
        }
        found
    }

    /// Pairs of tasks that are the same, where relatedness is learned and not too wide to be spelt out.
    fn same_tasks(&self) -> Option<Vec<(usize, usize, f64)>> {
        const MOST: usize = 1_000;
        let tasks = self.tasks().len();
        if !self.learns_relatedness() || tasks > MOST {
            return None;
        }
        let correlation = self.relatedness()?;
        let pairs = (0..tasks).flat_map(|t| (0..t).map(move |s| (s, t)));
        Some(pairs.map(|(s, t)| (s, t, correlation[(s, t)])).filter(|pair| pair.2.abs() > SAME).take(5).collect())
    }

    fn singular_noise(&self, say: &mut impl FnMut(Kind, Vec<String>, String, &str, &str)) {
        if self.inference().is_none() && !self.noise_is_known() {
            let exact = |t: &usize| self.dispersion().variance(*t) <= NO_NOISE;
            let none: Vec<String> = (0..self.tasks().len()).filter(exact).map(|t| self.tasks().names()[t].clone()).collect();
            let finding = match none.len() == self.tasks().len() {
                true => "the noise variance is at its lower bound".to_string(),
                false => format!("the noise variance is at its lower bound in {}", first_five(&none)),
            };
            if !none.is_empty() {
                let meaning = "the features all but determine the target, so that intervals mean nothing";
                say(
                    Kind::NoNoise,
                    none,
                    finding,
                    meaning,
                    "look for the target among the features, or for rows that were copied; give fewer features",
                );
            }
        }
        for group in 0..self.tasks().groups().len().max(1) {
            let Some(t) = (0..self.tasks().len()).find(|t| self.tasks().group(*t) == group) else { continue };
            let numbers = self.family_dispersion(t);
            let (family, simpler) = match (self.family_of(t), numbers.as_slice()) {
                ("negative-binomial", [(_, value)]) if *value < 1e-3 => ("negative-binomial", "poisson"),
                ("student", [_, (_, freedom)]) if *freedom > 300.0 => ("student", "gaussian"),
                _ => continue,
            };
            let meaning = "the number that sets the family apart is at its end: the simpler family fits as well";
            say(
                Kind::LimitOfFamily,
                vec![family.into()],
                format!("{family} targets are as good as {simpler}"),
                meaning,
                &format!("use --family {simpler}"),
            );
        }
    }

    /// What the rows of tasks leave open, where it is so of many.
    fn singular_rows(&self, say: &mut impl FnMut(Kind, Vec<String>, String, &str, &str)) {
        let (tasks, design) = (self.tasks(), self.tasks().design());
        let count = tasks.len();
        if tasks.are_estimates() || count < 2 {
            return;
        }
        let lead = usize::from(design.has_intercept());
        let varying = &self.prior().varying;
        // Sums are about a task's first row, so a feature that never moves has none.
        let is_still = |t: usize, f: usize| {
            let (sums, k) = (tasks.statistics(t), f - lead + 1);
            let spread = sums.cross(k, k) - sums.cross(k, 0).powi(2) / sums.cross(0, 0).max(f64::MIN_POSITIVE);
            spread <= 1e-14 * sums.cross(k, k).abs()
        };
        if lead == 1 && varying.contains(&0) {
            for f in varying.iter().filter(|f| **f > 0) {
                let still = (0..count).filter(|t| is_still(*t, *f)).count();
                let name = &design.features()[*f];
                if 2 * still < count {
                    continue;
                }
                let finding = format!("{name} is the same in all rows of each of {still} of {count} tasks");
                let meaning = "rows of such a task do not tell its slope from its level, so that the slope's variance between tasks rests on the others, or on nothing";
                say(
                    Kind::ConstantWithinTasks,
                    vec![name.clone()],
                    finding,
                    meaning,
                    "leave it out of --varying: its mean is still estimated",
                );
            }
        }
        let few = (0..count).filter(|t| tasks.statistics(*t).rows() < varying.len() as u64).count();
        if 2 * few > count {
            let finding = format!("{few} of {count} tasks have fewer rows than the {} features that vary", varying.len());
            let meaning = "their own rows do not decide all of their parameters: in some directions each is what the other tasks say";
            say(
                Kind::FewRows,
                Vec::new(),
                finding,
                meaning,
                "nothing for predictions; more rows, or fewer features in --varying, for parameters of single tasks",
            );
        }
    }
}
