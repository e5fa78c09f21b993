//! Slopes of the log-likelihood in the scales of groups and of single tasks.

use super::Posterior;
use super::grouped::Grouped;
use nalgebra::{DMatrixView, DVector};
use rayon::prelude::*;

impl Posterior<'_> {
    /// Of each group with a scale of its own the slope of the log-likelihood in the logarithm of the scale, and about its curvature:
    /// sum_t E[u_t'(h_t - J_t w_t)] and sum_t E[u_t' J_t u_t] with u_t the deviation in full. O(T d^3).
    pub(crate) fn scale_slopes(&self) -> Vec<(f64, f64)> {
        let Some(groups) = self.seen.grouped().map(Grouped::groups).filter(|groups| groups.are_several()) else { return Vec::new() };
        let each = self.each_scale_slope();
        let of_group = |g: usize| {
            let own = (0..each.len()).filter(|t| groups.of(*t) == g);
            own.fold((0.0, 0.0), |sum, t| (sum.0 + each[t].0, sum.1 + each[t].1))
        };
        groups.scaled().into_iter().map(of_group).collect()
    }

    /// Of each task the slope of the log-likelihood in the logarithm of its scale. O(T d^3).
    pub(crate) fn task_scale_slopes(&self) -> Vec<f64> {
        if self.prior.task_scales.is_none() {
            return Vec::new();
        }
        self.each_scale_slope().into_iter().map(|(slope, _)| slope).collect()
    }

    fn each_scale_slope(&self) -> Vec<(f64, f64)> {
        let (data, p, own) = (self.data(), self.data().features(), self.seen.features() - self.seen.free());
        (0..self.tasks())
            .into_par_iter()
            .map(|t| {
                let curvature = DMatrixView::from_slice(data.curvature(t), p, p);
                let (z, covariance) = (self.kept_coefficients(t), self.moment_covariance(t));
                let (score, deviation) = (DVector::from_column_slice(data.linear(t)) - curvature * &z, z.rows(0, own));
                let (above, inside) = (curvature.rows(0, own), curvature.view((0, 0), (own, own)));
                let slope = deviation.dot(&score.rows(0, own)) - above.dot(&covariance.rows(0, own));
                let size = deviation.dot(&(inside * deviation)) + inside.dot(&covariance.view((0, 0), (own, own)));
                (data.precision(t) * slope, data.precision(t) * size)
            })
            .collect()
    }
}
