//! How far a family's predictive distribution is from what came: the continuous ranked probability score, and distribution functions.

use super::Outlook;
use super::threshold::Threshold;
use crate::linalg::sum_rule;
use statrs::distribution::{Continuous, ContinuousCDF, Normal};
use statrs::function::erf::erfc;
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// Probabilities that are taken for 0, their squares being nothing.
const TINY: f64 = 1e-10;

/// Most probabilities of counts that are added one by one.
const ONE_BY_ONE: usize = 300_000;

/// Counts beyond this are not told apart in double precision.
const MOST: f64 = 4.5e15;

/// Of N(0, 1): 2 z (Phi(z) - 1/2) + 2 phi(z), the mean of |Z - z|.
pub(crate) fn normal_distance(z: f64) -> f64 {
    let normal = Normal::standard();
    z * (1.0 - erfc(z * FRAC_1_SQRT_2)) + 2.0 * normal.pdf(z)
}

/// The score of N(mean, sd^2) in closed form (Gneiting and Raftery 2007).
pub(crate) fn normal_crps(mean: f64, sd: f64, y: f64) -> f64 {
    if sd == 0.0 { (y - mean).abs() } else { sd * (normal_distance((y - mean) / sd) - PI.sqrt().recip()) }
}

impl Outlook {
    /// Where a target lies among whole numbers: shares by the number of successes.
    pub(super) fn position(&self, y: f64) -> f64 {
        if self.is_share() { (self.weight * y).round() } else { y }
    }

    /// P(Y <= y); of shares y is the number of successes. None for families that are not cognate's.
    pub(super) fn at_most(&self, y: f64) -> Option<f64> {
        match self.family.name() {
            "normal" => Some(Normal::standard().cdf((y - self.mean) / self.normal_sd())),
            "student" => {
                let normal = Normal::standard();
                Some(self.precisions().iter().map(|(sd, p)| p * normal.cdf((y - self.mean) / sd)).sum())
            }
            _ => Some(Threshold::of(self.family.as_ref(), y, self.weight)?.probability(self.mean, self.sd)),
        }
    }

    /// P(Y < y) and P(Y <= y), where y may occur.
    pub(crate) fn pit(&self, y: f64) -> Option<(f64, f64)> {
        if self.family.refuses(y, self.weight).is_some() {
            return None;
        }
        let (whole, position) = (self.is_share() || self.family.is_whole(), self.position(y));
        let at = self.at_most(position)?;
        Some((if whole { self.at_most(position - 1.0)? } else { at }, at))
    }

    /// Integral of (P(Y <= x) - 1{x >= y})^2 dx, for whole numbers and shares a sum over what may occur; none where it is infinite or y cannot
    /// occur.
    pub(crate) fn crps(&self, y: f64) -> Option<f64> {
        if self.family.refuses(y, self.weight).is_some() || !self.family.mean(self.mean).is_finite() {
            return None;
        }
        let score = match self.family.name() {
            "normal" => normal_crps(self.mean, self.normal_sd(), y),
            "student" => self.student_crps(y)?,
            "gamma" => self.gamma_crps(y)?,
            _ if self.is_share() && self.weight != self.weight.round() => return None,
            _ if self.is_share() => self.whole_crps(self.position(y))? / self.weight,
            // Counts and levels.
            _ if self.family.is_whole() => self.whole_crps(self.position(y))?,
            _ => return None,
        };
        score.is_finite().then_some(score.max(0.0))
    }

    fn normal_sd(&self) -> f64 {
        (self.sd * self.sd + self.family.variance(self.weight, self.mean)).sqrt()
    }

    /// E|Y - y| - E|Y - Y'| / 2 for independent Y, Y'. With E(Y; Y <= y) = E(Y) P(Y* <= y), where Y* has a shape larger by one and a predictor larger
    /// by its variance, both are probabilities of thresholds: y (2 P(Y <= y) - 1) - 2 E(Y) (P(Y* <= y) + P(Y' < Y*) - 1). Without spread it is
    /// the closed form of Scheuerer and Moeller (2015).
    fn gamma_crps(&self, y: f64) -> Option<f64> {
        let own = Threshold::of(self.family.as_ref(), y, self.weight)?;
        let (shape, square) = (own.second, self.sd * self.sd);
        let longer = shape.recip().ln_1p();
        let biased = Threshold { second: shape + 1.0, shift: own.shift - longer, ..own };
        let apart = Threshold { first: shape + 1.0, second: shape, shift: longer, ..own };
        let above = apart.probability(-square, self.sd * 2f64.sqrt());
        let share = biased.probability(self.mean + square, self.sd) + above - 1.0;
        Some(y * (2.0 * own.probability(self.mean, self.sd) - 1.0) - 2.0 * (self.mean + 0.5 * square).exp() * share)
    }

    /// E|Y - y| - E|Y - Y'| / 2 with Y normal given its precision; without spread the closed form of Jordan et al. (2019). None for one degree of
    /// freedom or less.
    fn student_crps(&self, y: f64) -> Option<f64> {
        if *self.family.dispersion().get(1)? <= 1.0 {
            return None;
        }
        let each = self.precisions();
        let distance: f64 = each.iter().map(|(sd, p)| p * sd * normal_distance((y - self.mean) / sd)).sum();
        let between = |k: usize| -> f64 {
            let (own, p) = each[k];
            let others: f64 = each[..k].iter().map(|(sd, q)| q * (own * own + sd * sd).sqrt()).sum();
            p * (2.0 * others + p * own * 2f64.sqrt())
        };
        Some(distance - (0..each.len()).map(between).sum::<f64>() / (2.0 * PI).sqrt())
    }

    /// Student's t is normal given its precision, a gamma variable of shape freedom / 2: standard deviations of the target and their
    /// probabilities.
    fn precisions(&self) -> Vec<(f64, f64)> {
        let numbers = self.family.dispersion();
        let precision = Threshold { first: 0.5 * numbers[1], second: f64::INFINITY, shift: 0.0, link: super::Link::Logit };
        let nodes = precision.nodes(0.7 * precision.step(), 0.5);
        let total: f64 = nodes.iter().map(|(_, density)| density).sum();
        let variance = |v: f64| self.sd * self.sd + numbers[0] / self.weight * (-v).exp();
        nodes.into_iter().map(|(v, density)| (variance(v).sqrt(), density / total)).collect()
    }

    /// Sum over whole numbers n of (P(Y <= n) - 1{n >= y})^2: the ranked probability score (Epstein 1969).
    fn whole_crps(&self, y: f64) -> Option<f64> {
        match self.probabilities() {
            Some(all) => {
                let mut reached = 0.0;
                let part = |(n, p): (usize, &f64)| {
                    reached += p;
                    (reached - f64::from(u8::from(n as f64 >= y))).powi(2)
                };
                Some(all.iter().enumerate().map(part).sum::<f64>() + (y - all.len() as f64).max(0.0))
            }
            None => self.smooth_crps(y),
        }
    }

    /// Probabilities of the counts 0, 1, 2, .. as far as there are any: given the predictor each follows from the one before (Panjer 1981), and the
    /// predictor is taken in equal steps. None where that is too long, and for levels.
    fn probabilities(&self) -> Option<Vec<f64>> {
        const DEVIATIONS: f64 = 6.5;
        let unit = if self.is_share() { self.weight } else { 1.0 };
        let log_probability = |n: f64, eta: f64| self.family.at(n / unit, unit, eta).value;
        let mut nodes = vec![(self.mean, 1.0)];
        if self.sd > 0.0 {
            // The narrowest threshold: of the largest counts, or of half the trials.
            let top = if self.is_share() { 0.5 * self.weight } else { self.family.mean(self.mean + 4.5 * self.sd) };
            let fine = Threshold::of(self.family.as_ref(), top, self.weight)?.fineness(self.mean, self.sd);
            if fine.is_nan() || DEVIATIONS / fine >= ONE_BY_ONE as f64 {
                return None;
            }
            let ends = (DEVIATIONS / fine).ceil() as i64;
            nodes = (-ends..=ends).map(|j| j as f64 * fine).map(|z| (self.mean + self.sd * z, (-0.5 * z * z).exp())).collect();
        }
        let typical = 8.0 * unit * self.family.variance(unit, self.mean).sqrt();
        if nodes.len() as f64 * typical > ONE_BY_ONE as f64 {
            return None;
        }
        let total: f64 = nodes.iter().map(|(_, v)| v).sum();
        let (mut all, mut steps) = (Vec::new(), 0);
        for (eta, v) in nodes {
            let (first, more) = self.recursion(eta)?;
            let centre = unit * self.family.mean(eta);
            if !(centre <= ONE_BY_ONE as f64 && first.is_finite()) {
                return None;
            }
            // Far below the centre probabilities may be 0 in double precision: begin where they are not.
            let (mut below, mut begin) = (0, 0);
            if log_probability(0.0, eta) < -600.0 {
                begin = centre as usize;
                while begin - below > 1 {
                    let middle = usize::midpoint(below, begin);
                    if log_probability(middle as f64, eta) < -300.0 { below = middle } else { begin = middle }
                }
            }
            let (mut n, mut p) = (begin, v / total * log_probability(begin as f64, eta).exp());
            while n as f64 <= centre || p > 1e-17 {
                steps += 1;
                if steps > ONE_BY_ONE {
                    return None;
                }
                if all.len() <= n {
                    all.resize(n + 1, 0.0);
                }
                all[n] += p;
                p *= (first + more * n as f64) / (n + 1) as f64;
                n += 1;
            }
        }
        Some(all)
    }

    /// Given the predictor the probability of n + 1 is (first + more n) / (n + 1) times that of n.
    fn recursion(&self, eta: f64) -> Option<(f64, f64)> {
        let mean = self.family.mean(eta);
        match self.family.name() {
            "poisson" => Some((mean, 0.0)),
            "negative-binomial" => {
                let dispersion = *self.family.dispersion().first()?;
                Some((mean / (1.0 + dispersion * mean), dispersion * mean / (1.0 + dispersion * mean)))
            }
            "binomial" | "probit" => {
                let odds = mean / self.family.mean(-eta);
                Some((odds * self.weight, -odds))
            }
            _ => None,
        }
    }

    /// As [`Outlook::whole_crps`], where the distribution function is smooth summed by Gauss's rule for blocks of whole numbers, so that the cost
    /// does not grow with the mean.
    fn smooth_crps(&self, y: f64) -> Option<f64> {
        let mut power = 4;
        while f64::exp2(power.into()) <= y || self.at_most(f64::exp2(power.into()) - 1.0)? < 1.0 - TINY {
            power += 1;
            if f64::exp2(power.into()) > MOST {
                return None;
            }
        }
        self.block(0.0, power as usize, y)
    }

    /// The part of that sum over 2^power numbers from `begin` on.
    fn block(&self, begin: f64, power: usize, y: f64) -> Option<f64> {
        let count = (power as f64).exp2();
        let end = begin + count;
        let (below, above) = (end <= y, begin >= y);
        let part = |x: f64, reached: bool| Some((self.at_most(x)? - f64::from(u8::from(reached))).powi(2));
        if power <= 3 {
            let mut sum = 0.0;
            for n in (0..1 << power).map(|k| begin + f64::from(k)) {
                let own = part(n, n >= y)?;
                sum += own;
                // From here on all numbers are surely reached.
                if n >= y && own < TINY * TINY {
                    break;
                }
            }
            return Some(sum);
        }
        let (least, most) = (self.at_most(begin)?, self.at_most(end - 1.0)?);
        match () {
            _ if below && most < TINY || above && least > 1.0 - TINY => return Some(0.0),
            _ if below && least > 1.0 - TINY || above && most < TINY => return Some(count),
            _ => {}
        }
        if (below || above) && count <= 2.0 * self.grain(begin)?.min(self.grain(end - 1.0)?) {
            let centre = begin - 0.5 + 0.5 * count;
            let mut sum = 0.0;
            for (x, v) in sum_rule(power) {
                sum += v * part(centre + count * x, above)?;
            }
            return Some(count * sum);
        }
        Some(self.block(begin, power - 1, y)? + self.block(begin + 0.5 * count, power - 1, y)?)
    }

    /// About how many numbers about n the distribution function needs to change much.
    fn grain(&self, n: f64) -> Option<f64> {
        let own = Threshold::of(self.family.as_ref(), n, self.weight)?;
        let width = (self.sd * self.sd + own.first.recip() + own.second.recip()).sqrt();
        let pace = (n + 1.0).recip() + if self.is_share() { (self.weight - n).recip() } else { 0.0 };
        Some(width.min(0.7) / pace)
    }
}

#[cfg(test)]
mod tests {
    use super::super::family;
    use super::*;

    fn outlook(name: &str, dispersion: &[f64], weight: f64, (mean, sd): (f64, f64)) -> Outlook {
        Outlook { family: family(name, dispersion).unwrap(), weight, mean, sd }
    }

    fn close(found: f64, expected: f64, tolerance: f64, what: &str) {
        assert!((found - expected).abs() <= tolerance * expected.abs(), "{what}: {found} and not {expected}, {:e}", found / expected - 1.0);
    }

    /// mpmath, 30 digits; the normal distribution function of statrs has an error of 3e-11 at most here.
    #[test]
    fn normal_scores_are_those_of_r() {
        close(normal_crps(0.0, 1.0, 0.7), 0.421_569_170_073_464, 1e-11, "N(0, 1)");
        close(normal_crps(1.0, 2.0, -3.0), 2.905_583_643_371_806, 1e-11, "N(1, 4)");
        assert_eq!(normal_crps(1.0, 0.0, -3.0), 4.0);
        close(outlook("normal", &[1.75], 1.0, (1.0, 1.5)).crps(-3.0).unwrap(), 2.905_583_643_371_806, 1e-11, "1.5^2 + 1.75");
    }

    /// R's pgamma, beta, pt, ppois and besselI in the closed forms of Scheuerer and Moeller (2015), Jordan et al. (2019) and Wei and Held
    /// (2014); for the others, and for 1e5, sums over whole numbers of R's distribution functions.
    #[test]
    fn scores_of_sure_predictors_are_closed_forms() {
        for (dispersion, eta, y, expected) in [
            (0.3, 0.4, 2.0, 0.374_039_619_357_502_35),
            (2.5, 1.0, 0.01, 0.862_353_572_693_720_8),
            (2.5, 1.0, 9.0, 5.288_609_820_957_669),
            (1e-6, 2.0, 2f64.exp() * 1.0004, 0.002_192_970_591_210_990_6),
            (1.0 / 30.0, 3f64.ln(), 2.5, 0.282_638_275_777_551_8),
            (10.0, 3f64.ln(), 1e-6, 0.350_545_171_984_320_9),
        ] {
            close(outlook("gamma", &[dispersion], 1.0, (eta, 0.0)).crps(y).unwrap(), expected, 1e-9, &format!("gamma {dispersion} {y}"));
        }
        for (scale2, freedom, z, expected) in [
            (1.5, 4.0, 1.5 / 1.5f64.sqrt(), 0.926_022_538_202_266_7),
            (1.0, 2.1, 30.0, 28.964_911_820_219_08),
            (1.0, 1000.0, -0.3, 0.269_428_534_934_249_45),
            (1.0, 1e6, 0.5, 0.331_403_609_695_184_56),
        ] {
            let own = outlook("student", &[scale2, freedom], 1.0, (0.2, 0.0));
            close(own.crps(0.2 + z * scale2.sqrt()).unwrap(), expected, 1e-10, &format!("t {freedom}"));
        }
        for (rate, y, expected) in [
            (1.1f64.exp(), 2.0, 0.543_559_263_161_783_2),
            (0.02, 0.0, 0.000_392_131_488_834_164_54),
            (250.0, 231.0, 11.769_178_566_060_397),
            (3000.0, 3100.0, 70.609_690_617_588_88),
            (1e5, 99_000.0, 821.719_552_620_482_5),
        ] {
            close(outlook("poisson", &[], 1.0, (rate.ln(), 0.0)).crps(y).unwrap(), expected, 1e-9, &format!("Poisson {rate}"));
        }
        for (dispersion, mean, y, expected) in [
            (0.4, 1.1f64.exp(), 7.0, 2.954_058_355_966_291),
            (4.0, 20.0, 2.0, 4.158_069_040_782_17),
            (0.01, 5000.0, 5500.0, 309.054_364_837_737_07),
            (0.5, 1e5, 60_000.0, 18_882.206_531_371_11),
            (0.3f64.recip(), 1e5, 60_000.0, 26_906.652_590_508_882),
        ] {
            let own = outlook("negative-binomial", &[dispersion], 1.0, (f64::ln(mean), 0.0));
            close(own.crps(y).unwrap(), expected, 1e-9, &format!("negative binomial {dispersion}"));
        }
        for (trials, eta, won, expected) in
            [(8.0, 0.3, 2.0, 0.230_861_789_871_974_25), (5000.0, (3.0f64 / 7.0).ln(), 1400.0, 0.016_347_118_377_973_938)]
        {
            let own = outlook("binomial", &[], trials, (eta, 0.0));
            close(own.crps(won / trials).unwrap(), expected, 1e-9, &format!("binomial {trials}"));
        }
    }

    /// SciPy's distribution functions, averaged over the predictor by 9,000 equal steps (900 to 1,800 where there is a comment), and summed over
    /// whole numbers or integrated by 4,000 Gauss-Legendre nodes to either side of the target.
    #[test]
    fn scores_average_over_the_predictor() {
        let none: &[f64] = &[];
        for (name, dispersion, weight, predictor, y, cumulative, crps) in [
            ("poisson", none, 1.0, (1.1, 0.7), 2.0, 0.435_457_659_576_061_7, 0.790_632_340_469_512),
            ("poisson", none, 1.0, (-3.0, 0.4), 0.0, 0.947_731_738_026_242_1, 0.002_734_613_259_700_925),
            // Counts up to 60,000, 1,800 steps.
            ("poisson", none, 1.0, (4.0, 1.5), 90.0, 0.631_596_389_416_684_5, 31.216_616_416_132_37),
            ("poisson", none, 1.0, (7.6, 0.1), 1700.0, 0.058_456_692_759_839_22, 200.651_987_172_909_1),
            ("negative-binomial", &[0.4], 1.0, (1.1, 0.5), 7.0, 0.893_260_482_862_894_5, 2.758_314_129_452_912),
            ("negative-binomial", &[4.0], 1.0, (3.0, 0.3), 2.0, 0.467_021_395_955_669_3, 4.225_519_728_262_226),
            ("negative-binomial", &[0.001], 1.0, (6.0, 0.05), 500.0, 0.998_163_486_273_238_9, 78.496_683_795_835_82),
            ("binomial", none, 8.0, (0.3, 0.8), 0.25, 0.161_685_836_616_824_1, 0.200_518_144_499_938_4),
            ("probit", none, 8.0, (0.3, 0.8), 0.25, 0.199_746_346_240_225_5, 0.215_717_109_205_363_7),
            ("bernoulli", none, 1.0, (0.3, 0.8), 1.0, 1.0, 0.188_905_064_028_895_7),
            ("binomial", none, 5000.0, (-1.0, 0.2), 0.24, 0.226_495_498_123_564_9, 0.017_506_164_742_214_47),
            ("probit", none, 700.0, (-1.2, 0.05), 60.0 / 700.0, 0.025_644_971_290_755_29, 0.021_138_234_143_085_05),
            ("ordinal", &[0.7, 1.8], 1.0, (1.0, 0.6), 3.0, 0.801_703_969_035_765_2, 0.305_635_781_329_879_2),
            ("gamma", &[0.3], 1.0, (0.4, 0.6), 2.0, 0.697_741_565_844_160_4, 0.422_619_678_305_36),
            ("gamma", &[2.5], 1.0, (1.0, 0.3), 0.01, 0.083_556_917_655_267_15, 0.868_728_519_399_035_5),
            ("gamma", &[2.5], 1.0, (1.0, 0.3), 9.0, 0.917_453_760_283_757_6, 5.260_308_477_520_618),
            ("gamma", &[0.005], 1.0, (2.0, 0.02), 7.0, 0.239_849_581_057_035_1, 0.228_061_067_207_906_6),
            ("gamma", &[0.02], 1.0, (2.0, 1.0), 30.0, 0.918_831_175_246_721_5, 15.062_602_524_583_55),
            ("student", &[1.5, 4.0], 1.0, (0.2, 0.8), 1.7, 0.820_139_816_847_436_5, 0.903_384_971_451_083_7),
            ("student", &[0.01, 2.1], 1.0, (0.2, 0.8), -1.7, 0.011_837_154_679_401_7, 1.438_790_475_293_181),
            ("student", &[2.0, 2.1], 1.0, (0.0, 0.1), 40.0, 0.999_522_585_128_116_4, 38.536_851_376_064_38),
            ("student", &[2.0, 300.0], 1.0, (0.0, 1.0), 0.5, 0.613_458_920_588_539_1, 0.462_463_433_773_943_7),
        ] {
            let own = outlook(name, dispersion, weight, predictor);
            let what = format!("{name} {dispersion:?} {predictor:?}");
            assert!((own.pit(y).unwrap().1 - cumulative).abs() < 1e-10, "{what}: {:?}", own.pit(y));
            close(own.crps(y).unwrap(), crps, 1e-9, &what);
        }
    }

    /// One by one and by blocks, also where both are far from small.
    #[test]
    fn sums_by_blocks_are_those_of_every_number() {
        for (name, dispersion, weight, predictor, y) in [
            ("poisson", &[] as &[f64], 1.0, (3.0, 0.5), 31.0),
            ("poisson", &[], 1.0, (7.0, 0.0), 900.0),
            ("poisson", &[], 1.0, (1.0, 1.0), 200.0),
            ("negative-binomial", &[0.5], 1.0, (6.0, 0.3), 300.0),
            ("negative-binomial", &[6.0], 1.0, (2.0, 0.4), 0.0),
            ("binomial", &[], 3000.0, (-1.0, 0.3), 0.5),
            ("probit", &[], 300.0, (1.0, 0.3), 1.0),
        ] {
            let own = outlook(name, dispersion, weight, predictor);
            assert!(own.probabilities().is_some());
            let position = own.position(y);
            close(own.smooth_crps(position).unwrap(), own.whole_crps(position).unwrap(), 1e-9, &format!("{name} {predictor:?}"));
        }
        assert!(outlook("poisson", &[], 1.0, (12.0, 0.5)).probabilities().is_none());
    }
}
