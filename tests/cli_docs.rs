//! What manuals and shells know of the command line is what `--help` says of it.

#[path = "common/command.rs"]
mod command;

use command::cognate;
use std::collections::BTreeSet;

const SHELLS: [&str; 5] = ["bash", "zsh", "fish", "powershell", "elvish"];

fn help(command: &[&str]) -> String {
    let run = cognate(std::path::Path::new("."), &[command, &["--help"]].concat());
    assert_eq!((run.status, run.err.as_str()), (0, ""));
    run.out
}

/// The names under `Commands:`, but `help`.
fn commands() -> Vec<String> {
    let page = help(&[]);
    let listed = page.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    // A name stands two spaces in, what it does further.
    let names = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.map(|line| line.split_whitespace().next().unwrap().to_string()).filter(|name| name != "help").collect()
}

/// The long flags of a help page, each of which must have words of its own.
fn flags(page: &str) -> BTreeSet<String> {
    let options = page.split("Options:\n").nth(1).unwrap();
    let lines: Vec<&str> = options.lines().collect();
    let mut found = BTreeSet::new();
    for (i, line) in lines.iter().enumerate() {
        let entry = line.trim_start();
        let Some(flag) = entry.split_whitespace().map(|word| word.trim_end_matches(',')).find(|word| word.starts_with("--")) else {
            continue;
        };
        if !entry.starts_with('-') {
            continue;
        }
        // Beside it, or on the next line.
        let beside = entry.split_once("  ").map_or("", |(_, words)| words.trim());
        let below = lines.get(i + 1).map_or("", |next| next.trim());
        assert!(!beside.is_empty() || (!below.is_empty() && !below.starts_with('-')), "{line} says nothing");
        // Of `--stability[=<PARTS>]` what stands before its value.
        found.insert(flag.split(['[', '=', '.']).next().unwrap_or(flag).to_string());
    }
    found
}

#[test]
fn the_manual_has_every_command_and_every_flag() {
    let folder = tempfile::tempdir().unwrap();
    let run = cognate(folder.path(), &["man", "pages"]);
    assert_eq!((run.status, run.out.as_str(), run.err.as_str()), (0, "", ""));
    let page = |name: &str| std::fs::read_to_string(folder.path().join("pages").join(format!("{name}.1"))).unwrap();
    let commands = commands();
    assert!(commands.len() >= 15, "{commands:?}");
    let (mut count, mut all) = (0, page("cognate"));
    for name in &commands {
        let own = page(&format!("cognate-{name}"));
        assert!(page("cognate").contains(&format!("cognate\\-{name}(1)")), "{name}");
        for flag in flags(&help(&[name])) {
            assert!(own.contains(&flag.replace('-', "\\-")), "{flag} is not in the page of {name}");
            count += 1;
        }
        all.push_str(&own);
    }
    assert!(count > 150, "{count} flags");
    assert_eq!(std::fs::read_dir(folder.path().join("pages")).unwrap().count(), commands.len() + 1);
    // All pages one after another.
    assert_eq!(cognate(folder.path(), &["man"]).out, all);
    // A file in the place of the folder.
    std::fs::write(folder.path().join("file"), "").unwrap();
    let refused = cognate(folder.path(), &["man", "file"]);
    assert!(refused.status == 1 && refused.err.contains("file"), "{}", refused.err);
}

#[test]
fn shells_complete_every_command_and_flag() {
    let known: Vec<BTreeSet<String>> = commands().iter().map(|name| flags(&help(&[name]))).collect();
    for shell in SHELLS {
        let run = cognate(std::path::Path::new("."), &["completions", shell]);
        assert_eq!((run.status, run.err.as_str()), (0, ""), "{shell}");
        for name in commands() {
            assert!(run.out.contains(&name), "{shell} does not know {name}");
        }
        for flag in known.iter().flatten() {
            // fish writes them without hyphens.
            let written = if shell == "fish" { format!("-l {}", flag.trim_start_matches('-')) } else { flag.clone() };
            assert!(run.out.contains(&written), "{shell} does not know {flag}");
        }
    }
    assert_eq!(cognate(std::path::Path::new("."), &["completions", "tcsh"]).status, 2);
}
