//! Figures for papers: what they hold is what the fit says, in whole files of the same bytes.

#[path = "common/command.rs"]
mod command;
#[path = "common/fits.rs"]
mod fits;

use cognate::plot::Figure;
use cognate::{Factor, FeatureCovariance, Fit, Known, KnownRelation, structure};
use command::cognate;
use fits::{by_name, fitted, table};
use std::fs;

const POSITIVE: &str = "#2166AC";
const NEGATIVE: &str = "#D95F02";

/// A table with edges that are found.
const SIMULATE: &str = "simulate --tasks 10 --rows 80 --graph chain --features 40 --noise-ratio 0.05 -o t.csv";

/// The words of a figure.
fn words(svg: &str) -> Vec<String> {
    let tree = roxmltree::Document::parse(svg).unwrap();
    let texts = tree.descendants().filter(|own| own.has_tag_name("text"));
    texts.map(|own| own.text().unwrap_or("").trim().to_string()).collect()
}

/// How many elements of that name have that colour.
fn count(svg: &str, tag: &str, attribute: &str, colour: &str) -> usize {
    let tree = roxmltree::Document::parse(svg).unwrap();
    tree.descendants().filter(|own| own.has_tag_name(tag) && own.attribute(attribute) == Some(colour)).count()
}

/// Lines of both signs, and those of the legend.
fn edges(svg: &str) -> usize {
    let (tree, mut sum) = (roxmltree::Document::parse(svg).unwrap(), 0);
    let foot = 10.0 * tree.root_element().attribute("height").unwrap().parse::<f64>().unwrap() - 400.0;
    for own in tree.descendants().filter(|own| own.has_tag_name("line")) {
        let is_edge = own.attribute("stroke").is_some_and(|colour| colour == POSITIVE || colour == NEGATIVE);
        sum += usize::from(is_edge && own.attribute("y1").unwrap().parse::<f64>().unwrap() < foot);
    }
    sum
}

/// Width, height and pixels, red, green and blue.
fn decoded(png: &[u8]) -> (u32, u32, Vec<u8>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    (info.width, info.height, pixels)
}

fn figures(fit: &Fit) -> Vec<(&'static str, cognate::Result<Figure>)> {
    vec![
        ("graph", Figure::graph(fit, 0.5, 1)),
        ("relatedness", Figure::relatedness(fit)),
        ("parameters", Figure::parameters(fit, &[])),
        ("trace", Figure::trace(fit)),
    ]
}

/// Each figure of each structure is drawn, the same twice, or says which other to ask for.
#[test]
fn every_structure_is_drawn_or_says_why_not() {
    let rows = table(12, 30, 3, |t| format!("t{t}"));
    for name in structure::NAMES {
        let fit = fitted(&rows, by_name(name, rows.names()));
        for (figure, drawn) in figures(&fit) {
            let alike = matches!(name, "independent" | "pooled" | "pooled-intercepts" | "exchangeable");
            match (figure, drawn) {
                (_, Ok(drawn)) => {
                    assert!(!alike || !matches!(figure, "graph" | "relatedness"), "{figure} of {name}");
                    let svg = drawn.svg().unwrap();
                    assert_eq!(svg, drawn.clone().svg().unwrap(), "{figure} of {name}");
                    if figure != "trace" {
                        let texts = words(&svg);
                        (0..12).for_each(|t| assert!(texts.contains(&format!("t{t}")), "{figure} of {name}: t{t}"));
                    }
                    let (width, height, pixels) = decoded(&drawn.png(1.0).unwrap());
                    assert_eq!((width, height), drawn.size());
                    let dark = pixels.chunks(3).filter(|own| own.iter().all(|channel| *channel < 128)).count();
                    assert!(dark > 200 && dark < pixels.len() / 6, "{figure} of {name}: {dark} dark pixels");
                }
                ("graph" | "relatedness", Err(error)) => {
                    let text = error.to_string();
                    assert!(text.contains("cognate plot parameters"), "{figure} of {name}: {text}");
                    assert!(alike || matches!(name, "factor" | "graph" | "full"), "{figure} of {name}: {text}");
                }
                ("trace", Err(error)) => assert!(error.to_string().contains("without a climb"), "{name}: {error}"),
                (_, Err(error)) => panic!("{figure} of {name}: {error}"),
            }
        }
    }
}

/// The edges that are drawn are those at the rate.
#[test]
fn edges_are_those_at_the_rate() {
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &str| cognate(folder.path(), &words.split(' ').collect::<Vec<_>>());
    assert_eq!(run(SIMULATE).status, 0);
    assert_eq!(run("fit t.csv --task task --target y --structure graph --model m.cognate").status, 0);
    let fit = Fit::load(folder.path().join("m.cognate")).unwrap();
    let mut drawn = 0;
    for rate in [0.05, 0.1, 0.3, 0.5] {
        let graph = fit.edge_probabilities().unwrap().at_false_discovery_rate(rate);
        let expected = graph.edges().count();
        match Figure::graph(&fit, rate, 1) {
            Ok(figure) => {
                let svg = figure.svg().unwrap();
                assert_eq!(edges(&svg), expected, "{rate}");
                let negative = graph.edges().filter(|own| own.2.partial_correlation < 0.0).count();
                assert_eq!(count(&svg, "line", "stroke", NEGATIVE), negative + usize::from(negative > 0), "{rate}");
                drawn += 1;
            }
            Err(error) => assert!(expected == 0 && error.to_string().contains("no edge to draw"), "{rate}: {error}"),
        }
    }
    assert!(drawn > 1);
    for rate in [0.0, 0.6, f64::NAN] {
        assert!(Figure::graph(&fit, rate, 1).unwrap_err().to_string().contains("false discovery rate"), "{rate}");
    }
}

/// Names are text, whatever they look like.
#[test]
fn names_are_text() {
    let bad = ["<b>&\"", "</svg><script>alert(1)</script>", "tab\there \u{1}", "東京", "Äpfel 'n' Birnen"];
    let rows = table(5, 40, 4, |t| bad[t].to_string());
    let names = rows.names();
    let pairs = names.windows(2).map(|pair| (pair[0].clone(), pair[1].clone(), 1.0)).collect();
    let fit = fitted(&rows, Box::new(Known::new(FeatureCovariance::Diagonal, KnownRelation::Graph(pairs))));
    for (figure, drawn) in figures(&fit).into_iter().filter(|own| own.0 != "trace") {
        let drawn = drawn.unwrap();
        let (svg, png) = (drawn.svg().unwrap(), drawn.png(1.0).unwrap());
        let texts = words(&svg);
        for name in ["<b>&\"", "tab here \u{fffd}", "東京", "Äpfel 'n' Birnen"] {
            assert!(texts.iter().any(|own| own == name), "{figure}: {name} in {texts:?}");
        }
        assert!(!svg.contains("<script") && !svg.contains("<b>") && svg.matches("</svg>").count() == 1);
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
    }
}

/// The curve of estimates is in their order, and a mean is drawn where there is one.
#[test]
fn caterpillars_are_in_order() {
    let rows = table(9, 30, 2, |t| format!("t{t}"));
    let fit = fitted(&rows, by_name("exchangeable", rows.names()));
    let svg = Figure::parameters(&fit, &["x1".into()]).unwrap().svg().unwrap();
    let at = fit.tasks().design().features().iter().position(|own| own == "x1").unwrap();
    let mut order: Vec<usize> = (0..9).collect();
    order.sort_by(|a, b| fit.coefficients(*a)[at].total_cmp(&fit.coefficients(*b)[at]));
    let texts = words(&svg);
    let named: Vec<&String> = texts.iter().filter(|own| own.starts_with('t') && own.len() == 2).collect();
    assert_eq!(named, order.iter().map(|t| format!("t{t}")).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    assert!(texts.contains(&"x1 [y per unit]".into()));
    // Places of the discs are the estimates, on one scale.
    let tree = roxmltree::Document::parse(&svg).unwrap();
    let discs: Vec<f64> =
        (tree.descendants().filter(|own| own.has_tag_name("circle"))).map(|own| own.attribute("cx").unwrap().parse().unwrap()).collect();
    let value = |k: usize| fit.coefficients(order[k])[at];
    let share = |low: f64, own: f64, high: f64| (own - low) / (high - low);
    for k in 0..9 {
        assert!((share(discs[0], discs[k], discs[8]) - share(value(0), value(k), value(8))).abs() < 0.01);
    }
    let complaint = Figure::parameters(&fit, &["x9".into()]).unwrap_err().to_string();
    assert!(complaint.contains("its features are: (Intercept), x0, x1"), "{complaint}");
}

#[test]
fn two_tasks_and_two_thousand_are_drawn() {
    let rows = table(2, 30, 2, |t| format!("t{t}"));
    for name in ["exchangeable", "independent", "known"] {
        let fit = fitted(&rows, by_name(name, rows.names()));
        for (figure, drawn) in figures(&fit) {
            let Ok(drawn) = drawn else { continue };
            assert!(words(&drawn.svg().unwrap()).len() > 2, "{figure} of {name}");
        }
        assert!(Figure::parameters(&fit, &[]).is_ok());
    }
    let rows = table(2_000, 6, 3, |t| format!("task {t}"));
    let fit = fitted(&rows, Box::new(Factor::new(1, FeatureCovariance::Diagonal)));
    for (figure, drawn) in figures(&fit) {
        let drawn = drawn.unwrap();
        let svg = drawn.svg().unwrap();
        assert!(svg.len() < 5_000_000, "{figure}: {} bytes", svg.len());
        assert_eq!(figure == "relatedness", words(&svg).iter().any(|own| own.contains("2000 tasks in 160 blocks")), "{figure}");
        // The graph is laid out each time that it is drawn.
        assert!(figure == "graph" || drawn.png(0.5).unwrap().len() > 1_000);
    }
}

/// Files are whole or not there; refusals name what to give; the same bytes whatever the thread count.
#[test]
fn the_command_writes_whole_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let run = |words: &str| cognate(folder.path(), &words.split(' ').collect::<Vec<_>>());
    assert_eq!(run(SIMULATE).status, 0);
    assert_eq!(run("fit t.csv --task task --target y --structure graph --model m.cognate").status, 0);
    assert_eq!(run("fit t.csv --task task --target y --model e.cognate").status, 0);
    fs::write(at("k.csv"), "source,target\nt1,t2\nt2,t3\n").unwrap();
    assert_eq!(run("fit t.csv --task task --target y --structure known --graph k.csv --model k.cognate").status, 0);
    for figure in
        ["graph m.cognate --fdr 0.3", "relatedness m.cognate", "parameters m.cognate --feature x1 --feature x2", "trace m.cognate"]
    {
        for end in ["svg", "PNG"] {
            let file = format!("f.{end}");
            let plot = |threads: usize| {
                let ran = run(&format!("plot {figure} -o {file} --threads {threads}"));
                assert_eq!((ran.status, ran.out.as_str()), (0, ""), "{figure}: {}", ran.err);
                fs::read(at(&file)).unwrap()
            };
            assert!(plot(1) == plot(3), "{figure} as {end}");
        }
    }
    assert_eq!(run("plot calibration m.cognate t.csv -o c.svg").status, 0);
    let texts = words(&fs::read_to_string(at("c.svg")).unwrap());
    ["50 %", "80 %", "95 %", "Share of rows"].iter().for_each(|own| assert!(texts.iter().any(|text| text == own), "{own}"));
    assert_eq!(run("plot trace m.cognate -o s.png --width 400 --height 300 --scale 2").status, 0);
    let (width, height, _) = decoded(&fs::read(at("s.png")).unwrap());
    assert_eq!((width, height), (800, 600));

    for (words, complaint) in [
        ("plot graph m.cognate -o x.pdf", "'x.pdf' ends in neither .svg nor .png"),
        ("plot graph m.cognate -o x", "ends in neither .svg nor .png"),
        ("plot graph e.cognate -o x.svg", "ask for the figure of parameters"),
        ("plot relatedness e.cognate -o x.svg", "ask for the figure of parameters"),
        ("plot graph m.cognate --fdr 2 -o x.svg", "2 is no false discovery rate"),
        ("plot graph k.cognate --fdr 0.1 -o x.svg", "--fdr needs probabilities"),
        ("plot parameters m.cognate --feature y1 -o x.svg", "did you mean 'x1'?"),
        ("plot calibration m.cognate -o x.svg", "cognate plot calibration MODEL DATA"),
        ("plot trace m.cognate t.csv -o x.svg", "a table belongs to the figure 'calibration'"),
        ("plot trace m.cognate --fdr 0.1 -o x.svg", "--fdr belongs to the figure 'graph'"),
        ("plot trace m.cognate --scale 2 -o x.svg", "--scale belongs to a PNG"),
        ("plot trace m.cognate --width 10 -o x.svg", "a width of 10 pixels"),
        ("plot trace m.cognate --width 20000 --height 20000 -o x.png", "is too large"),
        ("plot trace t.csv -o x.svg", "t.csv"),
        ("plot trace m.cognate -o nowhere/x.svg", "the folder 'nowhere' does not exist"),
    ] {
        let refused = run(words);
        assert!(refused.status == 1 && refused.err.contains(complaint), "{words}: {}", refused.err);
    }
    assert_eq!(run("plot tree m.cognate -o x.svg").status, 2);
    fs::copy(at("m.cognate"), at("m.svg")).unwrap();
    assert!(run("plot trace m.svg -o m.svg").err.contains("would be overwritten"));
    assert!(fs::read_dir(folder.path()).unwrap().all(|own| {
        let name = own.unwrap().file_name().into_string().unwrap();
        !name.starts_with('x') && !name.ends_with(".part")
    }));
}
