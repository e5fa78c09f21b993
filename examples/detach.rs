//! A guard: two of fourteen tasks go the other way and lose by one model for all; they are named, and fitted by themselves.

use cognate::structure::{Options, by_name};
use cognate::{Design, Gaussian, Intervals, Model, Result, Rows, compare};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

fn main() -> Result<()> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut normal = || -> f64 { random.sample(StandardNormal) };
    let mut rows = Rows::new("y", &["x"]);
    for t in 0..14 {
        let slope = if t < 12 { 1.0 } else { -3.0 };
        for _ in 0..20 {
            let x = normal();
            rows.push(&format!("t{t}"), &[x], slope * x + 0.5 * normal(), 1.0)?;
        }
    }
    let design = Design::varying(rows.features());
    let build = |structure| Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn);
    let candidate = |name: &'static str| compare::Candidate::new(name, move || Ok(build(by_name(name, &Options::default())?)));
    let pair = (&candidate("pooled"), &candidate("independent"));
    let guard = compare::guard(&rows, &design, pair, &compare::Options::default(), &|_, _, _| {})?;
    for gain in guard.gains.iter().filter(|gain| gain.is_loss()) {
        println!("{} would lose {:.2} nats a row by sharing", gain.task, -gain.gain);
    }
    let fit = guard.fit(&rows, &design, pair)?;
    println!("fitted by themselves: {:?}", fit.detached());
    let (other, own) = (fit.predict("t12", &[1.0], 0.9)?, fit.predict("t3", &[1.0], 0.9)?);
    println!("at x = 1: t12 {:.2}, t3 {:.2}", other.mean, own.mean);
    assert!(fit.detached().ends_with(&["t12".into(), "t13".into()]) && fit.detached().len() <= 3);
    assert!((other.mean + 3.0).abs() < 0.5 && (own.mean - 1.0).abs() < 0.2);
    Ok(())
}
