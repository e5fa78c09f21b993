//! A spinner on stderr for work that lasts longer than a second.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// Shows nothing in the first second, and nothing at all when quiet or where stderr is no terminal.
pub(super) struct Progress {
    begin: Instant,
    quiet: bool,
    bar: RefCell<Option<ProgressBar>>,
}

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        Progress { begin: Instant::now(), quiet, bar: RefCell::new(None) }
    }

    /// Says what is being done now.
    pub(super) fn say(&self, message: String) {
        if self.quiet || self.begin.elapsed() < Duration::from_secs(1) {
            return;
        }
        let mut slot = self.bar.borrow_mut();
        let bar = slot.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        bar.set_message(message);
        bar.tick();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.borrow().as_ref() {
            bar.finish_and_clear();
        }
    }
}
