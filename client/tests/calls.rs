//! Calls over a real connection: what goes out, what comes back, and what happens when it does not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

mod fake;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use bulla_client::{Client, Code, Config, Kind, Retries, kms};
use fake::{Authority, Call, Fake, Reply};
use prost::Message;
use prost_types::FileDescriptorSet;
use rustls::NamedGroup;
use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

fn nothing(_: &Call) -> Reply {
    Reply::Messages(vec![Vec::new()])
}

fn refusal(code: Code, message: &str, reason: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, "bulla", HashMap::new());
    Status::with_error_details(code, message, details)
}

/// Path → the number of the field `request_id` in its request, if there is one.
fn methods() -> BTreeMap<String, Option<i32>> {
    let set = FileDescriptorSet::decode(bulla_proto::DESCRIPTORS).unwrap();
    let files = || set.file.iter().filter(|file| file.package() == "bulla.kms.v1");
    let request_ids: BTreeMap<_, _> = files()
        .flat_map(|file| &file.message_type)
        .map(|message| {
            let field = message.field.iter().find(|field| field.name() == "request_id");
            let name = format!(".bulla.kms.v1.{}", message.name());
            (name, field.map(prost_types::FieldDescriptorProto::number))
        })
        .collect();
    files()
        .flat_map(|file| &file.service)
        .filter(|service| service.name() != "Bench")
        .flat_map(|service| service.method.iter().map(move |method| (service.name(), method)))
        .map(|(service, method)| {
            let path = format!("/bulla.kms.v1.{service}/{}", method.name());
            (path, request_ids[method.input_type()])
        })
        .collect()
}

async fn call_everything(client: &Client) {
    macro_rules! each {
        ($($method:ident($request:ident)),* $(,)?) => {
            $(client.$method(kms::$request::default()).await.unwrap();)*
        };
    }
    each!(
        generate_data_key(GenerateDataKeyRequest),
        generate_data_key_without_plaintext(GenerateDataKeyWithoutPlaintextRequest),
        generate_data_keys(GenerateDataKeysRequest),
        encrypt(EncryptRequest),
        decrypt(DecryptRequest),
        decrypt_many(DecryptManyRequest),
        re_encrypt(ReEncryptRequest),
        inspect(InspectRequest),
        generate_random(GenerateRandomRequest),
        create_key(CreateKeyRequest),
        get_key(GetKeyRequest),
        list_keys(ListKeysRequest),
        update_key(UpdateKeyRequest),
        disable_key(DisableKeyRequest),
        enable_key(EnableKeyRequest),
        rotate_key(RotateKeyRequest),
        list_versions(ListVersionsRequest),
        get_version(GetVersionRequest),
        suspend_version(SuspendVersionRequest),
        resume_version(ResumeVersionRequest),
        restrict_version(RestrictVersionRequest),
        unrestrict_version(UnrestrictVersionRequest),
        compromise_version(CompromiseVersionRequest),
        schedule_destroy(ScheduleDestroyRequest),
        cancel_destroy(CancelDestroyRequest),
        set_alias(SetAliasRequest),
        delete_alias(DeleteAliasRequest),
        list_aliases(ListAliasesRequest),
        register_store(RegisterStoreRequest),
        list_stores(ListStoresRequest),
        report_restore(ReportRestoreRequest),
        get_census(GetCensusRequest),
        retire_check(RetireCheckRequest),
        waive_unnamed_store(WaiveUnnamedStoreRequest),
        begin_scan(BeginScanRequest),
        report_scan(ReportScanRequest),
        create_campaign(CreateCampaignRequest),
        get_campaign(GetCampaignRequest),
        list_campaigns(ListCampaignsRequest),
        pause_campaign(PauseCampaignRequest),
        resume_campaign(ResumeCampaignRequest),
        abandon_campaign(AbandonCampaignRequest),
        report_progress(ReportProgressRequest),
        list_problems(ListProblemsRequest),
        decide_problem(DecideProblemRequest),
        rotate_due(RotateDueRequest),
        set_ladder(SetLadderRequest),
        get_ladder(GetLadderRequest),
        resume_ladder(ResumeLadderRequest),
        get_exposure(GetExposureRequest),
        bind_role(BindRoleRequest),
        unbind_role(UnbindRoleRequest),
        list_role_bindings(ListRoleBindingsRequest),
        write_relations(WriteRelationsRequest),
        list_relations(ListRelationsRequest),
        create_grant(CreateGrantRequest),
        list_grants(ListGrantsRequest),
        revoke_grant(RevokeGrantRequest),
        put_policy(PutPolicyRequest),
        delete_policy(DeletePolicyRequest),
        get_policy(GetPolicyRequest),
        list_policies(ListPoliciesRequest),
        get_policy_schema(GetPolicySchemaRequest),
        simulate_policies(SimulatePoliciesRequest),
        explain(ExplainRequest),
        create_service_account(CreateServiceAccountRequest),
        list_service_accounts(ListServiceAccountsRequest),
        delete_service_account(DeleteServiceAccountRequest),
        create_credential(CreateCredentialRequest),
        list_credentials(ListCredentialsRequest),
        revoke_credential(RevokeCredentialRequest),
        exchange_token(ExchangeTokenRequest),
        create_tenant(CreateTenantRequest),
        get_tenant(GetTenantRequest),
        list_tenants(ListTenantsRequest),
        update_tenant(UpdateTenantRequest),
        suspend_tenant(SuspendTenantRequest),
        resume_tenant(ResumeTenantRequest),
        propose(ProposeRequest),
        approve(ApproveRequest),
        reject(RejectRequest),
        get_proposal(GetProposalRequest),
        list_proposals(ListProposalsRequest),
        put_approval_rule(PutApprovalRuleRequest),
        delete_approval_rule(DeleteApprovalRuleRequest),
        list_approval_rules(ListApprovalRulesRequest),
        who_am_i(WhoAmIRequest),
        list_records(ListRecordsRequest),
        get_checkpoint(GetCheckpointRequest),
        get_record(GetRecordRequest),
        prove_inclusion(ProveInclusionRequest),
        prove_consistency(ProveConsistencyRequest),
        status(StatusRequest),
        watch_keys(WatchKeysRequest),
        tail_records(TailRecordsRequest),
    );
    client.re_encrypt_stream(tokio_stream::empty()).await.unwrap();
}

#[tokio::test]
async fn every_method_of_the_api_reaches_its_own_path() {
    let fake = Fake::start(nothing).await;
    call_everything(&Client::connect(fake.config()).await.unwrap()).await;
    let called: BTreeSet<String> = fake.calls().into_iter().map(|call| call.path).collect();
    assert_eq!(called, methods().into_keys().collect());
}

#[tokio::test]
async fn every_change_carries_a_request_id_of_its_own() {
    let fake = Fake::start(nothing).await;
    call_everything(&Client::connect(fake.config()).await.unwrap()).await;
    let methods = methods();
    let mut ids = BTreeSet::new();
    for call in fake.calls() {
        match methods[&call.path] {
            None => assert!(call.message.is_empty(), "{call:?}"),
            Some(field) => {
                // Nothing else is set, so the message is the tag, the length and the id.
                assert_eq!(i32::from(call.message[0] >> 3), field, "{call:?}");
                let id = std::str::from_utf8(&call.message[2..]).unwrap();
                assert_eq!(id.len(), 32, "{id}");
                assert!(id.chars().all(|c| c.is_ascii_hexdigit()), "{id}");
                assert!(ids.insert(id.to_owned()), "{id} was used twice");
            }
        }
    }
    assert_eq!(ids.len(), methods.values().flatten().count());
}

#[tokio::test]
async fn a_change_keeps_its_request_id_over_retries_and_a_given_one_is_not_touched() {
    let fake = Fake::start(|call| match call.number % 3 {
        0 => Reply::Status(refusal(Code::Unavailable, "later", "STORE_UNAVAILABLE")),
        1 => Reply::Status(refusal(Code::Aborted, "lost a race", "CONFLICT")),
        _ => nothing(call),
    })
    .await;
    let client = Client::connect(fake.config()).await.unwrap();
    client.rotate_key(kms::RotateKeyRequest::default()).await.unwrap();
    let request_id = "mine".to_owned();
    client.rotate_key(kms::RotateKeyRequest { request_id, ..Default::default() }).await.unwrap();
    let ids: Vec<String> = fake
        .calls()
        .iter()
        .map(|call| kms::RotateKeyRequest::decode(call.message.clone()).unwrap().request_id)
        .collect();
    assert_eq!(ids.len(), 6);
    assert!(ids[0].len() == 32 && ids[..3].iter().all(|id| *id == ids[0]));
    assert!(ids[3..].iter().all(|id| id == "mine"));
}

#[tokio::test]
async fn a_refusal_says_why_which_field_and_when_to_come_back() {
    let fake = Fake::start(|_| {
        let mut details =
            ErrorDetails::with_error_info("INVALID_ARGUMENT", "bulla", HashMap::new());
        details.add_bad_request_violation("key_bytes", "must be 16 to 64");
        details.set_retry_info(Some(Duration::from_secs(2)));
        Reply::Status(Status::with_error_details(
            Code::InvalidArgument,
            "a field is wrong",
            details,
        ))
    })
    .await;
    let client = Client::connect(fake.config()).await.unwrap();
    let error = client.status(kms::StatusRequest {}).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(error.reason(), "INVALID_ARGUMENT");
    assert_eq!(error.field_violations()[0].field, "key_bytes");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(2)));
    assert_eq!(
        error.to_string(),
        "a field is wrong (INVALID_ARGUMENT); key_bytes: must be 16 to 64; try again in 2s"
    );
    assert_eq!(fake.calls().len(), 1);
}

#[tokio::test]
async fn a_reason_of_another_domain_is_not_taken_for_one_of_bulla() {
    let fake = Fake::start(|_| {
        let details =
            ErrorDetails::with_error_info("KEY_DISABLED", "proxy.example", HashMap::new());
        Reply::Status(Status::with_error_details(Code::PermissionDenied, "no", details))
    })
    .await;
    let client = Client::connect(fake.config()).await.unwrap();
    let error = client.status(kms::StatusRequest {}).await.unwrap_err();
    assert_eq!((error.reason(), error.to_string().as_str()), ("", "no"));
}

#[tokio::test]
async fn b09_text_of_a_server_cannot_drive_a_terminal() {
    let text = "bad\u{1b}[2J\r\nkey \u{202e}cod.exe";
    let fake = Fake::start(move |_| Reply::Status(Status::permission_denied(text))).await;
    let client = Client::connect(fake.config()).await.unwrap();
    let error = client.status(kms::StatusRequest {}).await.unwrap_err();
    assert_eq!(error.to_string(), r"bad\u{1b}[2J\u{d}\u{a}key \u{202e}cod.exe");
}

#[tokio::test]
async fn a_call_carries_its_deadline_and_ends_at_it() {
    let fake = Fake::start(|_| Reply::Silence).await;
    let client = Client::connect(fake.config()).await.unwrap();
    let short = client.with_timeout(Duration::from_millis(200));
    let start = Instant::now();
    let error = short.status(kms::StatusRequest {}).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Deadline, Code::DeadlineExceeded));
    assert!(error.is_retryable());
    assert!(start.elapsed() < Duration::from_secs(5));
    let sent = fake.calls()[0].headers["grpc-timeout"].to_str().unwrap().to_owned();
    let micros: u64 = sent.strip_suffix('u').unwrap().parse().unwrap();
    assert!((1..=200_000).contains(&micros), "{sent}");
}

#[tokio::test]
async fn a_call_whose_connection_breaks_is_sent_again_over_a_new_one() {
    let fake = Fake::start(|call| match call.number {
        1 => Reply::HangUp,
        _ => nothing(call),
    })
    .await;
    let client = Client::connect(fake.config()).await.unwrap();
    for _ in 0..2 {
        client.rotate_key(kms::RotateKeyRequest::default()).await.unwrap();
    }
    assert_eq!((fake.calls().len(), fake.groups().len()), (3, 2));
    let calls = fake.calls();
    assert_eq!(calls[1].message, calls[2].message);

    let impatient = Client::connect(fake.config().retries(Retries::none())).await.unwrap();
    impatient.status(kms::StatusRequest {}).await.unwrap();
}

#[tokio::test]
async fn a_broken_connection_is_told_as_such() {
    let fake = Fake::start(|_| Reply::HangUp).await;
    let client = Client::connect(fake.config().retries(Retries::none())).await.unwrap();
    let error = client.status(kms::StatusRequest {}).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Unreachable, Code::Unavailable));
    let expected = format!("the connection to {} broke", fake.address);
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[tokio::test]
async fn the_messages_of_a_stream_come_in_order_and_then_its_failure() {
    let fake = Fake::start(|call| {
        let messages = (1..=3)
            .map(|sequence| {
                let record = Some(kms::Record { sequence, ..Default::default() });
                kms::TailRecordsResponse { record }.encode_to_vec()
            })
            .collect();
        match call.number {
            0 => Reply::Messages(messages),
            _ => Reply::Broken(messages, refusal(Code::Unavailable, "draining", "DRAINING")),
        }
    })
    .await;
    let client = Client::connect(fake.config()).await.unwrap();
    let request = kms::TailRecordsRequest { last: 3, filter: None };
    let mut records = client.tail_records(request.clone()).await.unwrap();
    for sequence in 1..=3 {
        let record = records.message().await.unwrap().unwrap().record.unwrap();
        assert_eq!(record.sequence, sequence);
    }
    assert!(records.message().await.unwrap().is_none());

    let mut records = client.tail_records(request).await.unwrap();
    for _ in 0..3 {
        records.next().await.unwrap().unwrap();
    }
    let error = records.next().await.unwrap().unwrap_err();
    assert_eq!((error.reason(), error.to_string().as_str()), ("DRAINING", "draining (DRAINING)"));
}

#[tokio::test]
async fn calls_can_be_spawned_and_share_a_connection() {
    let fake = Fake::start(nothing).await;
    let client = Client::connect_lazy(fake.config()).unwrap();
    let calls = (0..50).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            client.status(kms::StatusRequest {}).await.unwrap();
            client.watch_keys(kms::WatchKeysRequest::default()).await.unwrap();
            client.re_encrypt_stream(tokio_stream::empty()).await.unwrap();
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    assert_eq!((fake.calls().len(), fake.groups().len()), (150, 1));
}

// === connecting ===

async fn connect_error(config: Config) -> String {
    let error = Client::connect(config).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable, "{error}");
    error.to_string()
}

#[tokio::test]
async fn a_connection_prefers_the_hybrid_key_exchange() {
    let fake = Fake::start(nothing).await;
    Client::connect(fake.config()).await.unwrap().status(kms::StatusRequest {}).await.unwrap();
    assert_eq!(fake.groups(), [NamedGroup::X25519MLKEM768]);
}

#[tokio::test]
async fn two_certificates_are_two_identities() {
    let fake = Fake::start(nothing).await;
    let one = fake.authority.client("spiffe://test/one");
    let two = fake.authority.client("spiffe://test/two");
    let identity = |leaf| Client::connect_lazy(fake.config_of(leaf)).unwrap().identity();
    assert_eq!(identity(&one), identity(&one));
    assert_ne!(identity(&one), identity(&two));
}

#[tokio::test]
async fn b01_a_server_of_another_authority_is_not_trusted() {
    let fake = Fake::start(nothing).await;
    for stranger in [Authority::new(), Authority::named("stranger")] {
        let text = connect_error(fake.config().ca_pem(stranger.pem)).await;
        assert!(text.contains("does not come from the configured authority (BULLA_CA)"), "{text}");
    }
}

#[tokio::test]
async fn b03_a_server_of_another_name_is_not_trusted() {
    let fake = Fake::start(nothing).await;
    let text = connect_error(fake.config().server_name("bulla.example")).await;
    assert!(text.contains("certificate is for another name"), "{text}");
}

#[tokio::test]
async fn a_server_that_refuses_the_certificate_is_told_at_the_first_call() {
    let fake = Fake::start(nothing).await;
    for stranger in [Authority::new(), Authority::named("stranger")] {
        let leaf = stranger.client("spiffe://test/stranger");
        let config = fake.config_of(&leaf).retries(Retries::none());
        let client = Client::connect(config).await.unwrap();
        let error = client.status(kms::StatusRequest {}).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unreachable);
        let text = error.to_string();
        assert!(text.contains("refused this client's certificate, because it does not"), "{text}");
    }
    assert!(fake.calls().is_empty());
}

#[tokio::test]
async fn a_peer_that_is_no_bulla_server_is_told() {
    let authority = Authority::new();
    let leaf = authority.server("localhost");
    let fake = Fake::start_with(authority, &leaf, None, nothing).await;
    let text = connect_error(fake.config()).await;
    assert!(text.contains("does not speak HTTP/2"), "{text}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_its_address() {
    let fake = Fake::start(nothing).await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let config = || {
        let leaf = fake.authority.client("spiffe://test/client");
        Config::new(format!("https://{address}"))
            .ca_pem(fake.authority.pem.clone())
            .certificate_pem(leaf.certificate)
            .key_pem(leaf.key)
    };
    let text = connect_error(config()).await;
    assert!(text.starts_with(&format!("cannot reach {address}: connection refused")), "{text}");
    let lazy = Client::connect_lazy(config().retries(Retries::none())).unwrap();
    assert_eq!(lazy.status(kms::StatusRequest {}).await.unwrap_err().to_string(), text);
}

#[tokio::test]
async fn j02_a_server_that_accepts_and_stays_silent_is_given_up() {
    let fake = Fake::start(nothing).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let leaf = fake.authority.client("spiffe://test/client");
    let config = Config::new(format!("https://{address}"))
        .ca_pem(fake.authority.pem.clone())
        .certificate_pem(leaf.certificate)
        .key_pem(leaf.key)
        .connect_timeout(Duration::from_millis(100));
    let text = connect_error(config).await;
    assert!(text.starts_with(&format!("no connection to {address} within 100ms")), "{text}");
}

#[tokio::test]
async fn a_client_comes_back_after_its_server_did() {
    let fake =
        Fake::start(|call| if call.number == 0 { nothing(call) } else { Reply::HangUp }).await;
    let client = Client::connect(fake.config()).await.unwrap();
    client.status(kms::StatusRequest {}).await.unwrap();
    let down = client.with_timeout(Duration::from_millis(300));
    down.status(kms::StatusRequest {}).await.unwrap_err();
    assert!(fake.calls().len() >= 2);
    assert!(fake.groups().len() >= 2);
}

#[tokio::test]
async fn a_certificate_and_a_key_that_do_not_belong_together_are_told() {
    let fake = Fake::start(nothing).await;
    let other = fake.authority.client("spiffe://test/other");
    let error = Client::connect(fake.config().key_pem(other.key)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    let text = error.to_string();
    assert!(text.contains("does not belong to the private key"), "{text}");
}

#[tokio::test]
async fn credentials_are_read_from_files() {
    use std::os::unix::fs::PermissionsExt;

    let fake = Fake::start(nothing).await;
    let leaf = fake.authority.client("spiffe://test/client");
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let config = Config::new(format!("https://localhost:{}", fake.address.port()))
        .ca_file(write("ca.pem", &fake.authority.pem))
        .certificate_file(write("client.pem", &leaf.certificate))
        .key_file(write("client.key", &leaf.key));
    let client = Client::connect(config).await.unwrap();
    client.status(kms::StatusRequest {}).await.unwrap();
}
