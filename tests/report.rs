//! Reports as pages for a browser: one file that asks for nothing, in which names are data.

#[path = "common/command.rs"]
mod command;
#[path = "common/fits.rs"]
mod fits;

use cognate::page::Page;
use cognate::{Design, Factor, FeatureCovariance, Gaussian, Known, KnownRelation, Model, structure};
use command::cognate;
use fits::{by_name, fitted, table};
use serde_json::{Value, json};
use std::fs;

/// The data of a page, as its scripts read it.
fn data(html: &str) -> Value {
    let (_, rest) = html.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

/// Whether the file asks for nothing: addresses stand in licences and name spaces only.
fn asks_for_nothing(html: &str) {
    for (place, _) in html.match_indices("://") {
        let from = html[..place].rfind(|c: char| !c.is_ascii_alphabetic()).unwrap() + 1;
        let address: String = html[from..].chars().take_while(|c| !c.is_whitespace() && *c != '"').collect();
        let is_name = address.starts_with("http://www.w3.org/") || address.starts_with("https://d3js.org/d3-");
        assert!(is_name, "{address}");
    }
    // d3-selection may set innerHTML; the page does not ask it to.
    let own = html.replace(include_str!("../vendor/d3/d3-selection.js"), "").replace("url(#", "");
    let tags =
        ["<link", "<img", "<iframe", "<base", " src=", "@import", "url(", "fetch(", "XMLHttpRequest", "innerHTML", "insertAdjacentHTML"];
    tags.iter().for_each(|tag| assert!(!own.contains(tag), "{tag}"));
}

#[test]
fn every_structure_gives_a_page() {
    let rows = table(12, 30, 3, |t| format!("t{t}"));
    for name in structure::NAMES {
        let fit = fitted(&rows, by_name(name, rows.names()));
        let html = Page::of(&fit, 1).unwrap().html();
        asks_for_nothing(&html);
        let data = data(&html);
        assert_eq!(data["tasks"]["names"].as_array().unwrap().len(), 12, "{name}");
        assert_eq!(data["parameters"]["estimates"].as_array().unwrap().len(), 4, "{name}");
        assert!(data["verdict"][0].as_str().unwrap().len() > 20, "{name}");
        let (edges, heat) = (data["graph"]["edges"].as_array().unwrap(), &data["heat"]);
        match name {
            "independent" | "pooled" | "pooled-intercepts" | "exchangeable" => assert!(edges.is_empty() && heat.is_null(), "{name}"),
            "clusters" => assert!(edges.is_empty() && data["tasks"]["clusters"]["count"].as_u64() > Some(1), "{name}"),
            _ => assert!(!heat.is_null() || name == "factor", "{name}"),
        }
    }
}

/// Two kinds of tasks: the heat map has them side by side, full correlations say so, and estimates are those of the fit.
#[test]
fn figures_are_those_of_the_fit() {
    let rows = table(12, 40, 6, |t| format!("t{t}"));
    let fit = fitted(&rows, by_name("full", rows.names()));
    let data = data(&Page::of(&fit, 1).unwrap().html());
    let order: Vec<u64> = data["heat"]["order"].as_array().unwrap().iter().map(|own| own.as_u64().unwrap()).collect();
    assert_eq!(order.windows(2).filter(|pair| pair[0] % 2 != pair[1] % 2).count(), 1, "{order:?}");
    let relatedness = fit.relatedness().unwrap();
    let cell = |i: usize, j: usize| data["heat"]["cells"][i * (i + 1) / 2 + j].as_f64().unwrap() / 100.0;
    for i in 1..12 {
        for j in 0..i {
            assert!((cell(i, j) - relatedness[(order[i] as usize, order[j] as usize)]).abs() < 0.0051);
        }
    }
    for t in 0..12 {
        for k in 0..7 {
            let close = |name: &str, own: f64| (data["parameters"][name][k][t].as_f64().unwrap() - own).abs() <= 1e-4 * own.abs();
            assert!(close("estimates", fit.coefficients(t)[k]) && close("sds", fit.covariance(t)[(k, k)].sqrt()));
        }
    }
    let edges = data["graph"]["edges"].as_array().unwrap();
    assert!(data["graph"]["certainty"].as_str().unwrap().contains("sign"));
    assert!(edges.windows(2).all(|pair| pair[0][3].as_f64() >= pair[1][3].as_f64()));
    // Of the same kind alike, of the other opposite.
    let first = &edges[0];
    assert_eq!(first[2].as_f64().unwrap() > 0.0, (first[0].as_u64().unwrap() + first[1].as_u64().unwrap()).is_multiple_of(2));
}

#[test]
fn names_are_never_markup() {
    let bad = ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a & b \u{2028} \"c\"", "<!-- {{data}}"];
    let rows = table(4, 30, 2, |t| bad[t].to_string());
    let fit = fitted(&rows, by_name("exchangeable", rows.names()));
    let compared = json!({
        "rungs": [{"name": bad[0], "score": -1.0, "metrics": {}}],
        "best": bad[1],
        "tasks": [{"task": bad[0], "rows": 3, "gain": 0.1, "gain_se": 0.1, "expected": 0.1, "low": -0.1, "high": 0.3}],
    });
    let check = fit.check(&rows, 20, 1).unwrap();
    let page = Page::of(&fit, 1).unwrap().with_comparison(compared).unwrap().with_check(&check).with_command(bad[0]);
    let html = page.html();
    for name in ["<script>alert", "<img", "\u{2028}", "a & b"] {
        assert!(!html.contains(name), "{name}");
    }
    assert_eq!(html.matches("</script>").count(), 3);
    let data = data(&html);
    assert_eq!(data["tasks"]["names"], json!(bad));
    assert_eq!((&data["command"], &data["comparison"]["best"], &data["gains"][0][0]), (&json!(bad[0]), &json!(bad[1]), &json!(bad[0])));
}

/// Two tasks, and one.
#[test]
fn few_tasks_have_a_page() {
    for tasks in [1, 2] {
        let rows = table(tasks, 30, 2, |t| format!("t{t}"));
        for name in ["exchangeable", "independent", "full", "graph"] {
            let tasks = rows.tasks(&Design::varying(rows.features()));
            let Ok(fit) = Model::of(Box::new(Gaussian::default()), by_name(name, rows.names())).fit(&tasks) else { continue };
            let html = Page::of(&fit, 1).unwrap().html();
            assert!(data(&html)["verdict"].as_array().unwrap().len() > 1, "{name}");
        }
    }
}

/// Five thousand tasks make a file of at most a few megabytes, with blocks in the place of cells and the strongest relations of each task.
#[test]
fn many_tasks_make_a_small_file() {
    let rows = table(5_000, 6, 3, |t| format!("task {t}"));
    let fit = fitted(&rows, Box::new(Factor::new(1, FeatureCovariance::Diagonal)));
    let html = Page::of(&fit, 1).unwrap().html();
    assert!(html.len() < 3_000_000, "{} bytes", html.len());
    let data = data(&html);
    assert_eq!(data["heat"]["starts"].as_array().unwrap().len(), 160);
    let mut order: Vec<u64> = data["heat"]["order"].as_array().unwrap().iter().map(|own| own.as_u64().unwrap()).collect();
    order.sort_unstable();
    assert!(order.iter().copied().eq(0..5_000));
    assert!(data["graph"]["edges"].as_array().unwrap().len() <= 6_000 && data["donors"]["tasks"].as_array().unwrap().len() == 300);
}

#[test]
fn a_file_is_no_comparison_without_rungs() {
    let rows = table(4, 30, 2, |t| format!("t{t}"));
    let page = Page::of(&fitted(&rows, by_name("exchangeable", rows.names())), 1).unwrap();
    for value in [json!({}), json!([1]), json!({"rungs": [{"score": 1}]}), json!({"rungs": "x"})] {
        let complaint = page.clone().with_comparison(value).unwrap_err().to_string();
        assert!(complaint.contains("cognate compare --format json"), "{complaint}");
    }
}

/// The same bytes for the same model, command and seed whatever the thread count; whole files or none; refusals that name the file.
#[test]
fn the_command_writes_whole_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let run = |words: &str| cognate(folder.path(), &words.split(' ').collect::<Vec<_>>());
    assert_eq!(run("simulate --tasks 8 --rows 30 --graph chain --features 12 --noise-ratio 0.2 -o t.csv").status, 0);
    let fit = "fit t.csv --task task --target y --structure graph";
    assert_eq!(run(&format!("{fit} --model m.cognate --report f.html")).status, 0);
    let compared = run("compare t.csv --task task --target y --structures independent,exchangeable --format json");
    fs::write(at("c.json"), &compared.out).unwrap();
    let curves = run("compare t.csv --task task --target y --structures exchangeable --few-shot=2,5 --format json");
    fs::write(at("k.json"), &curves.out).unwrap();
    let report = "report m.cognate t.csv --compare c.json --compare k.json -o r.html --seed 3";
    let first = run(&format!("{report} --threads 1"));
    assert_eq!((first.status, first.out.as_str()), (0, ""), "{}", first.err);
    let one = fs::read_to_string(at("r.html")).unwrap();
    assert_eq!(run(&format!("{report} --threads 3")).status, 0);
    assert_eq!(one, fs::read_to_string(at("r.html")).unwrap());
    asks_for_nothing(&one);
    let data_of = data(&one);
    assert_eq!(data_of["command"], json!(format!("cognate {report}")));
    for (key, text) in [("rungs", &compared.out), ("curves", &curves.out)] {
        let names = |all: &Value| all.as_array().unwrap().iter().map(|own| own["name"].clone()).collect::<Vec<_>>();
        assert_eq!(names(&data_of["comparison"][key]), names(&serde_json::from_str::<Value>(text).unwrap()[key]));
    }
    assert_eq!((&data_of["check"]["rows"], data_of["gains"].as_array().unwrap().len()), (&json!(240), 8));
    // What the fit writes is what the report of its model says of it.
    let by_fit = data(&fs::read_to_string(at("f.html")).unwrap());
    let [by_itself, with_rows] = [&by_fit, &data_of].map(|own| own["verdict"].as_array().unwrap());
    assert_eq!(by_itself[..], with_rows[..by_itself.len()]);
    assert!(
        with_rows.len() == by_itself.len() + 1
            && with_rows.last().unwrap().as_str().unwrap().starts_with("Held against 240 rows of 8 tasks: ")
    );
    for part in ["facts", "heat", "parameters", "trace", "donors"] {
        assert_eq!(by_fit[part], data_of[part], "{part}");
    }
    assert!(by_fit["command"].as_str().unwrap().starts_with("cognate fit t.csv"));

    fs::write(at("no.json"), "{\"rungs\": []}").unwrap();
    for (words, complaint) in [
        ("report m.cognate --compare no.json -o x.html", "--compare 'no.json'"),
        ("report m.cognate --compare t.csv -o x.html", "it is no JSON"),
        ("report t.csv -o x.html", "t.csv"),
        ("report m.cognate -o m.cognate", "would be overwritten"),
        ("report m.cognate -o nowhere/x.html", "the folder 'nowhere' does not exist"),
        ("fit t.csv --task task --target y --model y.cognate --report y.cognate", "cannot be the same file"),
        ("fit t.csv --task task --target y --report t.csv", "would be overwritten"),
    ] {
        let refused = run(words);
        assert!(refused.status == 1 && refused.err.contains(complaint), "{words}: {}", refused.err);
    }
    assert_eq!(run("report m.cognate").status, 2);
    assert!(!at("x.html").exists() && !at("y.cognate").exists());
}

#[test]
fn the_rule_of_the_slider_is_that_of_the_graph_command() {
    let rows = table(12, 60, 12, |t| format!("t{t}"));
    let fit = fitted(&rows, by_name("graph", rows.names()));
    let data = data(&Page::of(&fit, 1).unwrap().html());
    let edges: Vec<f64> = data["graph"]["edges"].as_array().unwrap().iter().map(|own| 1.0 - own[3].as_f64().unwrap()).collect();
    for rate in [0.05, 0.1, 0.2, 0.4] {
        let (mut sum, mut kept) = (0.0, 0);
        for (k, doubt) in edges.iter().enumerate() {
            sum += doubt;
            if sum > rate * (k + 1) as f64 {
                break;
            }
            kept = k + 1;
        }
        let expected = fit.edge_probabilities().unwrap().at_false_discovery_rate(rate).edges().count();
        assert_eq!(kept, expected, "{rate}");
    }
}

/// A known covariance has correlations, not partial ones, and is said to be given.
#[test]
fn what_was_given_is_said_to_be() {
    let rows = table(5, 30, 2, |t| format!("t{t}"));
    let names = rows.names();
    let mut pairs = Vec::new();
    for s in 0..5 {
        for t in s..5 {
            pairs.push((names[s].clone(), names[t].clone(), if s == t { 1.0 } else { 0.5 }));
        }
    }
    let fit = fitted(&rows, Box::new(Known::new(FeatureCovariance::Diagonal, KnownRelation::Covariance(pairs))));
    let data = data(&Page::of(&fit, 1).unwrap().html());
    assert_eq!((&data["graph"]["of"], data["graph"]["words"].as_str().unwrap()), (&json!("correlation"), "The correlations were given."));
    assert_eq!(data["graph"]["edges"].as_array().unwrap().len(), 10);
}
