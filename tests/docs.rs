//! The sessions in README.md and in the guide are what the program prints.

use assert_cmd::Command;
use std::path::Path;

/// Every command of a page's console blocks, run in their order in one folder.
fn session_is_true(file: &str, least: usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join(file)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::copy(root.join("data/school.csv.gz"), folder.path().join("data/school.csv.gz")).unwrap();
    let sessions = page.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut commands = 0;
    for block in sessions.flat_map(|session| session.split("$ ").skip(1)) {
        let (command, expected) = block.split_once('\n').unwrap();
        let words: Vec<&str> = command.split_whitespace().collect();
        assert_eq!(words[0], "cognate");
        let (words, most) = match words.iter().position(|w| *w == "|") {
            Some(at) => (&words[1..at], words[at + 3].parse().unwrap()),
            None => (&words[1..], usize::MAX),
        };
        let output = Command::cargo_bin("cognate").unwrap().current_dir(folder.path()).args(words).output().unwrap();
        let shown: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().take(most).map(|l| l.trim_end().into()).collect();
        let expected: Vec<&str> = expected.trim_end().lines().map(str::trim_end).collect();
        assert_eq!(shown, expected, "{file}: {command}");
        commands += 1;
    }
    assert!(commands >= least, "{file}");
}

#[test]
fn readme_session_is_true() {
    session_is_true("README.md", 3);
}

#[test]
fn audit_session_is_true() {
    session_is_true("docs/guide/audit.md", 4);
}
