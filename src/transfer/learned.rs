//! The posterior of one task given its own rows, where what is believed of it before is a weighted set of normal distributions.

use crate::error::Result;
use crate::likelihood::{Dispersion, Likelihood, Observations};
use crate::linalg;
use crate::model::{Belief, moments};
use crate::posterior::Posterior;
use crate::prior::{Mean, Prior, Relatedness};
use nalgebra::{DMatrix, DVector};

/// What is known of it, in fitted coordinates.
#[derive(Clone, Debug)]
pub(super) struct Learned {
    pub moments: (DVector<f64>, DMatrix<f64>),
    pub own_share: Option<f64>,
    /// Log density of its rows.
    pub log_density: f64,
    /// Of the distributions.
    pub weights: Vec<f64>,
}

impl Learned {
    /// Without rows.
    pub(super) fn nothing(belief: Belief) -> Self {
        let varies = belief.0.iter().any(|own| own.of_deviation.amax() > 0.0);
        Learned {
            moments: belief.moments(),
            own_share: varies.then_some(0.0),
            log_density: 0.0,
            weights: belief.0.iter().map(|own| own.weight).collect(),
        }
    }

    /// From the rows of the only task of `data`: each distribution by itself, its weight multiplied by the density of the rows.
    pub(super) fn of(belief: Belief, likelihood: &dyn Likelihood, data: &Observations, dispersion: &Dispersion) -> Result<Self> {
        let mut each = Vec::with_capacity(belief.0.len());
        for own in &belief.0 {
            let prior = |covariance: &DMatrix<f64>| {
                Prior::new(Mean::Given(own.mean.clone()), Relatedness::Identity, linalg::semidefinite_factor(covariance))
            };
            let found = likelihood.posterior(data, dispersion, &prior(&own.covariance()), (None, crate::likelihood::STILL))?;
            let share = Posterior::given(&found.quadratics, &prior(&own.of_deviation))?.own_share(0);
            let (mean, covariance) = (found.posterior.coefficients(0), found.posterior.covariance(0));
            each.push((own.weight.ln() + found.log_likelihood, share, mean, covariance));
        }
        let highest = each.iter().map(|own| own.0).fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = each.iter().map(|own| (own.0 - highest).exp()).sum();
        let weights: Vec<f64> = each.iter().map(|own| (own.0 - highest).exp() / total).collect();
        let own_share = each.iter().zip(&weights).try_fold(0.0, |sum, (own, weight)| Some(sum + weight * own.1?));
        let parts = each.into_iter().zip(&weights).map(|((.., mean, covariance), weight)| (*weight, mean, covariance));
        Ok(Learned { moments: moments(parts), own_share, log_density: highest + total.ln(), weights })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::likelihood::Gaussian;
    use crate::model::Believed;
    use crate::prior::Mixture;
    use crate::quadratic::{Quadratic, Quadratics};
    use nalgebra::{dmatrix, dvector};

    /// With known means of the clusters a task is what the posterior of a mixture says of it.
    #[test]
    fn a_mixture_is_that_of_the_posterior() {
        let mixture = Mixture {
            shares: vec![0.5, 0.3, 0.2],
            scales: vec![0.7, 1.5],
            positions: dmatrix![-1.0, 1.2; 0.3, -0.4],
            spread: dmatrix![1.1, 0.0; 0.2, 0.9],
        };
        let prior = Prior {
            mixture: Some(mixture.clone()),
            ..Prior::new(Mean::Given(dvector![0.4, -0.2]), Relatedness::Identity, dmatrix![0.6, 0.0; 0.1, 0.5])
        };
        let rows = Quadratic { constant: 0.0, linear: dvector![1.5, -0.4], curvature: dmatrix![2.0, 0.4; 0.4, 1.0] };
        let quadratics = Quadratics::new(&[rows]).unwrap();
        let posterior = Posterior::given(&quadratics, &prior).unwrap();
        let believed = |c: usize| {
            let own = prior.of_component(&mixture, c);
            let Mean::Given(mean) = own.mean.clone() else { unreachable!("components have known means") };
            let of_deviation = own.feature_covariance();
            Believed { weight: mixture.shares[c], mean, of_mean: DMatrix::zeros(2, 2), of_deviation }
        };
        let data = Observations {
            quadratics: quadratics.clone(),
            rows: vec![0.0],
            log_weights: vec![0.0],
            each: None,
            shared: None,
            group: Vec::new(),
        };
        let found = Learned::of(Belief((0..3).map(believed).collect()), &Gaussian::default(), &data, &Dispersion::shared(1.0)).unwrap();
        let memberships = posterior.memberships().unwrap();
        assert!((0..3).all(|c| (found.weights[c] - memberships[(c, 0)]).abs() < 1e-12));
        assert!((&found.moments.0 - posterior.coefficients(0)).amax() < 1e-12);
        assert!((&found.moments.1 - posterior.conditional(0).1).amax() < 1e-12);
        assert!((found.log_density - posterior.log_likelihood()).abs() < 1e-12);
        assert!((found.own_share.unwrap() - posterior.own_share(0).unwrap()).abs() < 1e-12);
    }
}
