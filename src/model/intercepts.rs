//! Where the intercept is, and what it is in tasks that no prior gives one.

use crate::likelihood::Dispersion;
use crate::prior::Prior;
use crate::tasks::{Coordinates, INTERCEPT, Tasks};
use nalgebra::DMatrix;

/// Number of the intercept: the constant feature, or among estimates the one of its name.
pub(super) fn number(tasks: &Tasks) -> Option<usize> {
    let named = |name: &String| tasks.are_estimates() && name == INTERCEPT;
    if tasks.design().has_intercept() { Some(0) } else { tasks.design().features().iter().position(named) }
}

/// Adds to fitted coefficients (d x T) and covariances (d^2 x T) the intercepts of targets in units of their own: the mean of a task's targets
/// less what its features explain, known as well as its rows are many.
pub(super) fn add_left(
    tasks: &Tasks,
    coordinates: &Coordinates,
    (prior, dispersion): (&Prior, &Dispersion),
    coefficients: &mut DMatrix<f64>,
    covariances: &mut DMatrix<f64>,
) {
    let p = coefficients.nrows();
    for t in 0..tasks.len() {
        let Some((means, weight)) = tasks.left_intercept(t, coordinates) else { continue };
        let mut map = DMatrix::identity(p, p);
        map.row_mut(0).copy_from(&(-means).transpose());
        map[(0, 0)] = 1.0;
        let mut covariance = &map * DMatrix::from_column_slice(p, p, covariances.column(t).as_slice()) * map.transpose();
        if !prior.free.contains(&0) {
            covariance[(0, 0)] += dispersion.variance(t) / weight;
        }
        coefficients.set_column(t, &(map * coefficients.column(t)));
        covariances.column_mut(t).copy_from_slice(covariance.as_slice());
    }
}
