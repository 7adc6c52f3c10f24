//! Asking a person before something that cannot be undone, or stops others from working.
//!
//! Without a terminal there is nobody to ask: the command is refused unless `--yes` was given.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use super::escape::visible;
use super::failure::{Exit, Failure};

/// Says yes beforehand.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Confirmation {
    /// Do not ask for confirmation
    #[arg(long, short = 'y')]
    yes: bool,
}

// === impl Confirmation ===

impl Confirmation {
    /// Asks `question`; anything but `yes` is a no.
    pub(crate) fn ask(self, question: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Err(Failure::new(
                Exit::Usage,
                "this needs confirmation, and nobody can be asked",
            )
            .hint("add --yes if you are sure"));
        }
        let mut stderr = io::stderr().lock();
        let asked = write!(stderr, "{} Type yes to go on: ", visible(question))
            .and_then(|()| stderr.flush());
        asked.map_err(|error| Failure::midway("cannot ask", &error))?;
        let mut answer = String::new();
        io::stdin()
            .lock()
            .read_line(&mut answer)
            .map_err(|error| Failure::midway("cannot read the answer", &error))?;
        if answer.trim() == "yes" {
            Ok(())
        } else {
            Err(Failure::new(Exit::Interrupted, "not confirmed; nothing was changed"))
        }
    }
}
