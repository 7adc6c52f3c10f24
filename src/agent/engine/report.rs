//! Keeps the server told, and hears how it wants the work to go on.

use std::time::Duration;

use bulla_client::kms::{self, CampaignState};

use super::Run;
use super::subject::Orders;
use super::tally::News;
use crate::agent::board::ServerError;
use crate::agent::error::AgentError;

// === impl Run ===

impl Run<'_> {
    /// Reports in time and whenever it hurries, until the pass has ended and all of it is told. The
    /// last answer.
    pub(super) async fn report_pass(&self) -> Result<kms::ReportProgressResponse, AgentError> {
        loop {
            let _ = tokio::time::timeout(self.agent.timing.report, self.hurry.notified()).await;
            loop {
                let news = self.tally.lock().news();
                let answer = self.tell(&news).await?;
                self.reported.notify_one();
                if news.pass_ended || answer.state() == CampaignState::Done {
                    return Ok(answer);
                }
                if !news.more {
                    break;
                }
            }
        }
    }

    /// Keeps the claim while a scan goes on, for as long as it is polled.
    pub(super) async fn keep_claim(&self) -> AgentError {
        loop {
            tokio::time::sleep(self.agent.timing.report).await;
            if let Err(error) = self.report_again().await {
                return error;
            }
        }
    }

    /// Says again where it stands.
    pub(super) async fn report_again(&self) -> Result<kms::ReportProgressResponse, AgentError> {
        let news = self.tally.lock().news();
        self.tell(&News { pass_ended: false, ..news }).await
    }

    /// Gives the store back, so that another agent need not wait. What cannot be told is told by the
    /// next run.
    pub(super) async fn let_go(&self) {
        let news = self.tally.lock().news();
        let report =
            kms::ReportProgressRequest { pass_ended: false, release: true, ..self.report(&news) };
        let _ = tokio::time::timeout(LET_GO, self.agent.board.report_progress(report)).await;
    }

    async fn tell(&self, news: &News) -> Result<kms::ReportProgressResponse, AgentError> {
        let report = self.report(news);
        let board = &self.agent.board;
        let answer = self.agent.patiently(|| board.report_progress(report.clone())).await;
        let answer = answer.map_err(|error: ServerError| match error.is_conflict() {
            true => AgentError::Taken(error),
            false => error.into(),
        })?;
        if answer.state() == CampaignState::Failed {
            return Err(AgentError::GivenUp(self.job.campaign_id.clone()));
        }
        self.tally.lock().told(news);
        let orders = Orders::of(&answer);
        let was_paused = self.orders.borrow().paused;
        if orders.paused != was_paused {
            self.agent.watcher.paused(orders.paused);
        }
        self.orders.send_replace(orders);
        Ok(answer)
    }

    fn report(&self, news: &News) -> kms::ReportProgressRequest {
        kms::ReportProgressRequest {
            campaign_id: self.job.campaign_id.clone(),
            store: self.job.store.clone(),
            agent_id: self.job.agent_id.clone(),
            pass: news.pass,
            place: news.place.as_bytes().to_vec(),
            seen: news.seen,
            total: news.total,
            moved: news.moved,
            changed: news.changed,
            problems: news.problems.clone(),
            pass_ended: news.pass_ended,
            release: false,
        }
    }
}

const LET_GO: Duration = Duration::from_secs(5);
