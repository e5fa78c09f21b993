//! The sessions in README.md and the guide are what the program prints.

use assert_cmd::Command;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The commands of the sessions of a page, and what it says that they print.
fn session(page: &str) -> Vec<(String, String)> {
    let page = std::fs::read_to_string(root().join(page)).unwrap();
    let sessions = page.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let blocks = sessions.flat_map(|session| session.split("$ ").skip(1));
    blocks
        .map(|block| block.split_once('\n').map(|(command, printed)| (command.to_string(), printed.trim_end().to_string())).unwrap())
        .collect()
}

/// A folder with the data.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    for name in ["data/school.csv.gz", "data/two_tasks.csv"] {
        std::fs::copy(root().join(name), folder.path().join(name)).unwrap();
    }
    for name in ["sleepstudy.csv", "contraception.csv"] {
        std::fs::copy(root().join("tests/oracles").join(name), folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn readme_session_is_true() {
    let folder = folder();
    let blocks = session("README.md");
    for (command, expected) in &blocks {
        let words: Vec<&str> = command.split_whitespace().collect();
        assert_eq!(words[0], "cognate");
        let (words, most) = match words.iter().position(|w| *w == "|") {
            Some(at) => (&words[1..at], words[at + 3].parse().unwrap()),
            None => (&words[1..], usize::MAX),
        };
        let output = Command::cargo_bin("cognate").unwrap().current_dir(folder.path()).args(words).output().unwrap();
        let shown: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().take(most).map(|l| l.trim_end().into()).collect();
        let expected: Vec<&str> = expected.lines().map(str::trim_end).collect();
        assert_eq!(shown, expected, "{command}");
    }
    assert!(blocks.len() >= 3);
}

/// The words of a line, between spaces and commas.
fn words(line: &str) -> Vec<&str> {
    line.split([' ', ',']).collect()
}

/// Whether a number, to the decimals of the page, or a word is that of the page.
fn is_that(found: &str, told: &str) -> bool {
    match (found.parse::<f64>(), told.parse::<f64>(), told.split_once('.')) {
        _ if found == told => true,
        (Ok(found), Ok(_), Some((_, decimals))) => format!("{found:.*}", decimals.len()) == told,
        _ => false,
    }
}

/// Commands go through the shell; numbers are rounded on the page.
#[test]
fn sessions_of_the_guide_are_true() {
    let program = assert_cmd::cargo::cargo_bin("cognate");
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    for page in
        ["audit", "check", "choosing", "coming", "graph", "model", "problems", "relatedness", "report", "scores", "tables", "transfer"]
    {
        let page = &format!("docs/guide/{page}.md");
        let folder = folder();
        let blocks = session(page);
        for (command, expected) in &blocks {
            let output = std::process::Command::new("sh")
                .args(["-c", &format!("({command}) 2>&1")])
                .current_dir(folder.path())
                .env("PATH", &path)
                .output()
                .unwrap();
            let shown = String::from_utf8(output.stdout).unwrap();
            let [shown, expected] = [shown.trim_end(), expected.as_str()].map(|text| text.lines().map(str::trim_end).collect::<Vec<_>>());
            let same = shown.len() == expected.len()
                && shown.iter().zip(&expected).all(|(shown, expected)| {
                    let (shown, expected) = (words(shown), words(expected));
                    shown.len() == expected.len() && shown.iter().zip(&expected).all(|(found, told)| is_that(found, told))
                });
            assert!(same, "{page}: {command}\n{}", shown.join("\n"));
        }
        assert!(blocks.len() >= 2);
    }
}
