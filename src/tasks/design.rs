//! Which features a model has, and what part each plays.

use super::INTERCEPT;
use serde::{Deserialize, Serialize};

/// Which features the model has and what part each plays: in the common mean, varying between tasks, and in the task graph.
///
/// The intercept, where there is one, is feature 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Design {
    pub(super) features: Vec<String>,
    pub(super) intercept: bool,
    pub(super) mean: Vec<bool>,
    varying: Vec<bool>,
    /// Names of those in whose directions tasks may be related; none for all.
    #[serde(default)]
    graph_features: Option<Vec<String>>,
    /// Whether the target of each task is in a unit of its own.
    #[serde(default)]
    pub(super) own_units: bool,
}

impl Design {
    /// An intercept and `features`, all in the mean and all varying.
    pub fn varying<S: AsRef<str>>(features: &[S]) -> Self {
        let features: Vec<String> = std::iter::once(INTERCEPT.to_string()).chain(features.iter().map(|f| f.as_ref().to_string())).collect();
        let all = vec![true; features.len()];
        Design { features, intercept: true, mean: all.clone(), varying: all, graph_features: None, own_units: false }
    }

    /// The same features, of which only those for which `varies(name)` holds vary; the intercept is `(Intercept)`.
    pub fn with_varying(mut self, varies: impl Fn(&str) -> bool) -> Self {
        self.varying = self.features.iter().map(|name| varies(name)).collect();
        self
    }

    /// The same features, of which only those for which `has_mean(name)` holds have a mean other than 0.
    pub fn with_mean(mut self, has_mean: impl Fn(&str) -> bool) -> Self {
        self.mean = self.features.iter().map(|name| has_mean(name)).collect();
        self
    }

    /// The same features, of which those that vary have mean 0.
    pub fn without_varying_means(mut self) -> Self {
        self.mean = self.mean.iter().zip(&self.varying).map(|(mean, varies)| *mean && !varies).collect();
        self
    }

    /// The same features, of which only those for which `relates(name)` holds are graph features: tasks may be related in their
    /// directions, and vary in the others each by itself.
    ///
    /// ```
    /// use cognate::Design;
    /// let slopes = Design::varying(&["x", "z"]).with_graph_features(|name| name != "(Intercept)");
    /// assert_eq!(slopes.unrelated_features(), [0]);
    /// ```
    pub fn with_graph_features(mut self, relates: impl Fn(&str) -> bool) -> Self {
        self.graph_features = Some(self.features.iter().filter(|name| relates(name)).cloned().collect());
        self
    }

    /// The same features for targets each in a unit of its own (iron in one task, weight in another): they are centred and scaled task by
    /// task, so that tasks are alike where their features move them by the same share of a standard deviation. The intercept is left to
    /// each task, and varying features have no mean.
    ///
    /// ```
    /// use cognate::Design;
    /// let design = Design::varying(&["x", "z"]).with_own_units();
    /// assert_eq!((design.mean_features(), design.varying_features()), (vec![], vec![1, 2]));
    /// ```
    pub fn with_own_units(mut self) -> Self {
        self.mean = self.mean.iter().zip(&self.varying).map(|(mean, varies)| *mean && !varies).collect();
        if self.intercept {
            (self.mean[0], self.varying[0]) = (false, false);
        }
        self.own_units = true;
        self
    }

    /// Whether each task has an intercept of its own that no prior knows of, the mean of its targets less what its features explain.
    pub(crate) fn leaves_intercepts(&self) -> bool {
        self.own_units && self.intercept
    }

    /// The same features without the intercept.
    pub fn without_intercept(mut self) -> Self {
        if self.intercept {
            self.features.remove(0);
            self.mean.remove(0);
            self.varying.remove(0);
            self.intercept = false;
        }
        self
    }

    /// Feature names, the intercept first.
    pub fn features(&self) -> &[String] {
        &self.features
    }

    /// How many features there are, the intercept included.
    pub fn len(&self) -> usize {
        self.features.len()
    }

    /// Whether there is no feature.
    pub fn is_empty(&self) -> bool {
        self.features.is_empty()
    }

    /// Whether there is an intercept.
    pub fn has_intercept(&self) -> bool {
        self.intercept
    }

    /// Numbers of the varying features.
    pub fn varying_features(&self) -> Vec<usize> {
        (0..self.len()).filter(|i| self.varying[*i]).collect()
    }

    /// Numbers of the varying features that are not graph features.
    pub fn unrelated_features(&self) -> Vec<usize> {
        let Some(chosen) = &self.graph_features else { return Vec::new() };
        self.varying_features().into_iter().filter(|i| !chosen.contains(&self.features[*i])).collect()
    }

    /// Numbers of the features with a mean.
    pub fn mean_features(&self) -> Vec<usize> {
        (0..self.len()).filter(|i| self.mean[*i]).collect()
    }

    /// How many of the features come from columns (all but the intercept).
    pub(crate) fn columns(&self) -> usize {
        self.len() - usize::from(self.intercept)
    }
}
