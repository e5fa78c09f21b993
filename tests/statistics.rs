//! Sums of rows: one pass over a table, files of sums that add and subtract, and digits far from 0.

#[path = "common/command.rs"]
mod command;

use cognate::csv::{Columns, Varying, read, sum};
use cognate::{Design, Exchangeable, FeatureCovariance, Fit, Gaussian, Intervals, Model, Rows, Tasks};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fmt::Write as _;
use std::path::Path;

fn columns() -> Columns {
    Columns { task: "site".into(), target: "y".into(), ..Columns::default() }
}

/// Ragged tasks on two features.
fn table(rows: usize, seed: u64) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut text = "site,x,y,z\n".to_string();
    for i in 0..rows {
        let t = (i * i + i / 3) % 17;
        let (x, z): (f64, f64) = (random.random_range(-2.0..2.0), random.random_range(0.0..3.0));
        let y = t as f64 * 0.3 + (1.0 + 0.1 * t as f64) * x - 0.5 * z + random.random_range(-0.6..0.6);
        let _ = writeln!(text, "site {t},{x:.6},{y:.6},{z:.6}");
    }
    text
}

fn both_ways(text: &str, columns: &Columns) -> (Option<Tasks>, Tasks) {
    let table = read(text.as_bytes(), "the table", columns).unwrap();
    let summed = sum(text.as_bytes(), columns);
    if let Some(summed) = &summed {
        assert_eq!((summed.missing_targets, summed.dropped), (table.missing_targets, table.dropped));
        assert_eq!((&summed.empty_tasks, &summed.schema), (&table.empty_tasks, &table.schema));
    }
    (summed.map(|summed| summed.tasks), table.rows.tasks(&table.design))
}

#[test]
fn one_pass_has_the_bits_of_the_rows() {
    let plain = table(500, 1);
    let dropping = Columns { drop_missing: true, ..columns() };
    let chosen = Columns { features: Some(vec!["z".into(), "x".into()]), varying: Varying::Only(vec!["x".into()]), ..columns() };
    let weighted = Columns { weights: Some("z".into()), ..columns() };
    let odd = "\u{feff}site, x ,\"y\",z\r\n\"a\", 1.5 ,+2,1e-3\r\n\r\n\"b\",-0,0.1234567890123456789,12345678901234567890\r\n a ,.5,3.,-1E2\r\nb,7,8,9";
    let gaps = "site,x,y,z\na,1,2,3\nb,NA,2,1\nc,2,,4\na,2,1,5\n,1,1,1\nb,4,5,6\nd,1,NA,\nd,,1,2\n";
    let long = table(40_000, 2);
    for (text, columns) in
        [(plain.as_str(), &columns()), (&plain, &chosen), (&plain, &weighted), (odd, &columns()), (gaps, &dropping), (&long, &columns())]
    {
        let (summed, rows) = both_ways(text, columns);
        assert_eq!(summed.unwrap(), rows);
    }
    // What is not plain is left to the other reader, which has its own words for it.
    for text in [
        "site,x,y\na,red,1\nb,blue,2\n",
        "site,x,y\na,1,2\nb,inf,2\n",
        "site,x,y\na,1\n",
        "site,x,y\na,1,2,3\n",
        "site,x,y\n\"a\nb\",1,2\n",
        "site,x,y\na,NA,2\n",
        "site,x,y\na,1,2\na,1e200,2\n",
        "site,x\na,1\n",
        "site,x,y\n",
        "",
    ] {
        assert!(sum(text.as_bytes(), &columns()).is_none(), "{text}");
    }
}

fn on<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

#[test]
fn the_thread_count_does_not_change_a_bit() {
    let text = table(60_000, 3);
    let summed = |threads: usize| on(threads, || sum(text.as_bytes(), &columns()).unwrap().tasks);
    let one = summed(1);
    assert_eq!(one, summed(2));
    assert_eq!(one, summed(5));
}

/// More rows than are held before they are added, of tasks in order, in turn and at random, with new tasks to the end: every task's sums are those of its rows
/// in the order of the table.
#[test]
fn rows_held_and_added_together_have_the_bits_of_the_rows() {
    let (tasks, rows) = (3_000, 120_000);
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut text = |task: &mut dyn FnMut(usize, &mut ChaCha8Rng) -> usize| {
        let mut text = format!("site,{},y,w\n", (0..12).map(|k| format!("x{k}")).collect::<Vec<_>>().join(","));
        for i in 0..rows {
            let _ = write!(text, "site {}", task(i, &mut random));
            (0..13).for_each(|_| write!(text, ",{}", random.random_range(-3.0..3.0)).unwrap());
            let _ = writeln!(text, ",{}", [1.0, 0.3][i % 2]);
        }
        text
    };
    let weighted = Columns { weights: Some("w".into()), ..columns() };
    for text in
        [text(&mut |i, _| i * tasks / rows), text(&mut |i, _| i * 7 % tasks), text(&mut |i, random| random.random_range(0..1 + i / 40))]
    {
        assert!(text.len() > 24 << 20, "more than one stretch is read");
        let (summed, rows) = both_ways(&text, &weighted);
        assert_eq!(summed.unwrap(), rows);
        assert_eq!(on(3, || sum(text.as_bytes(), &weighted).unwrap().tasks), rows);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever the numbers of rows, features and tasks, at whatever thread count.
    #[test]
    fn one_pass_has_the_bits_of_the_rows_of_any_table(
        features in 0usize..24, tasks in 1usize..40, rows in 1usize..400, run in 1usize..60, threads in 1usize..4, weighted: bool, seed: u64,
    ) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let names: Vec<String> = (0..features).map(|k| format!(",x{k}")).collect();
        let mut text = format!("site{},y,w\n", names.concat());
        let mut task = 0;
        for _ in 0..rows {
            if random.random_range(0..run) == 0 {
                task = random.random_range(0..tasks);
            }
            let _ = write!(text, "{task}");
            for _ in 0..=features {
                let number: f64 = random.random_range(-2.0..2.0) * 10f64.powi(random.random_range(-6..7));
                let _ = if random.random() { write!(text, ",{number}") } else { write!(text, ",{number:.3}") };
            }
            let _ = writeln!(text, ",{}", if weighted { random.random_range(0.1..2.0) } else { 1.0 });
        }
        let asked = Columns { features: Some((0..features).map(|k| format!("x{k}")).collect()), weights: Some("w".into()), ..columns() };
        let (summed, rows) = on(threads, || both_ways(&text, &asked));
        prop_assert_eq!(summed.unwrap(), rows);
    }
}

#[cfg(not(feature = "parquet"))]
#[test]
fn a_parquet_file_is_refused_where_it_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.parquet"), b"PAR1\x15\x04 and so on").unwrap();
    let (status, out, err) = cognate(folder.path(), &["fit", "t.parquet", "--task", "site", "--target", "y"]);
    assert!(status == 1 && out.is_empty() && err.contains("--features parquet"), "{err}");
    // A CSV file whose first column has that name is one.
    std::fs::write(folder.path().join("t.csv"), "PAR1,x,y\na,1,2\na,2,3\nb,1,1\nb,3,2\nb,4,4\n").unwrap();
    assert_eq!(cognate(folder.path(), &["fit", "t.csv", "--task", "PAR1", "--target", "y", "--structure", "pooled"]).0, 0);
}

fn cognate(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let run = command::cognate(folder, arguments);
    (run.status, run.out, run.err)
}

#[test]
fn files_of_sums_add_and_subtract() {
    let folder = tempfile::tempdir().unwrap();
    let whole = table(600, 4);
    let (header, lines) = whole.split_once('\n').unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    let write = |name: &str, lines: &[&str]| std::fs::write(folder.path().join(name), format!("{header}\n{}\n", lines.join("\n"))).unwrap();
    write("all.csv", &lines);
    write("a.csv", &lines[..350]);
    write("b.csv", &lines[350..]);
    let run = |arguments: &[&str]| {
        let (status, out, err) = cognate(folder.path(), arguments);
        assert_eq!(status, 0, "{arguments:?}: {err}");
        out
    };
    for name in ["all", "a", "b"] {
        run(&["statistics", &format!("{name}.csv"), "--task", "site", "--target", "y", "-o", &format!("{name}.sums")]);
    }
    let one = run(&["statistics", "all.csv", "--task", "site", "--target", "y", "-o", "again.sums", "--threads", "1"]);
    assert_eq!(one, "");
    let bytes = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert_eq!(bytes("all.sums"), bytes("again.sums"));

    let json = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let expected = json(run(&["fit", "all.csv", "--task", "site", "--target", "y", "--format", "json"]));
    let close = |found: &serde_json::Value| {
        for pointer in
            ["/log_likelihood", "/noise_variance", "/mean/x", "/mean/z", "/feature_covariance/matrix/0/0", "/feature_covariance/matrix/1/1"]
        {
            let of = |value: &serde_json::Value| {
                value.pointer(pointer).and_then(serde_json::Value::as_f64).unwrap_or_else(|| panic!("{pointer}"))
            };
            assert!(
                (of(&expected) - of(found)).abs() < 1e-9 * of(&expected).abs().max(1.0),
                "{pointer}: {} and {}",
                of(&expected),
                of(found)
            );
        }
        assert_eq!(expected["rows"], found["rows"]);
    };
    close(&json(run(&["fit", "all.sums", "--format", "json"])));
    close(&json(run(&["fit", "a.sums", "b.sums", "--format", "json"])));
    close(&json(run(&["fit", "b.sums", "all.sums", "--without", "b.sums", "--format", "json"])));
    let rest = json(run(&["fit", "all.sums", "--without", "b.sums", "--format", "json"]));
    let direct = json(run(&["fit", "a.csv", "--task", "site", "--target", "y", "--format", "json"]));
    let likelihood = |value: &serde_json::Value| value["log_likelihood"].as_f64().unwrap();
    assert!((likelihood(&rest) - likelihood(&direct)).abs() < 1e-8);
    run(&["statistics", "all.csv", "--formula", "y ~ x + z + (1 + x || site)", "-o", "formula.sums"]);
    let by_formula = json(run(&["fit", "formula.sums", "--format", "json"]));
    let direct = json(run(&["fit", "all.csv", "--formula", "y ~ x + z + (1 + x || site)", "--format", "json"]));
    assert_eq!(likelihood(&by_formula), likelihood(&direct));

    for (arguments, words) in [
        (vec!["fit", "a.sums", "--without", "b.sums"], "subtract only statistics that were added"),
        (vec!["fit", "all.sums", "formula.sums"], "what varies"),
        (vec!["fit", "all.sums", "--task", "site"], "leave the flags of columns"),
        (vec!["fit", "all.sums", "--family", "poisson"], "Gaussian"),
        (vec!["fit", "all.sums", "b.csv"], "does not begin like one"),
        (vec!["fit", "all.csv", "b.sums", "--task", "site", "--target", "y"], "cognate statistics"),
        (vec!["compare", "all.sums", "--task", "site", "--target", "y"], "no rows"),
        (vec!["statistics", "all.csv", "--task", "site", "--target", "y", "-o", "all.csv"], "overwritten"),
    ] {
        let (status, out, err) = cognate(folder.path(), &arguments);
        assert!(status == 1 && out.is_empty() && err.contains(words), "{arguments:?}: {err}");
    }
    let mut damaged = bytes("all.sums");
    let last = damaged.len() - 9;
    damaged[last] ^= 1;
    std::fs::write(folder.path().join("damaged.sums"), &damaged).unwrap();
    assert!(cognate(folder.path(), &["fit", "damaged.sums"]).2.contains("checksum"));
    std::fs::write(folder.path().join("short.sums"), &damaged[..last]).unwrap();
    assert!(cognate(folder.path(), &["fit", "short.sums"]).2.contains("truncated"));
    assert_eq!(cognate(folder.path(), &["statistics", "all.csv", "-o", "x.sums"]).0, 2);
}

/// Rows whose features and targets are multiples of 2^-20, so that they are the same numbers when moved by whole ones up to 1e8.
fn rows(features: [f64; 2], target: f64, of_task: impl Fn(usize) -> f64) -> Rows {
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let mut number = |size: f64| (random.random_range(-size..size) * f64::from(1 << 20)).round() / f64::from(1 << 20);
    let mut rows = Rows::new("y", &["x", "z"]);
    for t in 0..12 {
        let (a, b, c) = (number(1.0), 1.0 + number(0.5), number(0.7));
        for _ in 0..6 + 5 * t % 11 {
            let (x, z) = (number(2.0), number(1.5));
            let y = ((a + b * x + c * z + number(0.6)) * f64::from(1 << 20)).round() / f64::from(1 << 20);
            rows.push(&format!("t{t}"), &[x + features[0] + of_task(t), z + features[1]], y + target, 1.0).unwrap();
        }
    }
    rows
}

fn fit(tasks: &Tasks, covariance: FeatureCovariance) -> Fit {
    let model = Model::new(Gaussian::default(), Exchangeable::new(covariance)).intervals(Intervals::PlugIn);
    model.fit(tasks).unwrap()
}

#[test]
fn far_from_zero_no_digit_is_lost() {
    let design = Design::varying(&["x", "z"]);
    let task = |t: usize| (t as f64 * 7.0) % 5.0 * 64.0;
    for (of_task, covariance) in [
        (&(|_: usize| 0.0) as &dyn Fn(usize) -> f64, FeatureCovariance::Diagonal),
        (&|_| 0.0, FeatureCovariance::Full),
        (&task, FeatureCovariance::Diagonal),
    ] {
        let near = fit(&rows([0.0, 0.0], 0.0, of_task).tasks(&design), covariance);
        let far = fit(&rows([1e8, -1e8], 1e8, of_task).tasks(&design), covariance);
        let close = |a: f64, b: f64, what: &str| assert!((a - b).abs() < 1e-7 * a.abs().max(1e-2), "{what}: {a} and {b}");
        close(near.log_likelihood(), far.log_likelihood(), "log-likelihood");
        close(near.dispersion().common_variance(), far.dispersion().common_variance(), "noise variance");
        let (a, b) = (near.prior().feature_covariance(), far.prior().feature_covariance());
        a.iter().zip(b.iter()).for_each(|(a, b)| close(*a, *b, "feature covariance"));
        for t in 0..12 {
            let (a, b) = (near.coefficients(t), far.coefficients(t));
            (1..3).for_each(|k| close(a[k], b[k], "slope"));
        }
    }
}

#[test]
fn sums_of_tasks_far_apart_keep_the_digits_within_each() {
    let design = Design::varying(&["x", "z"]);
    let near = rows([0.0, 0.0], 0.0, |_| 0.0).tasks(&design);
    let far = rows([0.0, 0.0], 0.0, |t| 1e8 * (t as f64 - 5.0)).tasks(&design);
    // Each task is about a row of its own, so that the sums are the same numbers wherever it lies.
    (0..12).for_each(|t| assert_eq!(near.statistics(t), far.statistics(t)));
    // Halves have other shifts; their sum and difference are those of one pass.
    let all = rows([1e8, -1e8], 1e8, |t| 1e6 * t as f64);
    let [even, odd] = [0, 1].map(|rest| all.subset(|i| i % 2 == rest).tasks(&design));
    let whole = all.tasks(&design);
    let both = even.plus(&odd).unwrap();
    let back = both.minus(&odd).unwrap();
    for (found, expected) in [(&both, &whole), (&back, &even)] {
        assert_eq!(found.rows(), expected.rows());
        let (a, b) = (fit(found, FeatureCovariance::Full), fit(expected, FeatureCovariance::Full));
        assert!((a.log_likelihood() - b.log_likelihood()).abs() < 1e-8 * b.log_likelihood().abs());
    }
}

/// Sums of rows that were read in another way are not added, and the message says what differs.
#[test]
fn sums_of_rows_read_in_another_way_do_not_add() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.csv"), table(60, 3)).unwrap();
    let summed = |name: &str, more: &[&str]| {
        let asked = ["statistics", "t.csv", "--task", "site", "--target", "y", "-o", name];
        assert_eq!(cognate(folder.path(), &[&asked[..], more].concat()).0, 0, "{name}");
    };
    summed("plain.s", &["--features", "x"]);
    summed("weighted.s", &["--features", "x", "--weights", "z"]);
    summed("shifted.s", &["--features", "x", "--offset", "z"]);
    summed("other.s", &["--features", "z"]);
    summed("common.s", &["--features", "x", "--varying", "none"]);
    for (file, problem) in [
        ("weighted.s", "--weights column is 'z'"),
        ("shifted.s", "--offset column is 'z'"),
        ("other.s", "feature columns are z"),
        ("common.s", "what varies between tasks differs"),
    ] {
        let (status, _, err) = cognate(folder.path(), &["fit", "plain.s", file]);
        assert!(status == 1 && err.contains(problem), "{file}: {err}");
    }
}
