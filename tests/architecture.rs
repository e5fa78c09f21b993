//! The order of the rooms and the length of files and examples.

use std::path::{Path, PathBuf};

/// Low to high: a room uses only rooms before it.
const ROOMS: [&str; 26] = [
    "error",
    "linalg",
    "quadratic",
    "tasks",
    "csv",
    "formula",
    "graph",
    "prior",
    "posterior",
    "likelihood",
    "simulate",
    "structure",
    "em",
    "model",
    "scores",
    "transfer",
    "compare",
    "testing",
    "audit",
    "relatedness",
    "check",
    "report",
    "figures",
    "page",
    "plot",
    "cli",
];

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn sources() -> Vec<(String, PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    files(&src)
        .into_iter()
        .map(|path| {
            let inside = path.strip_prefix(&src).unwrap();
            let room = inside.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_string();
            let text = std::fs::read_to_string(&path).unwrap();
            (room, path, text)
        })
        .collect()
}

#[test]
fn a_room_uses_only_lower_rooms() {
    for (room, path, text) in sources() {
        if room == "lib" || room == "main" {
            continue;
        }
        let own = ROOMS.iter().position(|name| *name == room).unwrap_or_else(|| panic!("{room} is not in the list of rooms"));
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for used in line.split("crate::").skip(1) {
                let name: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if let Some(other) = ROOMS.iter().position(|room| *room == name) {
                    assert!(other <= own, "{}:{}: {room} uses {name}, a higher room", path.display(), number + 1);
                }
            }
        }
    }
}

#[test]
fn files_are_short_and_open_with_a_sentence() {
    for (_, path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= 500, "{} has {lines} lines; split it by what it is about", path.display());
        assert!(
            ["//! ", "/* ", "<!-- "].iter().any(|opening| text.starts_with(opening)),
            "{} opens without saying why it exists",
            path.display()
        );
    }
}

#[test]
fn architecture_page_names_every_room() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap();
    ROOMS.iter().for_each(|room| assert!(page.contains(&format!("`{room}`")), "ARCHITECTURE.md does not name `{room}`"));
}

#[test]
fn examples_show_one_capability_each_in_less_than_sixty_lines() {
    for path in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        assert!(lines < 60, "{} has {lines} lines; a study belongs into benches/", path.display());
        assert!(text.starts_with("//! ") && text.contains("assert"), "{} does not say what it shows, or does not hold it", path.display());
    }
}
