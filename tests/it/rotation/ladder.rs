//! Old versions that are retired by themselves, and who stops that.

use bulla::keys::{DestroyWait, KeyId, KeyRef, Ladder, LadderParts, Reason, RotationPeriod, State};
use bulla::policy::{Action, CredentialKind, Principal, PrincipalId, Role, Subject, SubjectRef};
use bulla::service::{
    BindRole, Caller, Decrypt, EncryptionContext, GenerateDataKeys, GetLadder, LadderView, Refusal,
    ResumeLadder, RoleChange, SetLadder, VersionChange, WaiveUnnamedStore,
};

use super::{DAY, HOUR, Program, Site};

const HOUR_MS: u64 = HOUR as u64;

fn ladder() -> Ladder {
    Ladder::from_parts(LadderParts {
        restrict_after_ms: HOUR_MS,
        brownouts: 1,
        brownout_length_ms: HOUR_MS,
        brownout_after_ms: HOUR_MS,
        suspend_after_ms: HOUR_MS,
        destroy_after_ms: HOUR_MS,
        destroy_wait: DestroyWait::from_ms(DestroyWait::MIN_MS).unwrap(),
    })
    .unwrap()
}

async fn set(program: &Program, key: KeyId, ladder: Option<Ladder>) {
    let set = SetLadder { key: KeyRef::Id(key), ladder, request: None };
    program.desk.perform_change(&program.manager, Action::SetLadder, Ok(set)).await.unwrap();
}

async fn view(program: &Program, key: KeyId) -> LadderView {
    let get = GetLadder { key: KeyRef::Id(key) };
    program.desk.perform(&program.manager, Ok(get)).await.unwrap()
}

async fn resume(program: &Program, key: KeyId) -> Result<(), Refusal> {
    let (key, reason) = (KeyRef::Id(key), Reason::none());
    let resume = ResumeLadder(VersionChange { key, version: 1, reason, request: None });
    let asked = program.desk.perform_change(&program.manager, Action::ResumeLadder, Ok(resume));
    asked.await.map(|_| ())
}

/// A service that may use keys.
pub(super) async fn service(site: &Site, program: &Program) -> Caller {
    let id = PrincipalId::parse("spiffe://demo.bulla/app").unwrap();
    let bind = BindRole {
        subject: SubjectRef::Principal(id.clone()),
        role: Role::KeyUser.into(),
        expire_time: None,
        change: RoleChange::Bind,
        reason: Reason::none(),
        request: None,
    };
    let installer = Caller::installer(site.tenant);
    program.desk.perform_change(&installer, Action::BindRole, Ok(bind)).await.unwrap();
    {
        let subject = Subject::new(Principal::new(id, site.tenant), CredentialKind::Certificate);
        Caller::remote(subject.into(), "127.0.0.1:2".parse().unwrap())
    }
}

pub(super) async fn data_key(program: &Program, app: &Caller, key: KeyId) -> Vec<u8> {
    let generate = GenerateDataKeys::<true> {
        key: KeyRef::Id(key),
        context: EncryptionContext::new([]).unwrap(),
        key_bytes: 32,
        store: 0,
        count: 1,
    };
    let mut made = program.desk.perform(app, Ok(generate)).await.unwrap();
    made.data_keys.remove(0).ciphertext
}

async fn open(program: &Program, app: &Caller, blob: &[u8]) -> Result<(), Refusal> {
    let context = EncryptionContext::new([]).unwrap();
    let decrypt = Decrypt { ciphertext: blob.to_vec(), context, key: None };
    program.desk.perform(app, Ok(decrypt)).await.map(|_| ())
}

async fn waive(program: &Program, key: KeyId) {
    let reason = Reason::parse("nothing is kept").unwrap();
    let waive = WaiveUnnamedStore { key: KeyRef::Id(key), version: 1, reason, request: None };
    let action = Action::WaiveUnnamedStore;
    program.desk.perform_change(&program.manager, action, Ok(waive)).await.unwrap();
}

/// Looks every half an hour until the first version is in `state`.
async fn until(site: &Site, program: &mut Program, key: KeyId, state: State) {
    for _ in 0..50 {
        if program.states(key).await[0] == state {
            return;
        }
        site.pass(&[program], HOUR / 2);
        program.scheduler.look().await.unwrap();
    }
    panic!("it never was {state}");
}

#[tokio::test]
async fn a_version_that_nobody_needs_is_retired_to_its_end() {
    let site = Site::new().await;
    let mut program = site.program().await;
    let key = program.create_key(RotationPeriod::NEVER, None).await;
    set(&program, key, Some(ladder())).await;
    program.rotate(key).await.unwrap();
    for state in [
        State::Deactivated,
        State::RewrapOnly,
        State::Suspended,
        State::RewrapOnly,
        State::Suspended,
        State::DestroyScheduled,
    ] {
        until(&site, &mut program, key, state).await;
    }
    assert_eq!(view(&program, key).await.versions.len(), 1);
    site.pass(&[&program], 6 * DAY);
    program.settle().await;
    assert_eq!(program.states(key).await[0], State::DestroyScheduled);
    site.pass(&[&program], DAY);
    assert_eq!(program.settle().await.destroyed, 1);
    assert_eq!(program.states(key).await, [State::Destroyed, State::Active]);
}

#[tokio::test]
async fn a_version_is_not_retired_while_nobody_can_tell_what_depends_on_it() {
    let site = Site::new().await;
    let mut program = site.program().await;
    let app = service(&site, &program).await;
    let key = program.create_key(RotationPeriod::NEVER, None).await;
    data_key(&program, &app, key).await;
    program.rotate(key).await.unwrap();
    set(&program, key, Some(ladder())).await;
    for _ in 0..20 {
        site.pass(&[&program], HOUR);
        program.scheduler.look().await.unwrap();
    }
    assert_eq!(program.states(key).await[0], State::Deactivated);
    let view = view(&program, key).await;
    let place = &view.versions[0].place;
    assert_eq!(ladder().last_step(place), "waiting to be emptied");
    waive(&program, key).await;
    until(&site, &mut program, key, State::RewrapOnly).await;
}

#[tokio::test]
async fn somebody_who_is_refused_gets_the_version_back_and_is_named() {
    for state in [State::RewrapOnly, State::Suspended] {
        let site = Site::new().await;
        let mut program = site.program().await;
        let app = service(&site, &program).await;
        let key = program.create_key(RotationPeriod::NEVER, None).await;
        let blob = data_key(&program, &app, key).await;
        program.rotate(key).await.unwrap();
        waive(&program, key).await;
        set(&program, key, Some(ladder())).await;
        assert!(matches!(resume(&program, key).await, Err(Refusal::InvalidArgument { .. })));
        until(&site, &mut program, key, state).await;

        assert!(open(&program, &app, &blob).await.is_err());
        site.pass(&[&program], HOUR / 60 * 2);
        assert_eq!(program.scheduler.look().await.unwrap().climbed, 1);
        let undone = if state == State::Suspended { State::RewrapOnly } else { State::Deactivated };
        assert_eq!(program.states(key).await[0], undone);
        let view = view(&program, key).await;
        let place = &view.versions[0].place;
        let reason = place.pause_reason.as_str();
        assert!(reason.starts_with("spiffe://demo.bulla/app was refused"), "{reason}");
        for _ in 0..20 {
            site.pass(&[&program], HOUR);
            assert_eq!(program.scheduler.look().await.unwrap().climbed, 0);
        }
        // It goes on when somebody says so, and then only if nothing speaks against it.
        resume(&program, key).await.unwrap();
        site.pass(&[&program], HOUR);
        program.scheduler.look().await.unwrap();
        assert_eq!(program.states(key).await[0], undone);
    }
}

#[tokio::test]
async fn a_ladder_that_is_taken_away_ends_its_brownout() {
    let site = Site::new().await;
    let mut program = site.program().await;
    let key = program.create_key(RotationPeriod::NEVER, None).await;
    program.rotate(key).await.unwrap();
    set(&program, key, Some(ladder())).await;
    until(&site, &mut program, key, State::Suspended).await;
    set(&program, key, None).await;
    assert_eq!(program.states(key).await[0], State::RewrapOnly);
    assert!(view(&program, key).await.versions.is_empty());
    for _ in 0..20 {
        site.pass(&[&program], HOUR);
        assert_eq!(program.scheduler.look().await.unwrap().climbed, 0);
    }
}

#[tokio::test]
async fn a_ladder_takes_as_many_versions_as_one_commit_has_room_for_and_says_when_there_are_more() {
    let site = Site::new().await;
    let program = site.program().await;
    let key = program.create_key(RotationPeriod::NEVER, None).await;
    for _ in 0..450 {
        program.rotate(key).await.unwrap();
    }
    set(&program, key, Some(ladder())).await;
    assert_eq!(view(&program, key).await.versions.len(), 450);
    set(&program, key, None).await;
    assert_eq!(view(&program, key).await.versions.len(), 0);
    program.rotate(key).await.unwrap();
    let set = SetLadder { key: KeyRef::Id(key), ladder: Some(ladder()), request: None };
    let asked = program.desk.perform_change(&program.manager, Action::SetLadder, Ok(set));
    let Err(Refusal::TooLarge { field: "ladder", problem }) = asked.await else {
        panic!("some versions were left out in silence");
    };
    assert!(problem.contains("450") && problem.contains("451"), "{problem}");
    assert_eq!(view(&program, key).await.versions.len(), 0);
}
