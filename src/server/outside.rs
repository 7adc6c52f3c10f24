//! The audit log's sinks and anchors, started and ended with the server.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::config::Config;
use crate::service::Office;
use crate::sinks::Outside;
use crate::trail::{CLOSE_MAX, Notarized, Purpose, Trail};

use super::error::ServerError;
use super::tls::provider;

/// Starts them, and gives the required ones a moment to be there before anybody calls.
pub(super) async fn start(
    config: &Config,
    office: &Arc<Office>,
    trail: &Trail,
    notarized: Arc<Notarized>,
) -> Result<Outside, ServerError> {
    let (audit, folder) = (config.audit.clone(), config.audit_directory());
    let (office, log) = (Arc::clone(office), trail.clone());
    let started = tokio::task::spawn_blocking(move || {
        Outside::start(&audit, &folder, &log, &notarized, &office.metrics, &provider())
    });
    let outside = started.await.map_err(|_| ServerError::Ended("the sinks' start"))??;
    let there = async {
        while !trail.takes_records(Purpose::Manage) {
            sleep(LOOK_AGAIN).await;
        }
    };
    if timeout(MOMENT, there).await.is_err() {
        tracing::warn!(
            "a required sink or anchor of the audit log is not there; calls are refused"
        );
    }
    Ok(outside)
}

/// Ends them, whatever they wait for.
pub(super) async fn end(outside: Outside) {
    let ending = tokio::task::spawn_blocking(move || drop(outside));
    if timeout(CLOSE_MAX, ending).await.is_err() {
        tracing::warn!(
            "a sink or an anchor does not end; what it lacks is sent after the next start"
        );
    }
}

const MOMENT: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
