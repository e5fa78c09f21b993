//! The program run as a user does.

use assert_cmd::Command;
use std::path::Path;

/// What came out.
pub struct Run {
    pub status: i32,
    pub out: String,
    pub err: String,
}

/// `cognate` with these arguments, in that folder.
pub fn cognate(folder: &Path, arguments: &[&str]) -> Run {
    let output = Command::cargo_bin("cognate").unwrap().current_dir(folder).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run { status: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}
