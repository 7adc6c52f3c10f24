//! A sink that speaks syslog: RFC 5424 messages in the framing of RFC 5425, over TLS. The message is the
//! record's line of JSON, with its id and sequence.
//!
//! The protocol has no acknowledgement: a record has arrived when the connection took it. What a
//! connection took in its last seconds before it broke is therefore sent again on the next one, and the
//! receiver tells duplicates by the id. Never waits for anything that the receiver says.

use std::collections::VecDeque;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::error::PlaceError;
use super::follow::Receive;
use super::line::{line, rfc3339};
use super::peer::{Line, Peer};
use super::position::At;
use crate::audit::Outcome;
use crate::trail::Entry;

/// The receiver, and the connection to it while there is one.
pub(super) struct Syslog {
    peer: Arc<Peer>,
    host_name: String,
    message_bytes_max: usize,
    line: Option<Line>,
    /// How far the receiver had the log when these were sent, oldest first.
    recent: VecDeque<(Instant, At)>,
    last: Option<At>,
    begins: Option<At>,
}

// === impl Syslog ===

impl Syslog {
    /// `at` is how far the receiver has the log.
    pub(super) fn new(peer: Peer, message_bytes_max: usize, at: At) -> Self {
        Self {
            peer: Arc::new(peer),
            host_name: host_name(),
            message_bytes_max,
            line: None,
            recent: VecDeque::new(),
            last: Some(at),
            begins: None,
        }
    }

    fn frames(&self, entries: &[Entry]) -> Vec<u8> {
        let mut frames = Vec::new();
        for entry in entries {
            let message = self.message(entry);
            frames.extend_from_slice(format!("{} ", message.len()).as_bytes());
            frames.extend_from_slice(message.as_bytes());
        }
        frames
    }

    /// RFC 5424, section 6. ASCII alone, so that no byte order mark is needed.
    fn message(&self, entry: &Entry) -> String {
        let severity = match entry.record.outcome {
            Outcome::Started | Outcome::Succeeded => 6,
            Outcome::Refused => 4,
            Outcome::Failed => 3,
        };
        let priority = LOG_AUDIT.saturating_mul(8).saturating_add(severity);
        let time = rfc3339(entry.record.time_us);
        let message_id: String =
            entry.record.action.chars().filter(char::is_ascii_graphic).take(32).collect();
        let message_id = if message_id.is_empty() { "-".to_owned() } else { message_id };
        let head = format!("<{priority}>1 {time} {} bulla - {message_id} - ", self.host_name);
        let room = self.message_bytes_max.saturating_sub(head.len());
        head + &line(entry, room)
    }

    /// What was sent so long ago on a connection that still stands has arrived.
    fn forget_old(&mut self) {
        while self.recent.front().is_some_and(|(sent, _)| sent.elapsed() > IN_DOUBT) {
            self.recent.pop_front();
        }
    }
}

impl Receive for Syslog {
    fn is_ready(&self) -> bool {
        self.line.is_some()
    }

    async fn make_ready(&mut self) -> Result<(), PlaceError> {
        self.line = Some(self.peer.connect().await?);
        Ok(())
    }

    /// Whatever the receiver says or does is its end.
    async fn lost(&mut self) {
        match &mut self.line {
            Some(line) => while line.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {},
            None => std::future::pending().await,
        }
    }

    async fn deliver(&mut self, entries: &[Entry]) -> Result<(), PlaceError> {
        let frames = self.frames(entries);
        let last = entries.last().map(|last| At { sequence: last.sequence, hash: last.hash });
        self.forget_old();
        if let Some(before) = self.last {
            self.recent.push_back((Instant::now(), before));
        }
        let line = self.line.as_mut().ok_or(PlaceError::Lost)?;
        // A receiver that has gone is noticed by reading, not by writing.
        let mut said = [0; 64];
        tokio::select! {
            biased;
            read = line.read(&mut said) => match read {
                Ok(0) => return Err(PlaceError::Lost),
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            },
            () = std::future::ready(()) => {}
        }
        line.write_all(&frames).await?;
        line.flush().await?;
        self.last = last.or(self.last);
        Ok(())
    }

    fn in_doubt(&mut self) -> Option<At> {
        self.begins.take()
    }

    fn give_up(&mut self) {
        self.forget_old();
        if self.line.take().is_some() {
            self.begins = self.recent.front().map(|(_, at)| *at);
            self.last = self.begins.or(self.last);
        }
        self.recent.clear();
    }
}

fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().filter(char::is_ascii_graphic).take(255).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

/// "log audit" (RFC 5424, table 1).
const LOG_AUDIT: u8 = 13;
/// Longer than it takes to notice that a connection is gone.
const IN_DOUBT: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::audit::Record;

    #[test]
    fn a_message_is_that_of_rfc_5424() {
        let mut record = Record::new(1_800_000_000_000_000, "crypto.decrypt", Outcome::Refused);
        record.principal = "a\n<13>1 forged".into();
        let entry = Entry { sequence: 7, hash: [0; 32], record };
        let peer = crate::config::Peer { plaintext_to_loopback: true, ..Default::default() };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let peer = Peer::new("s", "127.0.0.1:6514", false, &peer, &provider).unwrap();
        let at = At { sequence: 0, hash: [0; 32] };
        let mut syslog = Syslog::new(peer, 8_192, at);
        syslog.host_name = "kms-1".to_owned();
        let message = syslog.message(&entry);
        let head =
            "<108>1 2027-01-15T08:00:00.000000Z kms-1 bulla - crypto.decrypt - {\"sequence\":7,";
        assert!(message.starts_with(head), "{message}");
        assert!(message.contains("\"principal\":\"a\\n<13>1 forged\""), "{message}");
        let framed = syslog.frames(&[entry]);
        assert_eq!(framed, format!("{} {message}", message.len()).into_bytes());
    }
}
