//! `cognate completions` and `cognate man`: what shells and manuals say of the flags, made from the one table of them.

use super::command::Cli;
use crate::error::{Error, Result};
use crate::model::write_whole;
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// Whose script to print, to be read when that shell starts
    pub shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Folder to write the pages to, a file a command (default: to stdout, one after another)
    pub folder: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs) -> String {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "cognate", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

pub(super) fn man(args: &ManArgs) -> Result<String> {
    let pages = pages()?;
    let Some(folder) = &args.folder else { return Ok(pages.into_iter().map(|(_, page)| page).collect()) };
    std::fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))?;
    for (name, page) in pages {
        write_whole(&folder.join(format!("{name}.1")), page.as_bytes())?;
    }
    Ok(String::new())
}

/// Every command with its page, that of all commands first.
fn pages() -> Result<Vec<(String, String)>> {
    let mut all = Cli::command().disable_help_subcommand(true);
    // Names what is below by what is above it, and hands global flags down.
    all.build();
    std::iter::once(&all).chain(all.get_subcommands()).map(page).collect()
}

fn page(command: &Command) -> Result<(String, String)> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_string();
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut text).map_err(|source| Error::io(Path::new("-"), source))?;
    Ok((name, String::from_utf8_lossy(&text).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_argument_of_every_command_says_what_it_is() {
        let mut all = Cli::command();
        all.build();
        for command in std::iter::once(&all).chain(all.get_subcommands()) {
            assert!(command.get_about().is_some(), "{} says nothing", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} of {} says nothing", argument.get_id(), command.get_name());
            }
        }
    }
}
