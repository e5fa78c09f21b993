//! Colours of what is printed, on a terminal that has them and where nobody said NO_COLOR.

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use std::io::{self, Write};

/// When there are colours.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum ColourArg {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

impl ColourArg {
    /// From now on.
    pub(super) fn set(self) {
        match self {
            ColourArg::Auto => ColorChoice::Auto,
            ColourArg::Always => ColorChoice::Always,
            ColourArg::Never => ColorChoice::Never,
        }
        .write_global();
    }
}

/// What a line of stderr is.
#[derive(Clone, Copy)]
pub(super) enum Said {
    Note,
    Failure,
}

/// Says something on stderr, where it can be said.
pub(super) fn say(what: Said, text: &str) {
    let mut stderr = io::stderr();
    let style = match what {
        Said::Note => AnsiColor::Cyan.on_default(),
        Said::Failure => AnsiColor::Red.on_default().bold(),
    };
    let _ = match AutoStream::choice(&stderr) {
        ColorChoice::Never => writeln!(stderr, "cognate: {text}"),
        _ => writeln!(AutoStream::auto(stderr), "{style}cognate:{style:#} {text}"),
    };
}

/// Prints a result: a page to read with its headings and warnings set off, where there are colours.
pub(super) fn print(text: &str, is_page: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if is_page && AutoStream::choice(&out) != ColorChoice::Never {
        let mut out = AutoStream::auto(out);
        out.write_all(painted(text).as_bytes())?;
        return out.flush();
    }
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A page with its headings bold and its warnings yellow.
fn painted(text: &str) -> String {
    const HEADING: Style = Style::new().bold();
    let warning = AnsiColor::Yellow.on_default();
    let mut warns = false;
    let mut page = String::with_capacity(text.len() + 256);
    for line in text.split_inclusive('\n') {
        let (words, end) = line.strip_suffix('\n').map_or((line, ""), |words| (words, "\n"));
        let is_inner = words.starts_with(' ') || words.is_empty();
        if !is_inner {
            warns = words == "Warnings:";
        }
        let style = match (is_inner, words.split_once(": ")) {
            (true, _) if warns => warning,
            (false, Some((head, rest))) => {
                page += &format!("{HEADING}{head}:{HEADING:#} {rest}{end}");
                continue;
            }
            (false, None) if words.ends_with(':') => HEADING,
            _ => Style::new(),
        };
        page += &format!("{style}{words}{style:#}{end}");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_and_warnings_are_set_off_and_no_letter_is_lost() {
        let text = "a model\nData: 3 rows\n\nMeans:\n  x: 1\n\nWarnings:\n  - few: rows\n";
        let page = painted(text);
        assert_eq!(
            page,
            "a model\n\u{1b}[1mData:\u{1b}[0m 3 rows\n\n\u{1b}[1mMeans:\u{1b}[0m\n  x: 1\n\n\u{1b}[1mWarnings:\u{1b}[0m\n\u{1b}[33m  - few: rows\u{1b}[0m\n"
        );
        assert_eq!(anstream::adapter::strip_str(&page).to_string(), text);
    }
}
