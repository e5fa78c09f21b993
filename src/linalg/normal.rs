//! Standard normal numbers, of which every draw of a vector or matrix is made.

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

pub(crate) fn normal<R: Rng + ?Sized>(random: &mut R) -> f64 {
    StandardNormal.sample(random)
}
