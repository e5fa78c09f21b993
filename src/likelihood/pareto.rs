//! The tail of importance weights: whether their mean, and its standard error, can be trusted.

/// Pareto k-hat of importance weights, given their logarithms: the shape of the generalised Pareto distribution fitted to the largest
/// fifth (at most 3 n^(1/2)) of them, shrunk to 1/2 as if by ten observations (Vehtari, Simpson, Gelman, Yao and Gabry 2024). Above 1/2
/// the variance is infinite, above .7 the mean is not to be trusted at usual sizes. Infinite where few weights are all, minus infinite
/// where all are the same. O(n log n).
pub(super) fn k_hat(log_weights: &[f64]) -> f64 {
    let most = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut weights: Vec<f64> = log_weights.iter().map(|own| (own - most).exp()).collect();
    weights.sort_by(f64::total_cmp);
    let count = weights.len() as f64;
    let tail = f64::min(0.2 * count, 3.0 * count.sqrt()).ceil() as usize;
    if !most.is_finite() || tail >= weights.len() {
        return f64::INFINITY;
    }
    let (below, above) = weights.split_at(weights.len() - tail);
    let threshold = below[below.len() - 1];
    let exceedances: Vec<f64> = above.iter().map(|own| own - threshold).collect();
    match generalised_pareto(&exceedances) {
        _ if exceedances[tail - 1] == 0.0 => f64::NEG_INFINITY,
        Some((shape, _)) => (tail as f64 * shape + 5.0) / (tail as f64 + 10.0),
        None => f64::INFINITY,
    }
}

/// Shape k and scale of the generalised Pareto distribution, P(X > x) = (1 + k x / scale)^(-1/k), of a sample in ascending order: the
/// posterior mean under a weak prior on k / scale, by a grid (Zhang and Stephens 2009). None where a quarter of the sample is 0. O(n^(3/2)).
fn generalised_pareto(sample: &[f64]) -> Option<(f64, f64)> {
    let (count, largest) = (sample.len() as f64, *sample.last()?);
    let quartile = sample[((count / 4.0 + 0.5).floor() as usize).clamp(1, sample.len()) - 1];
    if quartile <= 0.0 {
        return None;
    }
    let shape = |theta: f64| sample.iter().map(|x| (-theta * x).ln_1p()).sum::<f64>() / count;
    let points = 30 + count.sqrt() as usize;
    // theta = -k / scale, and the profile log-likelihood there.
    let grid: Vec<(f64, f64)> = (1..=points)
        .map(|j| {
            let theta = 1.0 / largest + (1.0 - (points as f64 / (j as f64 - 0.5)).sqrt()) / (3.0 * quartile);
            let k = shape(theta);
            (theta, count * ((-theta / k).ln() - k - 1.0))
        })
        .collect();
    let best = grid.iter().map(|(_, own)| *own).fold(f64::NEG_INFINITY, f64::max);
    let (mass, moment) = grid.iter().fold((0.0, 0.0), |(mass, moment), (theta, own)| {
        let density = (own - best).exp();
        (mass + density, moment + density * theta)
    });
    let theta = moment / mass;
    let k = shape(theta);
    (k.is_finite() && theta != 0.0).then(|| (k, -k / theta))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Of 4,000 draws the shape has a standard error of about (1 + k) / 63.
    #[test]
    fn shapes_and_scales_of_samples_are_found() {
        for k in [-0.4, -0.1, 0.2, 0.5, 0.7, 1.0, 1.6] {
            let mut random = ChaCha8Rng::seed_from_u64(3);
            let draw = |random: &mut ChaCha8Rng| 2.0 * (random.random::<f64>().powf(-k) - 1.0) / k;
            let mut sample: Vec<f64> = (0..4000).map(|_| draw(&mut random)).collect();
            sample.sort_by(f64::total_cmp);
            let (shape, scale) = generalised_pareto(&sample).unwrap();
            let error = (1.0 + k) / 4000f64.sqrt();
            assert!((shape - k).abs() < 3.0 * error, "{shape} for {k}");
            assert!((scale / 2.0 - 1.0).abs() < 0.1, "{scale} for {k}");
        }
    }

    /// As arviz 0.17.1 has it (`arviz.stats.stats._psislw`, Python) of the same numbers.
    #[test]
    fn tails_of_weights_are_those_of_arviz() {
        let weights = |count: u32, scale: f64| -> Vec<f64> {
            let own = |i: u32| -scale * ((f64::from(i) + 0.5) / f64::from(count)).ln() + 0.3 * (17.0 * f64::from(i)).sin();
            (0..count).map(own).collect()
        };
        let expected = [
            (256, 0.2, 0.24301441719313543),
            (1000, 0.2, 0.21536215690357147),
            (256, 0.6, 0.5841158666888611),
            (1000, 0.6, 0.5820705291319077),
            (256, 1.3, 1.1234666679157141),
            (1000, 1.3, 1.2485088707877914),
        ];
        for (count, scale, expected) in expected {
            let found = k_hat(&weights(count, scale));
            assert!((found - expected).abs() < 1e-9, "{found} for {expected}");
        }
    }

    #[test]
    fn weights_without_a_tail_have_a_shape_too() {
        assert_eq!(k_hat(&[2.0; 100]), f64::NEG_INFINITY);
        let few: Vec<f64> = (0..100).map(|i| if i == 50 { 0.0 } else { -900.0 }).collect();
        assert_eq!(k_hat(&few), f64::INFINITY);
        assert_eq!(k_hat(&[f64::NEG_INFINITY; 100]), f64::INFINITY);
        assert_eq!(k_hat(&[0.0]), f64::INFINITY);
    }
}
