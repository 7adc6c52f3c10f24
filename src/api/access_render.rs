//! From what the use cases of `Access` give to messages.

use bulla_proto::kms;

use super::render;
use crate::policy::{Denied, Relation};
use crate::service::{
    Asked, Explained, GrantEntry, Judgement, PolicyView, RelationPlace, Simulated, WhoAmIReply,
};

pub(super) fn who_am_i(reply: WhoAmIReply) -> kms::WhoAmIResponse {
    kms::WhoAmIResponse {
        principal: reply.principal.to_string(),
        tenant: reply.tenant,
        roles: reply.roles.iter().map(ToString::to_string).collect(),
        credential_kind: reply.credential_kind.name().to_owned(),
        groups: reply.groups.iter().map(ToString::to_string).collect(),
        end_user: reply.end_user.map(|user| user.to_string()).unwrap_or_default(),
    }
}

pub(super) fn relations(
    (relations, next): (Vec<Relation>, Option<RelationPlace>),
) -> kms::ListRelationsResponse {
    let relation = |tuple: &Relation| kms::Relation {
        object: tuple.object.to_string(),
        relation: tuple.name.to_string(),
        subject: tuple.subject.to_string(),
    };
    kms::ListRelationsResponse {
        relations: relations.iter().map(relation).collect(),
        next_page_token: render::page_token(next),
    }
}

pub(super) fn grant(entry: &GrantEntry) -> kms::Grant {
    let (grant, retiring) = (&entry.grant, entry.retiring_principal.as_ref());
    kms::Grant {
        grant_id: entry.id().to_string(),
        key_id: grant.key.to_string(),
        principal: grant.principal.to_string(),
        actions: grant.actions.iter().map(|action| action.name().to_owned()).collect(),
        encryption_context: grant.encryption_context.clone(),
        expire_time: grant.expire_time.map(render::timestamp),
        retiring_principal: retiring.map(ToString::to_string).unwrap_or_default(),
        name: entry.name.as_str().to_owned(),
        grantor: entry.grantor.to_string(),
        create_time: Some(render::timestamp(entry.create_time)),
    }
}

pub(super) fn policy(view: PolicyView) -> kms::Policy {
    let written = view.written.as_ref();
    kms::Policy {
        policy_id: view.source.id.to_string(),
        text: view.source.text.to_string(),
        description: view.description.as_str().to_owned(),
        built_in: written.is_none(),
        update_time: written.map(|(_, time)| render::timestamp(*time)),
        principal: written.map(|(principal, _)| principal.to_string()).unwrap_or_default(),
    }
}

pub(super) fn explained(explained: Explained) -> kms::ExplainResponse {
    kms::ExplainResponse {
        decision: Some(decision(&explained.judgement)),
        roles: explained.roles.iter().map(ToString::to_string).collect(),
        groups: explained.groups.iter().map(ToString::to_string).collect(),
        remedy: explained.remedy.unwrap_or_default(),
    }
}

pub(super) fn simulated(simulated: Simulated) -> kms::SimulatePoliciesResponse {
    let changed =
        simulated.changed.into_iter().map(|answer| kms::simulate_policies_response::Changed {
            before: Some(decision(&answer.before)),
            after: Some(decision(&answer.after)),
            count: answer.count,
            question: Some(question(answer.asked)),
        });
    kms::SimulatePoliciesResponse {
        decisions: simulated.judgements.iter().map(decision).collect(),
        changed: changed.collect(),
        replayed: simulated.replayed,
    }
}

fn decision(judgement: &Judgement) -> kms::Decision {
    let (policies, class) = match &judgement.decision {
        Ok(policies) => (Some(policies), ""),
        Err(denied) => {
            let policies = match denied {
                Denied::Forbidden { policies } | Denied::PolicyError { policies } => Some(policies),
                _ => None,
            };
            (policies, denied.class())
        }
    };
    kms::Decision {
        allowed: judgement.decision.is_ok(),
        policies: policies
            .into_iter()
            .flat_map(|ids| ids.iter())
            .map(ToString::to_string)
            .collect(),
        class: class.to_owned(),
        errors: judgement.errors.iter().map(|(id, why)| format!("{id}: {why}")).collect(),
    }
}

fn question(asked: Asked) -> kms::Question {
    let pairs = asked.context.pairs();
    kms::Question {
        principal: asked.principal.to_string(),
        action: asked.action.name().to_owned(),
        key: asked.key.map(|key| key.to_string()).unwrap_or_default(),
        encryption_context: pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        groups: asked.groups.iter().map(ToString::to_string).collect(),
        claims: asked.claims,
        credential_kind: asked.kind.name().to_owned(),
        source_address: asked.source.map(|source| source.to_string()).unwrap_or_default(),
        time: asked.time.map(render::timestamp),
        end_user: asked.end_user.map(|user| user.to_string()).unwrap_or_default(),
    }
}
