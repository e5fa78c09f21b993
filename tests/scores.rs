//! Scores of predictions, from the library and by the program.

#[path = "common/command.rs"]
mod command;

use cognate::{Binomial, Design, Exchangeable, FeatureCovariance, Gaussian, Generalised, Model, Rows};
use command::cognate;
use serde_json::Value;

/// Eight wards with whether, how many of how many, how often and how much.
fn table() -> String {
    let mut text = String::from("ward,dose,well,cured,treated,falls,stay,grade\n");
    for i in 0..160 {
        let (ward, dose) = (i % 8, f64::from(i / 8 % 15) / 7.0 - 1.0);
        let well = u8::from(dose + f64::from(ward) / 4.0 + f64::from(i * 7 % 11) / 5.0 > 2.0);
        let treated = 2 + i % 5;
        let cured = (i * 7 % 11 + ward) % (treated + 1);
        let stay = (1.0 + 0.2 * f64::from(ward) + 0.3 * dose) * (1.0 + 0.3 * f64::from(i * 11 % 7));
        text.push_str(&format!(
            "w{ward},{dose},{well},{cured},{treated},{},{stay},{}\n",
            (i * 5 % 7 + ward) / 3,
            1 + (ward + i * 7 % 5) / 5
        ));
    }
    text
}

/// Finite numbers or null, snake_case keys.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::Object(map) => {
            map.iter().all(|(key, own)| key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') && is_plain(own))
        }
        Value::Array(list) => list.iter().all(is_plain),
        Value::Number(number) => number.as_f64().is_some_and(f64::is_finite),
        _ => true,
    }
}

#[test]
fn predictions_are_scored_as_text_and_as_json() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.csv"), table()).unwrap();
    let run = |line: &str| cognate(folder.path(), &line.split(' ').collect::<Vec<_>>());
    // Which scores there are: brier, deviance, coverage; which words the table has.
    let cases = [
        ("--target stay", [false, true, true], "PIT by tenths"),
        ("--target stay --family student", [false, false, true], "in the 80 % interval"),
        ("--target stay --family gamma", [false, true, true], "PIT by tenths"),
        ("--target well --family bernoulli", [true, true, false], "95 % interval (Wilson)"),
        ("--target cured --trials treated --family binomial", [true, true, false], "auc within tasks, mean"),
        ("--target falls --family poisson", [false, true, true], "in the 95 % interval, or more"),
        ("--target grade --family ordinal", [false, false, false], "crps"),
    ];
    for (flags, [brier, deviance, coverage], words) in cases {
        let fit = run(&format!("fit t.csv --task ward --features dose --model m.cognate {flags}"));
        assert_eq!(fit.status, 0, "{flags}: {}", fit.err);
        let text = run("predict m.cognate t.csv --score");
        assert!(text.status == 0 && text.err.starts_with("cognate: 160 rows, log predictive density -"), "{flags}: {}", text.err);
        assert!(text.err.contains(words) && text.err.contains("lowest log density") && text.out.lines().count() == 161, "{}", text.err);
        let json = run("predict m.cognate t.csv --score --format json -o p.csv");
        assert_eq!((json.status, json.err.as_str()), (0, ""), "{flags}");
        assert_eq!(std::fs::read_to_string(folder.path().join("p.csv")).unwrap(), text.out, "{flags}");
        let scores: Value = serde_json::from_str(&json.out).unwrap();
        assert!(is_plain(&scores), "{flags}: {scores}");
        assert_eq!((scores["rows"].as_u64(), scores["tasks"].as_array().unwrap().len()), (Some(160), 8));
        assert!(text.err.contains(&format!("{:.4}", scores["crps"].as_f64().unwrap())), "{flags}");
        assert!(scores["log_density_se"].as_f64().unwrap() > 0.0 && scores["tasks"][0]["log_density_se"].is_null());
        assert_eq!(scores["brier"].is_f64() && scores["task_auc"].is_f64() && scores["reliability"].is_array(), brier, "{flags}");
        assert_eq!(scores["deviance"].is_f64(), deviance, "{flags}");
        assert_eq!(scores["coverage"].as_array().unwrap().len(), if coverage { 3 } else { 0 }, "{flags}");
        let shares: f64 = scores["pit"].as_array().unwrap().iter().map(|share| share.as_f64().unwrap()).sum();
        assert!((shares - 1.0).abs() < 1e-12);
        let names: Vec<&str> = scores["tasks"].as_array().unwrap().iter().map(|own| own["task"].as_str().unwrap()).collect();
        assert_eq!(names, ["w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7"]);
        let compared =
            run(&format!("compare t.csv --task ward --features dose {flags} --structures pooled,exchangeable:diagonal --format json"));
        let comparison: Value = serde_json::from_str(&compared.out).unwrap();
        let metrics = &comparison["rungs"][1]["metrics"];
        assert!(metrics["crps"].is_f64(), "{flags}: {metrics}");
        assert_eq!((metrics["brier"].is_f64(), metrics["deviance"].is_f64()), (brier, deviance), "{flags}: {metrics}");
        assert_eq!(metrics["task_auc"].is_f64(), brier, "{flags}: {metrics}");
    }
    let compared = run("compare t.csv --task ward --target well --features dose --family bernoulli --structures pooled,exchangeable");
    assert!(compared.out.lines().next().unwrap().contains("brier  task auc"), "{}", compared.out);
}

#[test]
fn what_cannot_be_scored_is_said_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.csv"), table()).unwrap();
    std::fs::write(folder.path().join("bad.csv"), "ward,dose,falls\nw1,0.5,2\nw1,0.5,2.5\n").unwrap();
    let run = |line: &str| cognate(folder.path(), &line.split(' ').collect::<Vec<_>>());
    assert_eq!(run("fit t.csv --task ward --target falls --features dose --family poisson --model m.cognate").status, 0);
    for (line, words) in [
        ("predict m.cognate t.csv --score --format json", "-o FILE"),
        ("predict m.cognate bad.csv --score -o p.csv", "row 2, column 'falls': 2.5 is no count"),
    ] {
        let refused = run(line);
        assert!(refused.status == 1 && refused.out.is_empty() && refused.err.contains(words), "{line}: {}", refused.err);
        assert!(refused.err.lines().count() == 1 && !folder.path().join("p.csv").exists(), "{line}: {}", refused.err);
    }
    let quiet = run("predict m.cognate t.csv --score --quiet");
    assert!(quiet.status == 0 && quiet.err.is_empty());
}

/// The same numbers by hand: of predictions, and over tasks that a fit has not seen.
#[test]
fn scores_of_a_fit_are_those_of_its_predictions() {
    let (mut train, mut test) = (Rows::new("y", &["x"]), Rows::new("y", &["x"]));
    for i in 0..120 {
        let (t, x) = (i % 6, f64::from(i / 6) / 10.0);
        let y = f64::from(u8::from(x + f64::from(t) / 3.0 + f64::from(i * 7 % 5) / 4.0 > 2.0));
        let name = format!("t{t}");
        (if i % 3 == 0 { &mut test } else { &mut train }).push(&name, &[x], y, 1.0).unwrap();
    }
    test.push("unseen", &[0.7], 1.0, 1.0).unwrap();
    let design = Design::varying(train.features());
    let tasks = train.tasks(&design).with_rows(train).unwrap();
    let structure = || Exchangeable::new(FeatureCovariance::Diagonal);
    for gaussian in [false, true] {
        let fit = if gaussian {
            Model::new(Gaussian::default(), structure()).fit(&tasks).unwrap()
        } else {
            Model::new(Generalised::new(Binomial::default()), structure()).fit(&tasks).unwrap()
        };
        let scores = fit.scores(&test).unwrap();
        let (mut squares, mut density, mut inside, count) = (0.0, 0.0, 0.0, test.len() as f64);
        for i in 0..test.len() {
            let p = fit.predict(&test.names()[test.task(i)], test.x(i), 0.8).unwrap();
            squares += (test.y(i) - p.mean).powi(2) / count;
            density += p.log_density(test.y(i)) / count;
            inside += f64::from(u8::from(p.lower <= test.y(i) && test.y(i) <= p.upper)) / count;
        }
        assert!((scores.all.log_density - density).abs() < 1e-12 && (scores.all.rmse.unwrap() - squares.sqrt()).abs() < 1e-12);
        assert_eq!((scores.all.rows, scores.tasks.last().unwrap().task.as_str()), (41, "unseen"));
        if gaussian {
            assert!((scores.all.deviance.unwrap() - squares).abs() < 1e-12 && scores.all.brier.is_none());
            assert!((scores.all.coverage[1].covered - inside).abs() < 1e-12);
        } else {
            assert!((scores.all.brier.unwrap() - squares).abs() < 1e-12 && scores.all.coverage.is_empty());
            assert!((scores.all.crps.unwrap() - squares).abs() < 1e-8, "one trial: the ranked probability score is Brier's");
            let trials: f64 = scores.all.reliability.unwrap().iter().map(|bin| bin.trials).sum();
            assert!(trials == 41.0 && scores.all.auc.unwrap() > 0.5 && scores.tasks.last().unwrap().scores.auc.is_none());
        }
    }
}

/// Two levels are two classes: everything said of them is what is said of 0 and 1.
#[test]
fn ordinal_targets_of_two_levels_are_binary_ones() {
    let tasks = |shift: f64| {
        let mut rows = Rows::new("y", &["x"]);
        for i in 0..90 {
            let (t, x) = (i % 6, f64::from(i / 6) / 7.0 - 1.0);
            let success = x + f64::from(t) / 6.0 + f64::from(i * 7 % 11) / 5.0 > 1.4;
            rows.push(&format!("task {t}"), &[x], shift + f64::from(u8::from(success)), 1.0).unwrap();
        }
        (rows.tasks(&Design::varying(rows.features())).with_rows(rows.clone()).unwrap(), rows)
    };
    let structure = || Exchangeable::new(FeatureCovariance::Diagonal);
    let ((of_levels, levels), (of_classes, classes)) = (tasks(1.0), tasks(0.0));
    let ordinal = Model::new(Generalised::new(cognate::Ordinal::default()), structure()).fit(&of_levels).unwrap();
    let binary = Model::new(Generalised::new(Binomial::default()), structure()).fit(&of_classes).unwrap();
    assert!((ordinal.log_likelihood() - binary.log_likelihood()).abs() < 1e-5);
    let (own, other) = (ordinal.scores(&levels).unwrap().all, binary.scores(&classes).unwrap().all);
    assert!((own.log_density - other.log_density).abs() < 1e-4, "{} and {}", own.log_density, other.log_density);
    let (level, class) = (ordinal.predict("task 2", &[0.1], 0.9).unwrap(), binary.predict("task 2", &[0.1], 0.9).unwrap());
    assert!((level.mean - 1.0 - class.mean).abs() < 1e-3);
    let unseen = ordinal.forecast(Some(0), "task 0", &[0.0], 1.0, 0.0).unwrap();
    assert!(cognate::Scores::of(&[cognate::Outcome { task: "task 0".into(), forecast: unseen, target: 3.0, weight: 1.0 }]).is_err());
}

/// Predictors so far out that counts have no finite moments: intervals in order, scores finite or none, and no memory without end.
#[test]
fn counts_far_out_have_intervals_in_order() {
    for name in ["poisson", "negative-binomial"] {
        let dispersion: &[f64] = if name == "poisson" { &[] } else { &[0.5] };
        for (mean, sd) in [(2.0, 4.0), (5.0, 9.0), (20.0, 3.0), (30.0, 20.0), (90.0, 40.0), (-30.0, 12.0)] {
            let forecast = cognate::Forecast::family(name, dispersion, 1.0, (mean, sd)).unwrap();
            for level in [0.5, 0.95] {
                let (low, high) = forecast.interval(level);
                assert!(0.0 <= low && low <= high && low.is_sign_positive(), "{name} {mean} {sd}: {low} {high}");
                if low > 0.0 && high < 1e14 {
                    let below = forecast.cumulative(low - 1.0).unwrap();
                    assert!(below < 0.5 - 0.5 * level + 1e-6 && forecast.cumulative(high).unwrap() > 0.5 + 0.5 * level - 1e-6);
                }
            }
            let density = forecast.log_density(3.0);
            assert!(density.is_finite() && density < 0.0, "{name} {mean} {sd}: {density}");
            assert!(forecast.crps(3.0).is_none_or(|own| own.is_finite() && own >= 0.0));
        }
    }
}
