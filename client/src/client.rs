//! The client: every method of the API as one row of a table. Holds no key and no plaintext.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bulla_proto::kms;
use bulla_proto::kms::access_client::AccessClient;
use bulla_proto::kms::approvals_client::ApprovalsClient;
use bulla_proto::kms::audit_client::AuditClient;
use bulla_proto::kms::crypto_client::CryptoClient;
use bulla_proto::kms::keys_client::KeysClient;
use bulla_proto::kms::operator_client::OperatorClient;
use bulla_proto::kms::rotation_client::RotationClient;
use bulla_proto::kms::tenants_client::TenantsClient;
use prost::Message as _;
use rand::TryRng as _;
use rand::rngs::SysRng;
use tokio_stream::Stream;
use tonic::transport::Channel;
use tonic::{Request, Streaming};

use crate::approval::Approval;
use crate::bearer::{Bearer, Proof, Sent};
use crate::call::Caller;
use crate::config::Config;
use crate::connect::{Connection, Identity};
use crate::error::Error;
use crate::receipts::Receipts;

/// A connection to a Bulla server. Clones share the connection, the retry budget and the deadline.
///
/// Every method takes the request message of its name and returns the response message. All of them
/// give [`Error`]; all but the streams are retried as [`Retries`](crate::Retries) says. A change
/// without a `request_id` gets a random one, so that a retry cannot make it happen twice.
///
/// The certificate is read once: after renewing it, make a new client. A token's file is looked at with
/// every call.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
    caller: Arc<Caller>,
    timeout: Duration,
    identity: Identity,
    approval: Approval,
    bearer: Option<Arc<Bearer>>,
    on_behalf_of: Option<Sent>,
    receipts: Receipts,
}

/// The messages of a stream from the server, in order, until it ends or fails.
pub struct Messages<T> {
    inner: Streaming<T>,
    caller: Arc<Caller>,
    timeout: Duration,
}

// === impl Client ===

impl Client {
    /// Reads the files that `config` names and makes sure that a server is there and can be
    /// trusted. The connection is renewed by itself whenever it is lost.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::Kind::Config) when the configuration is not usable,
    /// [`Kind::Unreachable`](crate::Kind::Unreachable) when there is no server or it cannot be
    /// trusted. That the server refuses this client's certificate is known at the first call.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        let connection = Connection::prepare(&config)?;
        let channel = connection.eager().await?;
        Ok(Self::over(channel, connection, &config))
    }

    /// The same as [`Client::connect`], but dials at the first call. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::Kind::Config) when the configuration is not usable.
    pub fn connect_lazy(config: Config) -> Result<Self, Error> {
        let connection = Connection::prepare(&config)?;
        Ok(Self::over(connection.lazy(), connection, &config))
    }

    fn over(channel: Channel, connection: Connection, config: &Config) -> Self {
        let Connection { identity, bearer, server, .. } = connection;
        let caller = Caller::new(server, config.retries);
        let (approval, on_behalf_of, timeout) = (Approval::default(), None, config.timeout);
        let receipts = Receipts::default();
        Self { channel, caller, timeout, identity, approval, bearer, on_behalf_of, receipts }
    }

    /// The same client with another deadline for each call, retries included.
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// Whom the server takes this client for.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    pub(crate) fn acting_for(&self, end_user: Sent, identity: [u8; 32]) -> Self {
        let identity = Identity::from_digest(identity);
        Self { identity, on_behalf_of: Some(end_user), ..self.clone() }
    }

    /// What proves the caller of the next call. One that cannot be had ends the call unsent.
    fn proof(&self) -> Result<Proof, Error> {
        let authorization = self.bearer.as_ref().map(|bearer| bearer.current()).transpose()?;
        Ok(Proof { authorization, on_behalf_of: self.on_behalf_of.clone() })
    }

    pub(crate) fn with(&self, approval: Approval) -> Self {
        Self { approval, ..self.clone() }
    }

    pub(crate) fn keeping(&self, receipts: Receipts) -> Self {
        Self { receipts, ..self.clone() }
    }

    pub(crate) fn approval(&self) -> &Approval {
        &self.approval
    }

    pub(crate) fn server(&self) -> &str {
        self.caller.server()
    }

    /// Re-wraps any number of blobs; answers come in the order of the requests.
    ///
    /// # Errors
    /// [`Error`] when the stream cannot be opened within the deadline. It is not retried.
    pub async fn re_encrypt_stream(
        &self,
        requests: impl Stream<Item = kms::ReEncryptStreamRequest> + Send + 'static,
    ) -> Result<Messages<kms::ReEncryptStreamResponse>, Error> {
        let mut service = CryptoClient::new(self.channel.clone());
        let proof = self.proof()?;
        let open = async |request: Request<_>| service.re_encrypt_stream(proof.mark(request)).await;
        self.messages(self.caller.open(requests, self.timeout, open).await?)
    }

    /// Every change to a key after a cursor, for as long as the caller listens. Go on after a
    /// failure with the cursor of the last message.
    ///
    /// # Errors
    /// [`Error`] when the stream cannot be opened within the deadline. It is not retried.
    pub async fn watch_keys(
        &self,
        request: kms::WatchKeysRequest,
    ) -> Result<Messages<kms::WatchKeysResponse>, Error> {
        let mut service = KeysClient::new(self.channel.clone());
        let proof = self.proof()?;
        let open = async |request: Request<_>| service.watch_keys(proof.mark(request)).await;
        self.messages(self.caller.open(request, self.timeout, open).await?)
    }

    /// The latest audit records and then new ones, for as long as the caller listens.
    ///
    /// # Errors
    /// [`Error`] when the stream cannot be opened within the deadline. It is not retried.
    pub async fn tail_records(
        &self,
        request: kms::TailRecordsRequest,
    ) -> Result<Messages<kms::TailRecordsResponse>, Error> {
        let mut service = AuditClient::new(self.channel.clone());
        let proof = self.proof()?;
        let open = async |request: Request<_>| service.tail_records(proof.mark(request)).await;
        self.messages(self.caller.open(request, self.timeout, open).await?)
    }

    fn messages<T>(&self, inner: Streaming<T>) -> Result<Messages<T>, Error> {
        Ok(Messages { inner, caller: Arc::clone(&self.caller), timeout: self.timeout })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("server", &self.caller.server())
            .field("identity", &self.identity)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// One row a method. `repeatable`: doing it twice is harmless. `change`: harmless with a
/// `request_id`, which is filled in when it is empty.
macro_rules! calls {
    ($($service:ident { $(
        $(#[$doc:meta])*
        $class:ident $method:ident($request:ident) -> $response:ident;
    )* })*) => {
        impl Client {$($(
            $(#[$doc])*
            pub async fn $method(
                &self,
                request: kms::$request,
            ) -> Result<kms::$response, Error> {
                let request = calls!(@$class self, $service, $request, request);
                let proof = self.proof()?;
                let send = |request| {
                    let request = proof.mark(self.approval.mark(self.receipts.mark(request)));
                    let service = $service::new(self.channel.clone());
                    let mut service = service.max_decoding_message_size(RESPONSE_BYTES_MAX);
                    async move {
                        let answered = service.$method(request).await;
                        self.receipts.keep(stringify!($method), &answered);
                        answered
                    }
                };
                self.caller.call(request, self.timeout, send).await
            }
        )*)*}
    };
    (@repeatable $client:ident, $service:ident, $message:ident, $request:ident) => { $request };
    (@change $client:ident, $service:ident, $message:ident, $request:ident) => {{
        let method = method_of(stringify!($service), stringify!($message));
        if let Some(error) = $client.propose_instead(method, $request.encode_to_vec()).await {
            return Err(error);
        }
        let mut request = $request;
        if request.request_id.is_empty() {
            request.request_id = request_id()?;
        }
        request
    }};
}

calls! {
    CryptoClient {
        /// Makes a data key and returns it in the clear and wrapped.
        repeatable generate_data_key(GenerateDataKeyRequest) -> GenerateDataKeyResponse;
        /// Makes a data key and returns it wrapped only.
        repeatable generate_data_key_without_plaintext(GenerateDataKeyWithoutPlaintextRequest)
            -> GenerateDataKeyWithoutPlaintextResponse;
        /// Makes up to 1000 data keys under one key and one encryption context.
        repeatable generate_data_keys(GenerateDataKeysRequest) -> GenerateDataKeysResponse;
        /// Wraps a small payload (1 to 4096 bytes).
        repeatable encrypt(EncryptRequest) -> EncryptResponse;
        /// Opens one blob.
        repeatable decrypt(DecryptRequest) -> DecryptResponse;
        /// Opens up to 1000 blobs, with a result for each, in the order of the request.
        repeatable decrypt_many(DecryptManyRequest) -> DecryptManyResponse;
        /// Re-wraps one blob under the Active version of a key.
        repeatable re_encrypt(ReEncryptRequest) -> ReEncryptResponse;
        /// Says what a blob's header claims and where that version stands; opens nothing.
        repeatable inspect(InspectRequest) -> InspectResponse;
        /// Random bytes (1 to 1024) from the server's operating system.
        repeatable generate_random(GenerateRandomRequest) -> GenerateRandomResponse;
    }
    KeysClient {
        /// Makes a key with version 1 Active.
        change create_key(CreateKeyRequest) -> CreateKeyResponse;
        /// One key.
        repeatable get_key(GetKeyRequest) -> GetKeyResponse;
        /// One page of keys.
        repeatable list_keys(ListKeysRequest) -> ListKeysResponse;
        /// Changes what describes a key.
        change update_key(UpdateKeyRequest) -> UpdateKeyResponse;
        /// No version of a disabled key works.
        change disable_key(DisableKeyRequest) -> DisableKeyResponse;
        /// Undoes `disable_key`.
        change enable_key(EnableKeyRequest) -> EnableKeyResponse;
        /// Makes a new Active version.
        change rotate_key(RotateKeyRequest) -> RotateKeyResponse;
        /// One page of a key's versions.
        repeatable list_versions(ListVersionsRequest) -> ListVersionsResponse;
        /// One version.
        repeatable get_version(GetVersionRequest) -> GetVersionResponse;
        /// The version refuses everything until it is resumed.
        change suspend_version(SuspendVersionRequest) -> SuspendVersionResponse;
        /// Undoes `suspend_version`.
        change resume_version(ResumeVersionRequest) -> ResumeVersionResponse;
        /// Blobs of the version can be moved off it, and no longer opened.
        change restrict_version(RestrictVersionRequest) -> RestrictVersionResponse;
        /// Undoes `restrict_version`.
        change unrestrict_version(UnrestrictVersionRequest) -> UnrestrictVersionResponse;
        /// Marks a version as compromised. Never undone.
        change compromise_version(CompromiseVersionRequest) -> CompromiseVersionResponse;
        /// Destroys a version's material after a waiting time.
        change schedule_destroy(ScheduleDestroyRequest) -> ScheduleDestroyResponse;
        /// Undoes `schedule_destroy` while there is time.
        change cancel_destroy(CancelDestroyRequest) -> CancelDestroyResponse;
        /// Points an alias at a key.
        change set_alias(SetAliasRequest) -> SetAliasResponse;
        /// Removes an alias; the key stays.
        change delete_alias(DeleteAliasRequest) -> DeleteAliasResponse;
        /// One page of aliases.
        repeatable list_aliases(ListAliasesRequest) -> ListAliasesResponse;
    }
    RotationClient {
        /// `Rotation.RegisterStore`.
        change register_store(RegisterStoreRequest) -> RegisterStoreResponse;
        /// `Rotation.ListStores`.
        repeatable list_stores(ListStoresRequest) -> ListStoresResponse;
        /// `Rotation.ReportRestore`.
        change report_restore(ReportRestoreRequest) -> ReportRestoreResponse;
        /// `Rotation.GetCensus`.
        repeatable get_census(GetCensusRequest) -> GetCensusResponse;
        /// `Rotation.RetireCheck`.
        repeatable retire_check(RetireCheckRequest) -> RetireCheckResponse;
        /// `Rotation.WaiveUnnamedStore`.
        change waive_unnamed_store(WaiveUnnamedStoreRequest) -> WaiveUnnamedStoreResponse;
        /// `Rotation.BeginScan`.
        repeatable begin_scan(BeginScanRequest) -> BeginScanResponse;
        /// `Rotation.ReportScan`.
        repeatable report_scan(ReportScanRequest) -> ReportScanResponse;
        /// `Rotation.CreateCampaign`.
        change create_campaign(CreateCampaignRequest) -> CreateCampaignResponse;
        /// `Rotation.GetCampaign`.
        repeatable get_campaign(GetCampaignRequest) -> GetCampaignResponse;
        /// `Rotation.ListCampaigns`.
        repeatable list_campaigns(ListCampaignsRequest) -> ListCampaignsResponse;
        /// `Rotation.PauseCampaign`.
        change pause_campaign(PauseCampaignRequest) -> PauseCampaignResponse;
        /// `Rotation.ResumeCampaign`.
        change resume_campaign(ResumeCampaignRequest) -> ResumeCampaignResponse;
        /// `Rotation.AbandonCampaign`.
        change abandon_campaign(AbandonCampaignRequest) -> AbandonCampaignResponse;
        /// `Rotation.ReportProgress`.
        repeatable report_progress(ReportProgressRequest) -> ReportProgressResponse;
        /// `Rotation.ListProblems`.
        repeatable list_problems(ListProblemsRequest) -> ListProblemsResponse;
        /// `Rotation.DecideProblem`.
        change decide_problem(DecideProblemRequest) -> DecideProblemResponse;
        /// `Rotation.RotateDue`.
        repeatable rotate_due(RotateDueRequest) -> RotateDueResponse;
        /// `Rotation.SetLadder`.
        change set_ladder(SetLadderRequest) -> SetLadderResponse;
        /// `Rotation.GetLadder`.
        repeatable get_ladder(GetLadderRequest) -> GetLadderResponse;
        /// `Rotation.ResumeLadder`.
        change resume_ladder(ResumeLadderRequest) -> ResumeLadderResponse;
        /// `Rotation.GetExposure`.
        repeatable get_exposure(GetExposureRequest) -> GetExposureResponse;
    }
    AccessClient {
        /// Gives a principal a role.
        change bind_role(BindRoleRequest) -> BindRoleResponse;
        /// Takes a role from a principal.
        change unbind_role(UnbindRoleRequest) -> UnbindRoleResponse;
        /// One page of who holds which roles.
        repeatable list_role_bindings(ListRoleBindingsRequest) -> ListRoleBindingsResponse;
        /// Adds and removes relation tuples, all or none.
        change write_relations(WriteRelationsRequest) -> WriteRelationsResponse;
        /// One page of relation tuples.
        repeatable list_relations(ListRelationsRequest) -> ListRelationsResponse;
        /// Gives one principal some actions on one key.
        change create_grant(CreateGrantRequest) -> CreateGrantResponse;
        /// One page of grants.
        repeatable list_grants(ListGrantsRequest) -> ListGrantsResponse;
        /// Takes a grant away.
        change revoke_grant(RevokeGrantRequest) -> RevokeGrantResponse;
        /// Makes or replaces a policy.
        change put_policy(PutPolicyRequest) -> PutPolicyResponse;
        /// Deletes a policy; a built-in one that it had replaced stands again.
        change delete_policy(DeletePolicyRequest) -> DeletePolicyResponse;
        /// One policy.
        repeatable get_policy(GetPolicyRequest) -> GetPolicyResponse;
        /// One page of policies, built-in ones included.
        repeatable list_policies(ListPoliciesRequest) -> ListPoliciesResponse;
        /// What policies may speak of.
        repeatable get_policy_schema(GetPolicySchemaRequest) -> GetPolicySchemaResponse;
        /// What other policies would answer.
        repeatable simulate_policies(SimulatePoliciesRequest) -> SimulatePoliciesResponse;
        /// Which policies decide a question.
        repeatable explain(ExplainRequest) -> ExplainResponse;
        /// Makes a service account.
        change create_service_account(CreateServiceAccountRequest) -> CreateServiceAccountResponse;
        /// One page of service accounts.
        repeatable list_service_accounts(ListServiceAccountsRequest) -> ListServiceAccountsResponse;
        /// Ends a service account and all its credentials.
        change delete_service_account(DeleteServiceAccountRequest) -> DeleteServiceAccountResponse;
        /// Makes a credential. Its secret is in the reply and nowhere else.
        change create_credential(CreateCredentialRequest) -> CreateCredentialResponse;
        /// One page of credentials, without their secrets.
        repeatable list_credentials(ListCredentialsRequest) -> ListCredentialsResponse;
        /// Ends a credential.
        change revoke_credential(RevokeCredentialRequest) -> RevokeCredentialResponse;
        /// A short-lived token for less than the caller may.
        repeatable exchange_token(ExchangeTokenRequest) -> ExchangeTokenResponse;
        /// Who the server takes the caller for.
        repeatable who_am_i(WhoAmIRequest) -> WhoAmIResponse;
    }
    ApprovalsClient {
        /// Asks others to approve a request.
        change propose(ProposeRequest) -> ProposeResponse;
        /// Says yes to a proposal.
        change approve(ApproveRequest) -> ApproveResponse;
        /// Says no to a proposal.
        change reject(RejectRequest) -> RejectResponse;
        /// One proposal.
        repeatable get_proposal(GetProposalRequest) -> GetProposalResponse;
        /// One page of proposals.
        repeatable list_proposals(ListProposalsRequest) -> ListProposalsResponse;
        /// Says which action needs whose approval.
        change put_approval_rule(PutApprovalRuleRequest) -> PutApprovalRuleResponse;
        /// Lets an action go without approval again.
        change delete_approval_rule(DeleteApprovalRuleRequest) -> DeleteApprovalRuleResponse;
        /// Which actions need whose approval.
        repeatable list_approval_rules(ListApprovalRulesRequest) -> ListApprovalRulesResponse;
    }
    TenantsClient {
        /// Makes a tenant.
        change create_tenant(CreateTenantRequest) -> CreateTenantResponse;
        /// One tenant.
        repeatable get_tenant(GetTenantRequest) -> GetTenantResponse;
        /// One page of tenants.
        repeatable list_tenants(ListTenantsRequest) -> ListTenantsResponse;
        /// Changes what describes and limits a tenant.
        change update_tenant(UpdateTenantRequest) -> UpdateTenantResponse;
        /// Stops everything of a tenant.
        change suspend_tenant(SuspendTenantRequest) -> SuspendTenantResponse;
        /// Undoes `suspend_tenant`.
        change resume_tenant(ResumeTenantRequest) -> ResumeTenantResponse;
    }
    AuditClient {
        /// One page of audit records, oldest first.
        repeatable list_records(ListRecordsRequest) -> ListRecordsResponse;
        /// The newest signed checkpoint of the audit log.
        repeatable get_checkpoint(GetCheckpointRequest) -> GetCheckpointResponse;
        /// One record with all that its chain value is computed from.
        repeatable get_record(GetRecordRequest) -> GetRecordResponse;
        /// That a record is in the tree of a checkpoint.
        repeatable prove_inclusion(ProveInclusionRequest) -> ProveInclusionResponse;
        /// That an earlier log is the beginning of a later one.
        repeatable prove_consistency(ProveConsistencyRequest) -> ProveConsistencyResponse;
    }
    OperatorClient {
        /// How the server stands.
        repeatable status(StatusRequest) -> StatusResponse;
    }
}

/// `KeysClient` and `RotateKeyRequest` are `/bulla.kms.v1.Keys/RotateKey`.
fn method_of(service: &str, message: &str) -> String {
    let service = service.strip_suffix("Client").unwrap_or(service);
    let method = message.strip_suffix("Request").unwrap_or(message);
    format!("/bulla.kms.v1.{service}/{method}")
}

// === impl Messages ===

impl<T> Messages<T> {
    /// The next message, or nothing when the server has ended the stream.
    ///
    /// # Errors
    /// [`Error`] when the stream has failed; it gives nothing more after that.
    pub async fn message(&mut self) -> Result<Option<T>, Error> {
        let next = self.inner.message().await;
        next.map_err(|status| Error::from_status(&status, self.caller.server(), self.timeout))
    }
}

impl<T> Stream for Messages<T> {
    type Item = Result<T, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let next = Pin::new(&mut this.inner).poll_next(context);
        next.map_err(|status| Error::from_status(&status, this.caller.server(), this.timeout))
    }
}

impl<T> fmt::Debug for Messages<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Messages").finish_non_exhaustive()
    }
}

/// 128 bits from the operating system, so that a cloned machine cannot repeat an id.
fn request_id() -> Result<String, Error> {
    let mut bytes = [0; 16];
    SysRng.try_fill_bytes(&mut bytes).map_err(|error| {
        Error::unreachable(format!("the operating system gave no random bytes: {error}"))
    })?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// A page of 1000 audit records with long encryption contexts stays below this.
const RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;
