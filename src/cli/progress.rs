//! A spinner on stderr for work that lasts longer than a second.

use crate::csv;
use crate::error::{Error, Result};
use crate::model::{are_sums, is_model};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::Read;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Shows nothing in the first second, and nothing at all when quiet or where stderr is no terminal.
pub(super) struct Progress {
    begin: Instant,
    quiet: bool,
    bar: OnceLock<ProgressBar>,
}

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        Progress { begin: Instant::now(), quiet, bar: OnceLock::new() }
    }

    /// Says what is being done now.
    pub(super) fn say(&self, message: String) {
        if self.quiet || self.begin.elapsed() < Duration::from_secs(1) {
            return;
        }
        let bar = self.shown("{spinner} {elapsed} {msg}");
        bar.set_message(message);
        bar.tick();
    }

    /// Says what was done last and how much of all is done, with the time that is left; from any thread.
    pub(super) fn advance(&self, message: String, done: usize, all: usize) {
        if self.quiet || self.begin.elapsed() < Duration::from_secs(1) {
            return;
        }
        let bar = self.shown("{elapsed} {bar:30} {pos} of {len}, {per_sec}, {eta} left; {msg}");
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        bar.set_message(message);
    }

    /// What says that a fit of a comparison is done.
    pub(super) fn of_fits(&self) -> impl Fn(&str, usize, usize) + Sync {
        |name, done, all| self.advance(format!("fitted {name}"), done, all)
    }

    fn shown(&self, template: &str) -> &ProgressBar {
        let bar = self.bar.get_or_init(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()));
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar
    }

    /// Says `what` and how many of `all` are done, one more with every call; from any thread.
    pub(super) fn count(&self, what: String, all: usize) -> impl Fn() + Sync {
        let done = AtomicUsize::new(0);
        move || self.say(format!("{what}, {} of {all}", done.fetch_add(1, Ordering::Relaxed) + 1))
    }
}

/// A reader that says how much of it was read.
pub(super) struct Watched<'a, R> {
    input: R,
    read: u64,
    progress: &'a Progress,
}

impl Progress {
    /// A table of rows to read, of whose columns at least these are needed; what is read of it is said.
    pub(super) fn open_table<'a>(&'a self, path: &Path, needed: Option<&[&str]>) -> Result<Watched<'a, Box<dyn Read + Send>>> {
        let other = match path {
            path if are_sums(path) => "sums and no rows",
            path if is_model(path) => "a model and no rows",
            path => return Ok(self.watch(csv::open_columns(path, needed)?)),
        };
        Err(Error::Arguments(format!("'{}' holds {other}, which this command reads here; give the table", path.display())))
    }

    /// `input`, with what is read of it said.
    pub(super) fn watch<R: Read>(&self, input: R) -> Watched<'_, R> {
        Watched { input, read: 0, progress: self }
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.input.read(buffer)?;
        let before = self.read;
        self.read += count as u64;
        if before >> 20 != self.read >> 20 {
            let megabytes = self.read >> 20;
            let rate = megabytes as f64 / self.progress.begin.elapsed().as_secs_f64().max(1e-3);
            self.progress.say(format!("reading, {megabytes} MB, {rate:.0} MB a second"));
        }
        Ok(count)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}
