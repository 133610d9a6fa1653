//! Signs of life on a terminal while something takes long.

use std::time::Duration;

use indicatif::ProgressBar;

/// A spinner with a message on standard error; silent for JSON and where standard error is no terminal.
pub fn spinner(message: &str, quiet: bool) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner().with_message(message.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}
