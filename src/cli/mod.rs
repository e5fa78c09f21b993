//! The command line: one table of flags, results on stdout, progress and warnings on stderr.

/// Says something on stderr, where it can be said.
macro_rules! note {
    ($($words:tt)*) => {{
        $crate::cli::colour::say($crate::cli::colour::Said::Note, &format!($($words)*));
    }};
}

mod args;
mod audit;
mod check;
mod colour;
mod command;
mod compare;
mod demo;
mod edges;
mod evidence;
mod graph;
mod guard;
mod intervals;
mod known;
mod manual;
mod origin;
mod plot;
mod predict;
mod progress;
mod relatedness;
mod report;
mod run;
mod rung;
mod shape;
mod simulate;
mod statistics;
mod summaries;
mod transfer;

use clap::Parser;
use colour::{Said, say};
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the program with these arguments. Exit status 0: done; 1: refused or failed; 2: wrong usage.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let words = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let command = match command::Cli::try_parse_from(arguments).and_then(statistics::complete) {
        Ok(command) => command.with_words(words),
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    // An interruption leaves no half-written file.
    let _ = ctrlc::set_handler(|| {
        crate::model::discard_pending();
        std::process::exit(130);
    });
    command.color.set();
    if let Some(threads) = command.threads {
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    }
    match run::execute(&command) {
        Ok(run::Output { text, complaint }) => {
            if let Err(error) = colour::print(&text, command.command.prints_page()) {
                // A reader may go away; a full disk may not swallow results.
                if error.kind() == std::io::ErrorKind::BrokenPipe {
                    return ExitCode::SUCCESS;
                }
                say(Said::Failure, &format!("the result could not be written: {error}"));
                return ExitCode::FAILURE;
            }
            match complaint {
                Some(complaint) => {
                    say(Said::Failure, &complaint);
                    ExitCode::FAILURE
                }
                None => ExitCode::SUCCESS,
            }
        }
        Err(error) => {
            say(Said::Failure, &error.to_string());
            ExitCode::FAILURE
        }
    }
}
