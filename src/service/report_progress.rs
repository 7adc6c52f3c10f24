//! An agent says how far it has come in a store, and learns how to go on.
//!
//! Asked often, so it is recorded once, when it has been done, and not announced: what it changes is
//! the campaign's own account, and the same report again makes good what was lost. A report that races
//! another change is weighed again against what stands then.

use std::collections::BTreeMap;

use crate::audit::Record;
use crate::campaign::{
    Agent, BlobDigest, Campaign, CampaignState, CampaignStep, Decision, Phase, Problem,
    ProblemPlace, ProblemReason, Report, ReportDigest, StoreProgress,
};
use crate::custody::{TrustedCampaign, TrustedProblem, TrustedProgress};
use crate::keys::{CampaignId, HolderId, StoreRef, Timestamp};
use crate::policy::Action;

use super::campaign_stores::{check_movable, registered, scan_since_pass, summary};
use super::decide_problem::progress_of;
use super::perform::{About, Act, UseCase};
use super::read_campaigns::CampaignStore;
use super::refusal::Refusal;

/// What an agent says.
pub struct ReportProgress {
    /// In which campaign.
    pub campaign: CampaignId,
    /// Of which of its stores.
    pub store: StoreRef,
    /// What the agent drew when it started.
    pub agent_id: HolderId,
    /// How far it has come.
    pub said: Said,
    /// Of all that it says: a client that got no answer says the same again.
    pub digest: ReportDigest,
    /// Blobs that did not open, by where they stand.
    pub problems: BTreeMap<ProblemPlace, FoundProblem>,
    /// Whether it lets the store go.
    pub release: bool,
}

/// How far an agent has come.
pub enum Said {
    /// It has just begun, and asks where the store stands.
    Begun,
    /// So far.
    Pass(Report),
}

/// A blob that did not open.
pub struct FoundProblem {
    /// What stands there.
    pub digest: BlobDigest,
    /// The version in its header; 0 where there is no header.
    pub version: u32,
    /// What was wrong.
    pub reason: ProblemReason,
}

/// How an agent goes on.
pub struct Progressed {
    /// The campaign.
    pub campaign: Campaign,
    /// The store.
    pub store: CampaignStore,
    /// Blobs a second for this agent; 0: as fast as it goes.
    pub rate_per_second: u32,
    /// What a person has decided to abandon.
    pub abandoned: Vec<Problem>,
}

/// What becomes of a campaign by a report.
struct Weighed {
    campaign: Campaign,
    progress: StoreProgress,
    problems: Vec<(Problem, Option<TrustedProblem>)>,
}

// === impl ReportProgress ===

impl UseCase for ReportProgress {
    type Reply = Progressed;

    const ACTION: Action = Action::ReportProgress;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("campaign={} store={}", self.campaign, self.store).into();
    }

    async fn act(self, act: &mut Act<'_>) -> Result<Progressed, Refusal> {
        for _ in 1..ATTEMPTS_MAX {
            match self.attempt(act).await {
                Err(Refusal::Conflict) => {}
                outcome => return outcome,
            }
        }
        self.attempt(act).await
    }
}

impl ReportProgress {
    async fn attempt(&self, act: &mut Act<'_>) -> Result<Progressed, Refusal> {
        let was = act.custody.campaign(act.permit, self.campaign).await?;
        act.record.key = Some(was.campaign().key);
        let before = progress_of(act.custody, act.permit, self.campaign, &self.store).await?;
        act.record.store = before.store().as_u32();
        let now = act.custody.now();
        let weighed = self.weigh(act, was.campaign(), &before, now).await?;
        self.describe_outcome(&weighed, act.record);
        let weighed = commit(act, was, &before, weighed).await?;
        self.answer(act, weighed, &before, now).await
    }

    /// What the report makes of the campaign as it stands.
    async fn weigh(
        &self,
        act: &Act<'_>,
        campaign: &Campaign,
        before: &TrustedProgress,
        now: Timestamp,
    ) -> Result<Weighed, Refusal> {
        let agent = self.agent(act);
        let progress = before.progress();
        let unchanged =
            Weighed { campaign: campaign.clone(), progress: progress.clone(), problems: vec![] };
        let paused = campaign.state == CampaignState::Paused;
        // Who had the store when the campaign was paused may still say what it did until then.
        if campaign.state.is_final() || paused && !progress.is_held_by(&agent, now) {
            return Ok(unchanged);
        }
        let mut weighed = unchanged;
        match &self.said {
            Said::Begun => weighed.progress = progress.claim(&agent, now)?,
            Said::Pass(report) => {
                let sequence = *act.office.trail.durable().borrow();
                weighed.progress = progress.report(&agent, report, now, sequence)?;
                if !progress.is_old(report) && progress.phase != Phase::Clean {
                    self.note_problems(act, before, &mut weighed, now).await?;
                }
            }
        }
        if !paused {
            judge(act, before, &mut weighed).await?;
            pause_if_stuck(act, &mut weighed, now).await?;
        }
        if self.release {
            weighed.progress = weighed.progress.release(&agent);
        }
        Ok(weighed)
    }

    async fn note_problems(
        &self,
        act: &Act<'_>,
        before: &TrustedProgress,
        weighed: &mut Weighed,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let places: Vec<_> = self.problems.keys().cloned().collect();
        let store = before.store();
        let known = act.custody.known_problems(act.permit, self.campaign, store, &places).await?;
        for ((place, found), known) in self.problems.iter().zip(known) {
            let found = Problem {
                place: place.clone(),
                digest: found.digest,
                version: found.version,
                reason: found.reason.clone(),
                report_time: now,
                told_by: self.digest,
                decided: None,
            };
            let noted =
                weighed.progress.note(found, known.as_ref().map(TrustedProblem::problem))?;
            weighed.problems.extend(noted.map(|noted| (noted, known)));
        }
        Ok(())
    }

    async fn answer(
        &self,
        act: &Act<'_>,
        weighed: Weighed,
        before: &TrustedProgress,
        now: Timestamp,
    ) -> Result<Progressed, Refusal> {
        let Weighed { campaign, progress, .. } = weighed;
        let (custody, permit, number) = (act.custody, act.permit, before.store());
        let mut agents = 1;
        if campaign.rate_per_second > 0 && campaign.stores.len() > 1 {
            let stores = custody.campaign_progresses(permit, campaign.id).await?;
            agents = stores.iter().filter(|store| store.progress().is_held(now)).count();
        }
        let mut abandoned = Vec::new();
        if progress.problems > progress.undecided {
            let problems = custody.campaign_problems(permit, campaign.id, number).await?;
            abandoned.extend(problems.into_iter().filter(|one| one.is(Decision::Abandoned)));
        }
        let name = registered(custody, permit, "store", &self.store).await?.name;
        let scan = scan_since_pass(custody, permit, campaign.key, number, &progress).await?;
        Ok(Progressed {
            rate_per_second: campaign.rate_of_each(agents),
            store: CampaignStore { number, name: Some(name), progress, scan },
            campaign,
            abandoned,
        })
    }

    fn agent(&self, act: &Act<'_>) -> Agent {
        Agent { id: self.agent_id, principal: act.permit.principal().id().to_string() }
    }

    fn describe_outcome(&self, weighed: &Weighed, record: &mut Record<'static>) {
        let progress = &weighed.progress;
        record.detail = format!(
            "campaign={} pass={} seen={} moved={} phase={} state={}",
            self.campaign,
            progress.pass,
            progress.seen,
            progress.moved,
            progress.phase.name(),
            weighed.campaign.state,
        )
        .into();
    }
}

/// Judges a store whose pass has ended, by its last scan.
async fn judge(
    act: &Act<'_>,
    before: &TrustedProgress,
    weighed: &mut Weighed,
) -> Result<(), Refusal> {
    let (custody, permit, key) = (act.custody, act.permit, weighed.campaign.key);
    let progress = &weighed.progress;
    if progress.phase != Phase::Verifying {
        return Ok(());
    }
    let number = before.store();
    if let Some(scan) = scan_since_pass(custody, permit, key, number, progress).await? {
        let store = registered(custody, permit, "store", &StoreRef::Number(number)).await?;
        if let Some(scan) = summary(&weighed.campaign, &store, &scan) {
            weighed.progress = progress.judge(scan);
        }
    }
    Ok(())
}

/// Pauses a campaign whose agents would be refused what they are about to do.
async fn pause_if_stuck(
    act: &Act<'_>,
    weighed: &mut Weighed,
    now: Timestamp,
) -> Result<(), Refusal> {
    let campaign = &weighed.campaign;
    if weighed.progress.phase != Phase::Moving {
        return Ok(());
    }
    let movable = check_movable(act.custody, act.permit, campaign.key, &campaign.source_versions);
    match movable.await {
        Err(stuck @ (Refusal::KeyDisabled | Refusal::VersionNotUsable { .. })) => {
            let note = format!("{stuck}; see to that and then resume the campaign");
            weighed.campaign = campaign.step(CampaignStep::Pause, note, now)?;
            Ok(())
        }
        other => other,
    }
}

/// Commits what became of the campaign, if anything did.
async fn commit(
    act: &Act<'_>,
    was: TrustedCampaign,
    before: &TrustedProgress,
    mut weighed: Weighed,
) -> Result<Weighed, Refusal> {
    let (custody, permit) = (act.custody, act.permit);
    let phase = weighed.progress.phase;
    let moved_on = phase != before.progress().phase;
    if moved_on {
        let stores = custody.campaign_progresses(permit, weighed.campaign.id).await?;
        let phase_of = |store: &TrustedProgress| match store.store() == before.store() {
            true => phase,
            false => store.progress().phase,
        };
        let phases: Vec<_> = stores.iter().map(phase_of).collect();
        weighed.campaign = weighed.campaign.settle(&phases, custody.now());
    }
    let is_as_it_was =
        weighed.campaign == *was.campaign() && weighed.progress == *before.progress();
    if !moved_on && is_as_it_was && weighed.problems.is_empty() {
        return Ok(weighed);
    }
    let mut changes = custody.change(permit)?;
    // Where a store's phase changes, the campaign is put again even if it is the same: two stores that
    // come to their end at once must see each other.
    if moved_on || weighed.campaign != *was.campaign() {
        changes.put_campaign(&weighed.campaign, &was);
    } else {
        changes.expect_campaign(&was);
    }
    changes.put_progress(&weighed.progress, before);
    for (problem, known) in weighed.problems.drain(..) {
        changes.put_problem(problem, before, known.as_ref());
    }
    changes.commit().await?;
    Ok(weighed)
}

const ATTEMPTS_MAX: usize = 5;
