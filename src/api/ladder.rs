//! Ladders, between messages and what the service takes and gives.

use bulla_proto::kms;
use tonic::{Request, Response, Status};

use super::{Api, parse, render};
use crate::keys::{DestroyWait, Ladder, LadderParts};
use crate::policy::Action;
use crate::service::{GetLadder, Refusal, ResumeLadder, SetLadder, VersionOnLadder};

// === impl Api ===

impl Api {
    pub(super) async fn set_the_ladder(
        &self,
        request: Request<kms::SetLadderRequest>,
    ) -> Result<Response<kms::SetLadderResponse>, Status> {
        let parse = |asked: kms::SetLadderRequest| {
            let request = parse::request(Action::SetLadder, &asked.request_id, &asked)?;
            let ladder = asked.ladder.as_ref().map(ladder_of).transpose()?;
            Ok(SetLadder { key: parse::key(&asked.key)?, ladder, request })
        };
        let render =
            |ladder: Option<Ladder>| kms::SetLadderResponse { ladder: ladder.as_ref().map(shown) };
        self.change(Action::SetLadder, request, parse, render).await
    }

    pub(super) async fn get_the_ladder(
        &self,
        request: Request<kms::GetLadderRequest>,
    ) -> Result<Response<kms::GetLadderResponse>, Status> {
        let parse = |asked: kms::GetLadderRequest| Ok(GetLadder { key: parse::key(&asked.key)? });
        self.perform(request, parse, |view| kms::GetLadderResponse {
            ladder: view.ladder.as_ref().map(shown),
            versions: view
                .versions
                .iter()
                .map(|version| version_on(view.ladder.as_ref(), version))
                .collect(),
        })
        .await
    }

    pub(super) async fn resume_on_the_ladder(
        &self,
        request: Request<kms::ResumeLadderRequest>,
    ) -> Result<Response<kms::ResumeLadderResponse>, Status> {
        let parse = |asked: kms::ResumeLadderRequest| {
            let request = parse::request(Action::ResumeLadder, &asked.request_id, &asked)?;
            parse::version_change(&asked.key, asked.version, &asked.reason, request)
                .map(ResumeLadder)
        };
        self.change(Action::ResumeLadder, request, parse, |(ladder, version)| {
            kms::ResumeLadderResponse { version: Some(version_on(ladder.as_ref(), &version)) }
        })
        .await
    }
}

fn ladder_of(asked: &kms::Ladder) -> Result<Ladder, Refusal> {
    let millis = |field: &'static str, duration: &Option<prost_types::Duration>| match duration {
        Some(duration) => {
            parse::millis(duration).ok_or_else(|| Refusal::invalid(field, "must not be negative"))
        }
        None => Ok(0),
    };
    let wait_ms = millis("destroy_wait", &asked.destroy_wait)?;
    let destroy_wait = match &asked.destroy_wait {
        None => DestroyWait::DEFAULT,
        Some(_) => DestroyWait::from_ms(wait_ms)
            .map_err(|error| Refusal::invalid("destroy_wait", error))?,
    };
    let parts = LadderParts {
        restrict_after_ms: millis("restrict_after", &asked.restrict_after)?,
        brownouts: asked.brownouts,
        brownout_length_ms: millis("brownout_length", &asked.brownout_length)?,
        brownout_after_ms: millis("brownout_after", &asked.brownout_after)?,
        suspend_after_ms: millis("suspend_after", &asked.suspend_after)?,
        destroy_after_ms: millis("destroy_after", &asked.destroy_after)?,
        destroy_wait,
    };
    Ladder::from_parts(parts).map_err(|(field, error)| Refusal::invalid(field, error))
}

fn shown(ladder: &Ladder) -> kms::Ladder {
    let parts = ladder.parts();
    let unless_zero = |millis: u64| (millis != 0).then(|| render::duration(millis));
    kms::Ladder {
        restrict_after: Some(render::duration(parts.restrict_after_ms)),
        brownouts: parts.brownouts,
        brownout_length: unless_zero(parts.brownout_length_ms),
        brownout_after: unless_zero(parts.brownout_after_ms),
        suspend_after: Some(render::duration(parts.suspend_after_ms)),
        destroy_after: Some(render::duration(parts.destroy_after_ms)),
        destroy_wait: Some(render::duration(parts.destroy_wait.as_ms())),
    }
}

fn version_on(ladder: Option<&Ladder>, on: &VersionOnLadder) -> kms::LadderVersion {
    let (version, place) = (on.version.version(), &on.place);
    kms::LadderVersion {
        version: version.number(),
        state: render::state(version.state()).into(),
        step: ladder.map(|ladder| ladder.last_step(place)).unwrap_or_default(),
        next_step: ladder.map(|ladder| ladder.next_step(place)).unwrap_or_default(),
        next_time: place.next_time.filter(|_| !place.is_paused()).map(render::timestamp),
        pause_reason: place.pause_reason.as_str().to_owned(),
    }
}
