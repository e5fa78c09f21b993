//! The engine of rows that all tasks share: their relatedness and the residual covariance are diagonalised together, and T r scalars are left.

use super::{Engine, MeanEstimate, Outcome};
use crate::error::{Error, Result};
use crate::linalg::{self, Operand, product};
use crate::prior::{Mean, Prior};
use crate::quadratic::{Complete, Joint, Quadratics, Sums};
use nalgebra::{DMatrix, DVector};

/// With R = P P', Sigma = P diag(lambda) P' and L' G L = V diag(s) V' the whitened deviations are B = V Z P', the elements of Z independent
/// of prior variance lambda_j and precision s_k, so that their posterior variance is v_kj = lambda_j / (1 + s_k lambda_j).
/// O(T^3 + r^3 + T r (T + r)).
pub(crate) struct Kronecker {
    sigma: DMatrix<f64>,
    /// P.
    mixing: DMatrix<f64>,
    /// V.
    vectors: DMatrix<f64>,
    /// v, r x T.
    variances: DMatrix<f64>,
    /// V' L' G over the mean features, r x m.
    lead: DMatrix<f64>,
    /// P^-1 1: how much of the mean each mixture of tasks has.
    shares: DVector<f64>,
    /// lambda.
    scales: DVector<f64>,
    /// Z, r x T.
    mixed: DMatrix<f64>,
    /// X'y of every mixture, p x T.
    cross: DMatrix<f64>,
    products: DMatrix<f64>,
}

impl Kronecker {
    pub(crate) fn solve(data: &Complete, prior: &Prior) -> Result<Outcome> {
        let sums = data.sums.as_ref();
        let (p, tasks) = sums.cross.shape();
        let (features, varying, factor) = (&prior.mean_features, &prior.varying, &prior.factor);
        let sigma = prior.relatedness.covariance(tasks).filter(|sigma| sigma.nrows() == tasks).ok_or_else(|| {
            Error::NotPositiveDefinite { matrix: "the task precision Omega".into(), remedy: "raise --prior-strength".into() }
        })?;
        let root = linalg::cholesky(data.noise.clone()).ok_or_else(|| Error::NotPositiveDefinite {
            matrix: "the residual covariance R".into(),
            remedy: "leave out targets that are combinations of others".into(),
        })?;
        let divided = |matrix: &DMatrix<f64>| {
            let mut left = matrix.clone();
            linalg::solve_lower_matrix(&root, &mut left);
            left
        };
        let mut relative = divided(&divided(&sigma).transpose());
        linalg::symmetrise(&mut relative);
        let (scales, rotation) = linalg::symmetric_eigen(&relative);
        let scales = scales.map(|scale| scale.max(0.0));
        let mixing = &root * &rotation;
        // Of every mixture of tasks: X'y, p x T, and y'y.
        let inverse = rotation.transpose() * divided(&DMatrix::identity(tasks, tasks));
        let cross = product(Operand::of(&sums.cross), Operand::of(&inverse).transpose());
        let squares = &inverse * &sums.squares * inverse.transpose();
        let shares = inverse.column_sum();

        let (values, vectors) = match scalar(prior) {
            Some(scale) => {
                let (values, vectors) = sums.eigen(varying);
                (values * scale.powi(2), vectors.clone())
            }
            None => {
                let own = sums.curvature.select_rows(varying).select_columns(varying);
                let along = product(Operand::of(factor).transpose(), Operand::of(&own));
                let mut inner = product(Operand::of(&along), Operand::of(factor));
                linalg::symmetrise(&mut inner);
                linalg::symmetric_eigen(&inner)
            }
        };
        let values = values.map(|value| value.max(0.0));
        let variances = DMatrix::from_fn(values.len(), tasks, |k, j| scales[j] / (1.0 + values[k] * scales[j]));
        let whitened = product(Operand::of(factor).transpose(), Operand::of(&cross.select_rows(varying)));
        let pulls = product(Operand::of(&vectors).transpose(), Operand::of(&whitened));
        let lead = vectors.transpose() * (factor.transpose() * sums.curvature.select_rows(varying).select_columns(features));

        let of_mean = sums.curvature.select_rows(features).select_columns(features);
        let mut information = &of_mean * shares.norm_squared();
        let mut score = cross.select_rows(features) * &shares;
        let weights = DVector::from_fn(values.len(), |k, _| (0..tasks).map(|j| shares[j].powi(2) * variances[(k, j)]).sum());
        information -= lead.transpose() * DMatrix::from_diagonal(&weights) * &lead;
        score -= lead.transpose() * (variances.component_mul(&pulls) * &shares);
        linalg::symmetrise(&mut information);
        let mean = MeanEstimate::solve(prior, p, information, score)?;
        let own_mean = mean.mean.select_rows(features);
        let pulls = pulls - (&lead * &own_mean) * shares.transpose();
        let mixed = variances.component_mul(&pulls);
        let deviations = product(Operand::of(&(&vectors * &mixed)), Operand::of(&mixing).transpose());

        let mut log_likelihood = data.constant + (cross.select_rows(features) * &shares).dot(&own_mean);
        log_likelihood -= 0.5 * shares.norm_squared() * own_mean.dot(&(&of_mean * &own_mean));
        for j in 0..tasks {
            for k in 0..values.len() {
                log_likelihood += 0.5 * (mixed[(k, j)] * pulls[(k, j)] - (values[k] * scales[j]).ln_1p());
            }
        }
        let mut engine =
            Kronecker { sigma, mixing, vectors, variances, lead, shares, scales, mixed, cross, products: DMatrix::zeros(0, 0) };
        engine.find_products(sums, prior, &squares, &values, &mean);
        Ok(Outcome { mean, deviations, log_likelihood, log_likelihood_error: 0.0, engine: Engine::Kronecker(engine) })
    }

    /// G = 1/2 sum_j lambda_j (s_j s_j' - P_j) over mixtures of tasks, with the score s_j and its projected precision P_j. O(q^3 + q^2 T).
    pub(crate) fn slope(
        &self,
        quadratics: &Quadratics,
        prior: &Prior,
        (mean, mean_covariance): (&DVector<f64>, &DMatrix<f64>),
    ) -> DMatrix<f64> {
        let Some(Joint::Complete(data)) = quadratics.joint() else { unreachable!("this engine is made from such rows") };
        let (varying, features, scales) = (&prior.varying, &prior.mean_features, &self.scales);
        let own = data.sums.curvature.select_rows(varying);
        let within = own.select_columns(varying);
        let explained = product(Operand::of(&within), Operand::of(&product(Operand::of(&prior.factor), Operand::of(&self.vectors))));
        let of_mean = own.select_columns(features);
        let mut scores = self.cross.select_rows(varying) - product(Operand::of(&explained), Operand::of(&self.mixed));
        scores -= (&of_mean * mean.select_rows(features)) * self.shares.transpose();
        let scaled = |matrix: &DMatrix<f64>, weights: &DVector<f64>| {
            let mut scaled = matrix.clone();
            scaled.column_iter_mut().zip(weights.iter()).for_each(|(mut column, weight)| column *= weight.max(0.0).sqrt());
            product(Operand::of(&scaled), Operand::of(&scaled).transpose())
        };
        let spread = &self.variances * scales;
        let mut slope = scaled(&scores, scales) + scaled(&explained, &spread) - within * scales.sum();
        if integrates(prior) {
            let root = linalg::semidefinite_factor(mean_covariance);
            for (j, scale) in scales.iter().enumerate() {
                let moved = (&of_mean - &explained * self.answer(j)) * &root * self.shares[j];
                slope += &moved * moved.transpose() * *scale;
            }
        }
        slope *= 0.5;
        linalg::symmetrise(&mut slope);
        slope
    }

    /// sum_i E[e_i e_i'], of mixtures of tasks and then of tasks.
    fn find_products(&mut self, data: &Sums, prior: &Prior, squares: &DMatrix<f64>, values: &DVector<f64>, mean: &MeanEstimate) {
        let tasks = self.sigma.nrows();
        let moves = product(Operand::of(&prior.factor), Operand::of(&self.vectors));
        let mut parameters = &mean.mean * self.shares.transpose();
        let moved = product(Operand::of(&moves), Operand::of(&self.mixed));
        prior.varying.iter().enumerate().for_each(|(i, feature)| {
            let sum = parameters.row(*feature) + moved.row(i);
            parameters.row_mut(*feature).copy_from(&sum);
        });
        let explained = product(Operand::of(&parameters).transpose(), Operand::of(&self.cross));
        let fitted = product(Operand::of(&data.curvature), Operand::of(&parameters));
        let mut products =
            squares - &explained - explained.transpose() + product(Operand::of(&parameters).transpose(), Operand::of(&fitted));
        for j in 0..tasks {
            products[(j, j)] += values.dot(&self.variances.column(j));
        }
        if integrates(prior) {
            let root = linalg::semidefinite_factor(&mean.covariance);
            let (p, m) = (parameters.nrows(), root.ncols());
            let mut maps = DMatrix::zeros(p * m, tasks);
            let mut seen = DMatrix::zeros(p * m, tasks);
            for j in 0..tasks {
                let mut map = DMatrix::zeros(p, m);
                prior.mean_features.iter().enumerate().for_each(|(i, feature)| map[(*feature, i)] = 1.0);
                let back = &moves * self.answer(j);
                prior.varying.iter().enumerate().for_each(|(i, feature)| {
                    let rest = map.row(*feature) - back.row(i);
                    map.row_mut(*feature).copy_from(&rest);
                });
                let map = map * &root * self.shares[j];
                seen.column_mut(j).copy_from_slice((&data.curvature * &map).as_slice());
                maps.column_mut(j).copy_from_slice(map.as_slice());
            }
            products += maps.transpose() * seen;
        }
        let mut products = &self.mixing * products * self.mixing.transpose();
        linalg::symmetrise(&mut products);
        self.products = products;
    }

    /// How far a unit of the mean moves Z of mixture `j` back, r x m, over its share.
    fn answer(&self, j: usize) -> DMatrix<f64> {
        let mut answer = self.lead.clone();
        answer.row_iter_mut().zip(self.variances.column(j).iter()).for_each(|(mut row, variance)| row *= *variance);
        answer
    }

    /// V diag(w) V' with w_k = sum_j weight_j v_kj.
    fn spread(&self, weights: &DVector<f64>) -> DMatrix<f64> {
        let own = &self.variances * weights;
        let mut scaled = self.vectors.clone();
        scaled.column_iter_mut().zip(own.iter()).for_each(|(mut column, weight)| column *= *weight);
        product(Operand::of(&scaled), Operand::of(&self.vectors).transpose())
    }

    pub(crate) fn covariance(&self, s: usize, t: usize) -> DMatrix<f64> {
        self.spread(&self.mixing.row(s).component_mul(&self.mixing.row(t)).transpose())
    }

    pub(crate) fn trace(&self, s: usize, t: usize) -> f64 {
        let own = self.variances.row_sum();
        self.mixing.row(s).component_mul(&self.mixing.row(t)).dot(&own)
    }

    pub(crate) fn add_traces(&self, moment: &mut DMatrix<f64>) {
        *moment += &self.mixing * DMatrix::from_diagonal(&self.variances.row_sum().transpose()) * self.mixing.transpose();
        linalg::symmetrise(moment);
    }

    /// sum_st Omega_st Cov(b_s, b_t) at any Omega, given by its elements with s <= t.
    pub(crate) fn tied(&self, omega: &[(usize, usize, f64)]) -> DMatrix<f64> {
        let mut all = DMatrix::zeros(self.mixing.nrows(), self.mixing.nrows());
        omega.iter().for_each(|(s, t, value)| (all[(*s, *t)], all[(*t, *s)]) = (*value, *value));
        let mixed = &all * &self.mixing;
        self.spread(&DVector::from_fn(self.mixing.ncols(), |j, _| self.mixing.column(j).dot(&mixed.column(j))))
    }

    pub(crate) fn sigma(&self, s: usize, t: usize) -> f64 {
        self.sigma[(s, t)]
    }

    pub(crate) fn sensitivity(&self, task: usize) -> DMatrix<f64> {
        let weights = &self.variances * self.mixing.row(task).transpose().component_mul(&self.shares);
        &self.vectors * DMatrix::from_diagonal(&weights) * &self.lead
    }

    pub(crate) fn residual_products(&self) -> &DMatrix<f64> {
        &self.products
    }

    pub(crate) fn draw(&self, normal: DVector<f64>) -> DMatrix<f64> {
        let (r, tasks) = self.variances.shape();
        let drawn = DMatrix::from_fn(r, tasks, |k, j| self.variances[(k, j)].sqrt() * normal[j * r + k]);
        &self.vectors * drawn * self.mixing.transpose()
    }
}

/// k, where L = k I.
fn scalar(prior: &Prior) -> Option<f64> {
    let diagonal = prior.diagonal()?;
    let first = *diagonal.first()?;
    diagonal.iter().all(|own| *own == first).then_some(first)
}

fn integrates(prior: &Prior) -> bool {
    matches!(prior.mean, Mean::Integrated) && !prior.mean_features.is_empty()
}
