//! An anchor that is a program: run with each checkpoint on its standard input, with no environment, no
//! shell, nothing of what it writes read, and killed when it takes too long. Named in the configuration
//! file alone (H06).

use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::Take;
use crate::audit::SignedCheckpoint;
use crate::sinks::error::PlaceError;

/// The program and its arguments.
pub(in crate::sinks) struct CommandAnchor {
    command: Vec<String>,
}

// === impl CommandAnchor ===

impl CommandAnchor {
    pub(in crate::sinks) fn new(command: Vec<String>) -> Self {
        Self { command }
    }
}

impl Take for CommandAnchor {
    async fn take(&mut self, signed: &SignedCheckpoint) -> Result<(), PlaceError> {
        let (program, arguments) = self.command.split_first().ok_or(PlaceError::Lost)?;
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Dropped when it takes too long.
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // A program that does not read all of it is judged by how it ends.
            let _ = input.write_all(signed.as_bytes()).await;
        }
        let status = child.wait().await?;
        if status.success() { Ok(()) } else { Err(PlaceError::Ended(status)) }
    }
}
