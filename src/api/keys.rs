//! The service `Keys`.

use std::pin::Pin;

use bulla_proto::kms::{self, keys_server};
use futures_util::{Stream, stream};
use tonic::{Request, Response, Status};

use super::{Api, parse, render, status, taken};
use crate::keys::{Description, RotationPeriod};
use crate::policy::Action;
use crate::service::{
    Caller, CompromiseVersion, CreateKey, DeleteAlias, GetKey, GetVersion, KeyChange, ListAliases,
    ListKeys, ListVersions, Refusal, RotateKey, ScheduleDestroy, SetAlias, SetKeyEnabled,
    StepVersion, UpdateKey, VersionStep, WatchKeys,
};

/// The steps of one version: each method differs in its messages' names only.
macro_rules! step_version {
    ($self:ident, $request:ident: $asked:ident, $step:expr, $response:ident) => {{
        let step = $step;
        let parse = move |asked: kms::$asked| {
            let request = parse::request(step.action(), &asked.request_id, &asked)?;
            let of = parse::version_change(&asked.key, asked.version, &asked.reason, request)?;
            Ok(StepVersion { of, step })
        };
        $self
            .change(step.action(), $request, parse, |version| kms::$response {
                version: Some(render::version(&version)),
            })
            .await
    }};
}

#[tonic::async_trait]
impl keys_server::Keys for Api {
    type WatchKeysStream =
        Pin<Box<dyn Stream<Item = Result<kms::WatchKeysResponse, Status>> + Send>>;

    async fn create_key(
        &self,
        request: Request<kms::CreateKeyRequest>,
    ) -> Result<Response<kms::CreateKeyResponse>, Status> {
        let parse = |asked: kms::CreateKeyRequest| {
            let request = parse::request(Action::CreateKey, &asked.request_id, &asked)?;
            let period = parse::rotation_period(asked.rotation_period.as_ref())?;
            let time = parse::rotation_time(asked.rotation_time.as_ref())?;
            Ok(CreateKey {
                alias: parse::optional_alias(&asked.alias)?,
                key_ring: parse::key_ring(&asked.key_ring)?,
                description: description(&asked.description)?,
                tags: parse::tags(asked.tags)?,
                rotation_period: period.unwrap_or(RotationPeriod::DEFAULT),
                rotation_wraps: parse::rotation_wraps(asked.rotation_wraps)?,
                rotation_bytes: parse::rotation_bytes(asked.rotation_bytes)?,
                rotation_time: time.flatten(),
                request,
            })
        };
        let render = |view| kms::CreateKeyResponse { key: Some(render::key(&view)) };
        self.change(Action::CreateKey, request, parse, render).await
    }

    async fn get_key(
        &self,
        request: Request<kms::GetKeyRequest>,
    ) -> Result<Response<kms::GetKeyResponse>, Status> {
        let parse = |asked: kms::GetKeyRequest| Ok(GetKey { key: parse::key(&asked.key)? });
        let render = |view| kms::GetKeyResponse { key: Some(render::key(&view)) };
        self.perform(request, parse, render).await
    }

    async fn list_keys(
        &self,
        request: Request<kms::ListKeysRequest>,
    ) -> Result<Response<kms::ListKeysResponse>, Status> {
        let parse = |asked: kms::ListKeysRequest| {
            Ok(ListKeys {
                key_ring: parse::key_ring(&asked.key_ring)?,
                after: parse::key_page_token(&asked.page_token)?,
                page_size: parse::page_size(asked.page_size)?,
            })
        };
        self.perform(request, parse, |page| kms::ListKeysResponse {
            keys: page.keys.iter().map(render::key).collect(),
            next_page_token: render::page_token(page.next),
        })
        .await
    }

    async fn update_key(
        &self,
        request: Request<kms::UpdateKeyRequest>,
    ) -> Result<Response<kms::UpdateKeyResponse>, Status> {
        let parse = |asked: kms::UpdateKeyRequest| {
            let request = parse::request(Action::UpdateKey, &asked.request_id, &asked)?;
            Ok(UpdateKey {
                key: parse::key(&asked.key)?,
                key_ring: asked.key_ring.as_deref().map(parse::key_ring).transpose()?,
                description: asked.description.as_deref().map(description).transpose()?,
                tags: asked.tags.map(|tags| parse::tags(tags.pairs)).transpose()?,
                rotation_period: parse::rotation_period(asked.rotation_period.as_ref())?,
                rotation_wraps: asked.rotation_wraps.map(parse::rotation_wraps).transpose()?,
                rotation_bytes: asked.rotation_bytes.map(parse::rotation_bytes).transpose()?,
                rotation_time: parse::rotation_time(asked.rotation_time.as_ref())?,
                request,
            })
        };
        let render = |view| kms::UpdateKeyResponse { key: Some(render::key(&view)) };
        self.change(Action::UpdateKey, request, parse, render).await
    }

    async fn disable_key(
        &self,
        request: Request<kms::DisableKeyRequest>,
    ) -> Result<Response<kms::DisableKeyResponse>, Status> {
        let parse = |asked: kms::DisableKeyRequest| {
            let request = parse::request(Action::DisableKey, &asked.request_id, &asked)?;
            set_enabled(false, &asked.key, &asked.reason, request)
        };
        let render = |view| kms::DisableKeyResponse { key: Some(render::key(&view)) };
        self.change(Action::DisableKey, request, parse, render).await
    }

    async fn enable_key(
        &self,
        request: Request<kms::EnableKeyRequest>,
    ) -> Result<Response<kms::EnableKeyResponse>, Status> {
        let parse = |asked: kms::EnableKeyRequest| {
            let request = parse::request(Action::EnableKey, &asked.request_id, &asked)?;
            set_enabled(true, &asked.key, &asked.reason, request)
        };
        let render = |view| kms::EnableKeyResponse { key: Some(render::key(&view)) };
        self.change(Action::EnableKey, request, parse, render).await
    }

    async fn rotate_key(
        &self,
        request: Request<kms::RotateKeyRequest>,
    ) -> Result<Response<kms::RotateKeyResponse>, Status> {
        let parse = |asked: kms::RotateKeyRequest| {
            let request = parse::request(Action::RotateKey, &asked.request_id, &asked)?;
            let (key, reason) = (parse::key(&asked.key)?, parse::reason(&asked.reason)?);
            Ok(RotateKey { key, reason, mandate: None, request })
        };
        self.change(Action::RotateKey, request, parse, |rotated| kms::RotateKeyResponse {
            key: Some(render::key(&rotated.key)),
            version: Some(render::version(&rotated.version)),
        })
        .await
    }

    async fn list_versions(
        &self,
        request: Request<kms::ListVersionsRequest>,
    ) -> Result<Response<kms::ListVersionsResponse>, Status> {
        let parse = |asked: kms::ListVersionsRequest| {
            Ok(ListVersions {
                key: parse::key(&asked.key)?,
                after: parse::version_page_token(&asked.page_token)?,
                page_size: parse::page_size(asked.page_size)?,
            })
        };
        self.perform(request, parse, |page| kms::ListVersionsResponse {
            versions: page.versions.iter().map(|version| render::version(version)).collect(),
            next_page_token: render::page_token(page.next),
        })
        .await
    }

    async fn get_version(
        &self,
        request: Request<kms::GetVersionRequest>,
    ) -> Result<Response<kms::GetVersionResponse>, Status> {
        let parse = |asked: kms::GetVersionRequest| {
            let (key, version) = (parse::key(&asked.key)?, parse::version(asked.version)?);
            Ok(GetVersion { key, version })
        };
        self.perform(request, parse, |version| kms::GetVersionResponse {
            version: Some(render::version(&version)),
        })
        .await
    }

    async fn suspend_version(
        &self,
        request: Request<kms::SuspendVersionRequest>,
    ) -> Result<Response<kms::SuspendVersionResponse>, Status> {
        step_version!(self, request: SuspendVersionRequest, VersionStep::Suspend, SuspendVersionResponse)
    }

    async fn resume_version(
        &self,
        request: Request<kms::ResumeVersionRequest>,
    ) -> Result<Response<kms::ResumeVersionResponse>, Status> {
        step_version!(self, request: ResumeVersionRequest, VersionStep::Resume, ResumeVersionResponse)
    }

    async fn restrict_version(
        &self,
        request: Request<kms::RestrictVersionRequest>,
    ) -> Result<Response<kms::RestrictVersionResponse>, Status> {
        step_version!(self, request: RestrictVersionRequest, VersionStep::Restrict, RestrictVersionResponse)
    }

    async fn unrestrict_version(
        &self,
        request: Request<kms::UnrestrictVersionRequest>,
    ) -> Result<Response<kms::UnrestrictVersionResponse>, Status> {
        step_version!(self, request: UnrestrictVersionRequest, VersionStep::Unrestrict, UnrestrictVersionResponse)
    }

    async fn compromise_version(
        &self,
        request: Request<kms::CompromiseVersionRequest>,
    ) -> Result<Response<kms::CompromiseVersionResponse>, Status> {
        let action = Action::CompromiseVersion;
        let parse = |asked: kms::CompromiseVersionRequest| {
            let request = parse::request(action, &asked.request_id, &asked)?;
            parse::version_change(&asked.key, asked.version, &asked.reason, request)
                .map(CompromiseVersion)
        };
        self.change(action, request, parse, |done| kms::CompromiseVersionResponse {
            version: Some(render::version(&done.version)),
            replacement: done.replacement.as_deref().map(render::version),
        })
        .await
    }

    async fn schedule_destroy(
        &self,
        request: Request<kms::ScheduleDestroyRequest>,
    ) -> Result<Response<kms::ScheduleDestroyResponse>, Status> {
        let action = Action::ScheduleDestroy;
        let parse = |asked: kms::ScheduleDestroyRequest| {
            let request = parse::request(action, &asked.request_id, &asked)?;
            Ok(ScheduleDestroy {
                of: parse::version_change(&asked.key, asked.version, &asked.reason, request)?,
                wait: parse::destroy_wait(asked.wait.as_ref())?,
                not_safe: asked.not_safe,
            })
        };
        self.change(action, request, parse, |version| kms::ScheduleDestroyResponse {
            version: Some(render::version(&version)),
        })
        .await
    }

    async fn cancel_destroy(
        &self,
        request: Request<kms::CancelDestroyRequest>,
    ) -> Result<Response<kms::CancelDestroyResponse>, Status> {
        step_version!(self, request: CancelDestroyRequest, VersionStep::CancelDestroy, CancelDestroyResponse)
    }

    async fn set_alias(
        &self,
        request: Request<kms::SetAliasRequest>,
    ) -> Result<Response<kms::SetAliasResponse>, Status> {
        let parse = |asked: kms::SetAliasRequest| {
            let request = parse::request(Action::SetAlias, &asked.request_id, &asked)?;
            let (alias, key) = (parse::alias(&asked.alias)?, parse::key(&asked.key)?);
            Ok(SetAlias { alias, key, request })
        };
        self.change(Action::SetAlias, request, parse, |entry| kms::SetAliasResponse {
            alias: Some(render::alias(&entry)),
        })
        .await
    }

    async fn delete_alias(
        &self,
        request: Request<kms::DeleteAliasRequest>,
    ) -> Result<Response<kms::DeleteAliasResponse>, Status> {
        let parse = |asked: kms::DeleteAliasRequest| {
            let request = parse::request(Action::DeleteAlias, &asked.request_id, &asked)?;
            Ok(DeleteAlias { alias: parse::alias(&asked.alias)?, request })
        };
        self.change(Action::DeleteAlias, request, parse, |()| kms::DeleteAliasResponse {}).await
    }

    async fn list_aliases(
        &self,
        request: Request<kms::ListAliasesRequest>,
    ) -> Result<Response<kms::ListAliasesResponse>, Status> {
        let parse = |asked: kms::ListAliasesRequest| {
            Ok(ListAliases {
                key: parse::optional_key(&asked.key)?,
                after: parse::alias_page_token(&asked.page_token)?,
                page_size: parse::page_size(asked.page_size)?,
            })
        };
        self.perform(request, parse, |(entries, next)| kms::ListAliasesResponse {
            aliases: entries.iter().map(render::alias).collect(),
            next_page_token: render::page_token(next),
        })
        .await
    }

    async fn watch_keys(
        &self,
        request: Request<kms::WatchKeysRequest>,
    ) -> Result<Response<Self::WatchKeysStream>, Status> {
        let caller = taken(&request)?;
        let asked = parse::cursor(&request.get_ref().cursor).map(|after| WatchKeys { after });
        let begun = self.desk.perform(&caller, asked).await;
        let after = begun.map_err(|refusal| status(&refusal))?;
        let changes = self.clone().changes_after(caller, after);
        Ok(Response::new(self.until_draining(changes)))
    }
}

impl Api {
    fn changes_after(
        self,
        caller: Caller,
        after: u64,
    ) -> impl Stream<Item = Result<kms::WatchKeysResponse, Status>> + Send {
        let pages = stream::unfold(Some(after), move |after| {
            let (api, caller) = (self.clone(), caller.clone());
            async move {
                let after = after?;
                match api.desk.watch_on(&caller, after).await {
                    Ok(page) => {
                        let next = page.revision;
                        let changes = cursors(after, page.changes).map(|(cursor, change)| {
                            let (cursor, change) = (cursor.to_string(), Some(change_of(&change)));
                            Ok(kms::WatchKeysResponse { cursor, change })
                        });
                        Some((changes.collect(), Some(next)))
                    }
                    Err(refusal) => Some((vec![Err(status(&refusal))], None)),
                }
            }
        });
        futures_util::StreamExt::flat_map(pages, stream::iter)
    }
}

/// Where to go on after each change: after its revision only for the last change of a commit, so that
/// a watcher that is cut off in the middle of one hears the whole of it again, and misses nothing.
fn cursors(
    mut after: u64,
    changes: Vec<(u64, KeyChange)>,
) -> impl Iterator<Item = (u64, KeyChange)> {
    let mut changes = changes.into_iter().peekable();
    std::iter::from_fn(move || {
        let (at, change) = changes.next()?;
        if changes.peek().is_none_or(|(next, _)| *next != at) {
            after = at;
        }
        Some((after, change))
    })
}

fn change_of(change: &KeyChange) -> kms::watch_keys_response::Change {
    use kms::watch_keys_response::Change;

    match change {
        KeyChange::Key(view) => Change::Key(render::key(view)),
        KeyChange::Version(version) => Change::Version(render::version(version)),
        KeyChange::Alias(entry) => Change::Alias(render::alias(entry)),
        KeyChange::AliasRemoved(alias) => Change::DeletedAlias(alias.to_string()),
    }
}

fn set_enabled(
    enabled: bool,
    key: &str,
    reason: &str,
    request: Option<crate::service::RequestKey>,
) -> Result<SetKeyEnabled, Refusal> {
    Ok(SetKeyEnabled { key: parse::key(key)?, enabled, reason: parse::reason(reason)?, request })
}

fn description(text: &str) -> Result<Description, Refusal> {
    Description::parse(text).map_err(|error| Refusal::invalid("description", error))
}
