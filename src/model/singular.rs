//! Features whose deviations follow from those of others: what it means that K has less than full rank.

use super::Fit;
use crate::linalg;
use crate::structure::FeatureCovariance;
use nalgebra::DMatrix;

/// A feature in which tasks deviate as a combination of other features says.
pub(crate) struct Dependence {
    /// Its name.
    pub feature: String,
    /// The others by which it is known, and how much of each a unit of the table has, the largest contribution first.
    pub of: Vec<(String, f64)>,
    /// Share of its variance between tasks that they leave.
    pub left: f64,
    /// Whether the intercept is among them as the level at the mean of the features.
    pub at_mean: bool,
}

/// Share of a variance below which it is as good as 0.
const NOTHING: f64 = 1e-8;

/// And below which it is next to nothing.
const NEXT_TO_NOTHING: f64 = 1e-4;

impl Fit {
    /// Varying features whose variance between tasks was estimated as 0.
    pub(crate) fn singular_features(&self) -> Vec<&str> {
        let covariance = self.prior.feature_covariance();
        let largest = covariance.diagonal().amax();
        if !self.prior.relatedness.varies() {
            return Vec::new();
        }
        self.prior
            .varying
            .iter()
            .enumerate()
            .filter(|(k, _)| covariance[(*k, *k)] <= 1e-9 * largest)
            .map(|(_, feature)| self.tasks.design().features()[*feature].as_str())
            .collect()
    }

    /// Whether some deviations follow exactly from others.
    pub(crate) fn has_combinations(&self) -> bool {
        self.dependences().iter().any(|own| own.left <= NOTHING)
    }

    /// Features with a variance of which the others leave next to nothing, by the covariance in the coordinates of the fit, so that a level far from where the
    /// rows are is not taken for one: those explained last by pivots, the largest variance left first. O(q^3).
    pub(crate) fn dependences(&self) -> Vec<Dependence> {
        let covariance = self.prior.feature_covariance();
        let q = covariance.nrows();
        if !self.prior.relatedness.varies() {
            return Vec::new();
        }
        let largest = covariance.diagonal().amax();
        let sizes: Vec<f64> = (0..q).map(|k| if covariance[(k, k)] > 1e-9 * largest { covariance[(k, k)].sqrt() } else { 0.0 }).collect();
        let correlation = correlation_of(&covariance, &sizes);
        let mut left = correlation.clone();
        let (mut known, mut rest): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..q).filter(|k| sizes[*k] > 0.0).collect());
        while let Some(place) =
            (0..rest.len()).max_by(|a, b| left[(rest[*a], rest[*a])].total_cmp(&left[(rest[*b], rest[*b])]).then(b.cmp(a)))
        {
            let pivot = rest[place];
            if left[(pivot, pivot)] <= NEXT_TO_NOTHING {
                break;
            }
            let column = left.column(pivot) / left[(pivot, pivot)].sqrt();
            left -= &column * column.transpose();
            known.push(pivot);
            rest.remove(place);
        }
        let (names, scales) = (self.tasks.design().features(), self.coordinates.scales());
        let name = |k: usize| names[self.prior.varying[k]].clone();
        let inverse = correlation.select_rows(&known).select_columns(&known).try_inverse();
        let Some(inverse) = inverse.filter(|_| !rest.is_empty()) else { return Vec::new() };
        let of = |j: usize| {
            let shares = correlation.select_rows(&[j]).select_columns(&known) * &inverse;
            let mut of: Vec<(usize, f64)> =
                known.iter().copied().zip(shares.iter().copied()).filter(|(_, own)| own.abs() > 0.005).collect();
            of.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
            let scale = |k: usize| scales[self.prior.varying[k]];
            let has_level = self.prior.varying[j] == 0 || of.iter().any(|(k, _)| self.prior.varying[*k] == 0);
            let centred = self.tasks.design().has_intercept() && self.coordinates.centre.iter().any(|own| *own != 0.0);
            let of = of.into_iter().map(|(k, own)| (name(k), own * sizes[j] / sizes[k] * scale(k) / scale(j))).collect();
            Dependence { feature: name(j), of, left: left[(j, j)].max(0.0), at_mean: has_level && centred }
        };
        rest.into_iter().map(of).collect()
    }

    /// A root of K without columns that are nothing but rounding, and whether each follows Sigma: the columns of L, of a full K its principal axes.
    pub(crate) fn directions(&self) -> (DMatrix<f64>, Vec<bool>) {
        let prior = &self.prior;
        if self.feature_covariance_kind != Some(FeatureCovariance::Full) || !prior.unrelated.is_empty() {
            let moving: Vec<usize> = (0..prior.factor.ncols()).filter(|k| prior.factor.column(*k).norm() > 0.0).collect();
            let related = prior.related_columns();
            return (prior.factor.select_columns(&moving), moving.iter().map(|k| related.contains(k)).collect());
        }
        let covariance = prior.feature_covariance();
        let sizes: Vec<f64> = covariance.diagonal().iter().map(|own| own.max(0.0).sqrt()).collect();
        let (values, axes) = linalg::symmetric_eigen(&correlation_of(&covariance, &sizes));
        let told: Vec<usize> = (0..values.len()).filter(|k| values[*k] > NOTHING).collect();
        let root = DMatrix::from_fn(sizes.len(), told.len(), |i, k| sizes[i] * axes[(i, told[k])] * values[told[k]].sqrt());
        (root, vec![true; told.len()])
    }
}

/// Correlations where there are sizes, 1 with itself; 0 where there are none.
fn correlation_of(covariance: &DMatrix<f64>, sizes: &[f64]) -> DMatrix<f64> {
    let size = |i: usize, j: usize| sizes[i] * sizes[j];
    DMatrix::from_fn(sizes.len(), sizes.len(), |i, j| match size(i, j) > 0.0 {
        true if i == j => 1.0,
        true => covariance[(i, j)] / size(i, j),
        false => 0.0,
    })
}
