//! From fields of the messages of `Access` to types that cannot be wrong.

use std::collections::{BTreeMap, BTreeSet};

use bulla_proto::kms;

use super::parse;
use crate::keys::{Description, GrantId};
use crate::policy::{
    Action, CredentialKind, GroupName, Object, PolicyId, PolicySource, PrincipalId, Relation,
    RelationName, RoleName, SubjectRef,
};
use crate::service::{
    Asked, BindRole, CreateGrant, DeletePolicy, ListGrants, ListPolicies, ListRelations, PutPolicy,
    RELATIONS_MAX, Refusal, RelationPlace, RequestKey, RevokeGrant, RoleChange, SimulatePolicies,
    WriteRelations,
};

pub(super) fn bind_role(asked: kms::BindRoleRequest) -> Result<BindRole, Refusal> {
    let request = parse::request(Action::BindRole, &asked.request_id, &asked)?;
    let expire_time = parse::optional_time("expire_time", asked.expire_time.as_ref())?;
    let change = role_change(RoleChange::Bind, &asked.principal, &asked.role, request)?;
    Ok(BindRole { expire_time, reason: parse::reason(&asked.reason)?, ..change })
}

pub(super) fn unbind_role(asked: kms::UnbindRoleRequest) -> Result<BindRole, Refusal> {
    let request = parse::request(Action::UnbindRole, &asked.request_id, &asked)?;
    role_change(RoleChange::Unbind, &asked.principal, &asked.role, request)
}

fn role_change(
    change: RoleChange,
    subject: &str,
    role: &str,
    request: Option<RequestKey>,
) -> Result<BindRole, Refusal> {
    let subject = self::subject("principal", subject)?;
    let role = RoleName::parse(role).map_err(|error| Refusal::invalid("role", error))?;
    let reason = parse::reason("")?;
    Ok(BindRole { subject, role, expire_time: None, change, reason, request })
}

pub(super) fn write_relations(
    asked: kms::WriteRelationsRequest,
) -> Result<WriteRelations, Refusal> {
    let request = parse::request(Action::WriteRelations, &asked.request_id, &asked)?;
    let count = asked.add.len().saturating_add(asked.remove.len());
    if count > RELATIONS_MAX {
        let problem = format!("must be at most {RELATIONS_MAX}, added and removed together");
        return Err(Refusal::TooLarge { field: "add", problem });
    }
    if count == 0 {
        return Err(Refusal::invalid("add", "must not be empty where remove is"));
    }
    let all = |tuples: Vec<kms::Relation>| tuples.iter().map(relation).collect();
    let (add, remove): (Vec<Relation>, Vec<Relation>) = match (all(asked.add), all(asked.remove)) {
        (Ok(add), Ok(remove)) => (add, remove),
        (Err(refusal), _) | (_, Err(refusal)) => return Err(refusal),
    };
    let mut seen = BTreeSet::new();
    if let Some(twice) = add.iter().chain(&remove).find(|tuple| !seen.insert(*tuple)) {
        return Err(Refusal::invalid("add", format!("{twice} comes twice")));
    }
    Ok(WriteRelations { add, remove, request })
}

fn relation(tuple: &kms::Relation) -> Result<Relation, Refusal> {
    let object = object(&tuple.object)?;
    let name = relation_name(&tuple.relation)?;
    let subject = subject("subject", &tuple.subject)?;
    Relation::new(object, name, subject).map_err(|error| Refusal::invalid("relation", error))
}

pub(super) fn list_relations(asked: kms::ListRelationsRequest) -> Result<ListRelations, Refusal> {
    Ok(ListRelations {
        object: given(&asked.object).map(object).transpose()?,
        relation: given(&asked.relation).map(relation_name).transpose()?,
        subject: given(&asked.subject).map(|text| subject("subject", text)).transpose()?,
        after: parse::page_token(&asked.page_token)?.map(|text| place(&text)).transpose()?,
        page_size: parse::page_size(asked.page_size)?,
    })
}

fn place(text: &str) -> Result<RelationPlace, Refusal> {
    RelationPlace::parse(text).ok_or_else(parse::bad_page_token)
}

pub(super) fn create_grant(asked: kms::CreateGrantRequest) -> Result<CreateGrant, Refusal> {
    let request = parse::request(Action::CreateGrant, &asked.request_id, &asked)?;
    let principal = principal("principal", &asked.principal)?;
    let mut actions = Vec::new();
    for name in &asked.actions {
        let action = action("actions", name)?;
        if !actions.contains(&action) {
            actions.push(action);
        }
    }
    if actions.is_empty() {
        return Err(Refusal::invalid("actions", "must name at least one"));
    }
    Ok(CreateGrant {
        key: parse::key(&asked.key)?,
        grantee: SubjectRef::Principal(principal.clone()),
        principal,
        actions,
        context: parse::context(asked.encryption_context)?,
        expire_time: parse::optional_time("expire_time", asked.expire_time.as_ref())?,
        retiring_principal: given(&asked.retiring_principal)
            .map(|text| self::principal("retiring_principal", text))
            .transpose()?,
        name: description("name", &asked.name)?,
        request,
    })
}

pub(super) fn list_grants(asked: kms::ListGrantsRequest) -> Result<ListGrants, Refusal> {
    let after = parse::page_token(&asked.page_token)?;
    Ok(ListGrants {
        key: parse::optional_key(&asked.key)?,
        after: after
            .map(|text| GrantId::parse(&text))
            .transpose()
            .map_err(|_| parse::bad_page_token())?,
        page_size: parse::page_size(asked.page_size)?,
    })
}

pub(super) fn revoke_grant(asked: kms::RevokeGrantRequest) -> Result<RevokeGrant, Refusal> {
    let request = parse::request(Action::RevokeGrant, &asked.request_id, &asked)?;
    let grant = GrantId::parse(&asked.grant_id);
    Ok(RevokeGrant { grant: grant.map_err(|error| Refusal::invalid("grant_id", error))?, request })
}

pub(super) fn put_policy(asked: kms::PutPolicyRequest) -> Result<PutPolicy, Refusal> {
    let request = parse::request(Action::PutPolicy, &asked.request_id, &asked)?;
    let source = PolicySource { id: policy_id(&asked.policy_id)?, text: asked.text.into() };
    let description = description("description", &asked.description)?;
    Ok(PutPolicy { source, description, request })
}

pub(super) fn delete_policy(asked: kms::DeletePolicyRequest) -> Result<DeletePolicy, Refusal> {
    let request = parse::request(Action::DeletePolicy, &asked.request_id, &asked)?;
    Ok(DeletePolicy { id: policy_id(&asked.policy_id)?, request })
}

pub(super) fn list_policies(asked: kms::ListPoliciesRequest) -> Result<ListPolicies, Refusal> {
    let after = parse::page_token(&asked.page_token)?;
    Ok(ListPolicies {
        after: after
            .map(|text| PolicyId::parse(&text))
            .transpose()
            .map_err(|_| parse::bad_page_token())?,
        page_size: parse::page_size(asked.page_size)?,
    })
}

pub(super) fn policy_id(text: &str) -> Result<PolicyId, Refusal> {
    PolicyId::parse(text).map_err(|error| Refusal::invalid("policy_id", error))
}

pub(super) fn simulate(asked: kms::SimulatePoliciesRequest) -> Result<SimulatePolicies, Refusal> {
    let too_many = |field, max: usize| {
        Err(Refusal::TooLarge { field, problem: format!("must be at most {max}") })
    };
    if asked.cases.len() > CASES_MAX {
        return too_many("cases", CASES_MAX);
    }
    if asked.put.len() > PUT_MAX {
        return too_many("put", PUT_MAX);
    }
    if asked.delete.len() > PUT_MAX {
        return too_many("delete", PUT_MAX);
    }
    if asked.replay > REPLAY_MAX {
        return too_many("replay", REPLAY_MAX as usize);
    }
    let put = asked.put.into_iter().map(|policy| {
        Ok(PolicySource { id: policy_id(&policy.policy_id)?, text: policy.text.into() })
    });
    Ok(SimulatePolicies {
        put: put.collect::<Result<_, Refusal>>()?,
        delete: asked.delete.iter().map(|id| policy_id(id)).collect::<Result<_, _>>()?,
        cases: asked.cases.into_iter().map(question).collect::<Result<_, _>>()?,
        replay: asked.replay as usize,
    })
}

pub(super) fn question(asked: kms::Question) -> Result<Asked, Refusal> {
    let action = action("action", &asked.action)?;
    let key = parse::optional_key(&asked.key)?;
    if key.is_some() && !action.is_on_key() {
        return Err(Refusal::invalid("key", "must be empty: the action is not on a key"));
    }
    let groups = asked.groups.iter().map(|name| GroupName::parse(name));
    let groups: Result<Vec<_>, _> = groups.collect();
    let source = given(&asked.source_address).map(str::parse).transpose();
    Ok(Asked {
        principal: principal("principal", &asked.principal)?,
        action,
        key,
        context: parse::context(asked.encryption_context)?,
        groups: groups.map_err(|error| Refusal::invalid("groups", error))?,
        claims: claims(asked.claims)?,
        kind: credential_kind(&asked.credential_kind)?,
        source: source.map_err(|_| Refusal::invalid("source_address", "must be an IP address"))?,
        time: parse::optional_time("time", asked.time.as_ref())?,
        end_user: given(&asked.end_user).map(|text| principal("end_user", text)).transpose()?,
    })
}

fn claims(claims: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Refusal> {
    let bytes: usize = claims.iter().map(|(name, value)| name.len().max(value.len())).sum();
    match claims.len() <= CLAIMS_MAX && bytes <= CLAIMS_BYTES_MAX {
        true => Ok(claims),
        false => Err(Refusal::invalid("claims", "must be at most 64, of at most 16384 bytes")),
    }
}

fn credential_kind(text: &str) -> Result<CredentialKind, Refusal> {
    let kinds = [
        CredentialKind::Certificate,
        CredentialKind::Token,
        CredentialKind::ServiceAccount,
        CredentialKind::Exchanged,
    ];
    let problem = "must be certificate, token, service_account or exchanged";
    match text {
        "" => Ok(CredentialKind::Certificate),
        text => kinds
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| Refusal::invalid("credential_kind", problem)),
    }
}

fn subject(field: &'static str, text: &str) -> Result<SubjectRef, Refusal> {
    SubjectRef::parse(text).map_err(|error| Refusal::invalid(field, error))
}

fn principal(field: &'static str, text: &str) -> Result<PrincipalId, Refusal> {
    PrincipalId::parse(text).map_err(|error| Refusal::invalid(field, error))
}

fn action(field: &'static str, name: &str) -> Result<Action, Refusal> {
    let problem = "must be the name of an action such as crypto.decrypt";
    Action::named(name).ok_or_else(|| Refusal::invalid(field, problem))
}

fn object(text: &str) -> Result<Object, Refusal> {
    Object::parse(text).map_err(|error| Refusal::invalid("object", error))
}

fn relation_name(text: &str) -> Result<RelationName, Refusal> {
    RelationName::parse(text).map_err(|error| Refusal::invalid("relation", error))
}

fn description(field: &'static str, text: &str) -> Result<Description, Refusal> {
    Description::parse(text).map_err(|error| Refusal::invalid(field, error))
}

fn given(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// The revision in the metadata `bulla-at-least-revision`, in decimal; 0 where there is none.
pub(super) fn at_least_revision(metadata: &tonic::metadata::MetadataMap) -> Option<u64> {
    let mut values = metadata.get_all(AT_LEAST_REVISION).iter();
    match (values.next(), values.next()) {
        (None, _) => Some(0),
        (Some(value), None) => {
            let text = value.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
            text?.parse().ok()
        }
        (Some(_), Some(_)) => None,
    }
}

const AT_LEAST_REVISION: &str = "bulla-at-least-revision";
const CASES_MAX: usize = 1_000;
const PUT_MAX: usize = 100;
const REPLAY_MAX: u32 = 10_000;
const CLAIMS_MAX: usize = 64;
const CLAIMS_BYTES_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tonic::metadata::MetadataMap;

    use super::*;

    #[test]
    fn a_revision_is_one_number_in_decimal_or_absent() {
        let of = |values: &[&str]| {
            let mut metadata = MetadataMap::new();
            for value in values {
                metadata.append(AT_LEAST_REVISION, value.parse().unwrap());
            }
            at_least_revision(&metadata)
        };
        assert_eq!(of(&[]), Some(0));
        assert_eq!(of(&["18446744073709551615"]), Some(u64::MAX));
        for bad in [&["+1"][..], &["-1"], &[""], &["1 "], &["18446744073709551616"], &["1", "1"]] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn d06_a_tuple_that_is_not_lawful_refuses_all_of_them() {
        let tuple = |object: &str, relation: &str, subject: &str| kms::Relation {
            object: object.to_owned(),
            relation: relation.to_owned(),
            subject: subject.to_owned(),
        };
        let good = tuple("group:a", "member", "spiffe://one.test/app");
        let write = |add: Vec<kms::Relation>| {
            let asked = kms::WriteRelationsRequest { add, ..Default::default() };
            write_relations(asked).map(|it| it.add.len()).map_err(|refusal| refusal.class())
        };
        assert_eq!(write(vec![good.clone()]), Ok(1));
        for (bad, field) in [
            (tuple("group:a", "user", "spiffe://one.test/app"), "relation"),
            (tuple("ring:a", "member", "spiffe://one.test/app"), "relation"),
            (tuple("group:A", "member", "spiffe://one.test/app"), "object"),
            (tuple("group:a", "member", "group:a"), "subject"),
            (good.clone(), "add"),
        ] {
            assert_eq!(write(vec![good.clone(), bad]), Err(field));
        }
        assert_eq!(write(vec![]), Err("add"));
        let many =
            (0..101).map(|n| tuple(&format!("group:g{n}"), "member", "spiffe://one.test/app"));
        assert_eq!(write(many.clone().skip(1).collect()), Ok(100));
        assert_eq!(write(many.collect()), Err("add"));
    }

    #[test]
    fn a_question_has_a_key_only_where_its_action_is_on_one() {
        let ask = |action: &str, key: &str| {
            question(kms::Question {
                principal: "spiffe://one.test/app".to_owned(),
                action: action.to_owned(),
                key: key.to_owned(),
                ..Default::default()
            })
            .map(|_| ())
            .map_err(|refusal| refusal.class())
        };
        assert_eq!(ask("crypto.decrypt", "orders"), Ok(()));
        assert_eq!(ask("keys.list_keys", ""), Ok(()));
        assert_eq!(ask("keys.list_keys", "orders"), Err("key"));
        assert_eq!(ask("crypto.Decrypt", "orders"), Err("action"));
    }
}
