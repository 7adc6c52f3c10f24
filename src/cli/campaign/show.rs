//! A campaign for people: its record, how far each store has come, and the commands that come next.

use bulla_client::kms;

use crate::cli::escape::visible;
use crate::cli::store::store_name;
use crate::cli::table::{Table, enumerated, record, yes_or_no};
use crate::cli::time;

/// A campaign and its stores.
pub(super) fn campaign(campaign: &kms::Campaign, now: i64) -> String {
    let mut table = Table::new(&[
        "store",
        "phase",
        "pass",
        "seen",
        "moved",
        "changed",
        "problems",
        "undecided",
        "agent",
        "report_time",
    ]);
    for store in &campaign.stores {
        table.row([
            store_name(store.store, &store.name),
            phase_name(store.phase),
            store.pass.to_string(),
            seen(store),
            store.moved.to_string(),
            store.changed.to_string(),
            store.problems.to_string(),
            store.undecided.to_string(),
            store.agent.clone(),
            time::shown(store.report_time.as_ref(), now),
        ]);
    }
    format!("{}\n{}", campaign_record(campaign, now), table.render("no stores"))
}

/// A campaign without its stores.
fn campaign_record(campaign: &kms::Campaign, now: i64) -> String {
    let rate = match campaign.rate_per_second {
        0 => "as fast as it goes".to_owned(),
        rate => rate.to_string(),
    };
    record(&[
        ("campaign_id", campaign.campaign_id.clone()),
        ("key_id", campaign.key_id.clone()),
        ("source_versions", versions(campaign)),
        ("state", campaign_state_name(campaign.state)),
        ("rate_per_second", rate),
        ("urgent", yes_or_no(campaign.urgent)),
        ("reason", campaign.reason.clone()),
        ("principal", campaign.principal.clone()),
        ("create_time", time::shown(campaign.create_time.as_ref(), now)),
        ("end_time", time::shown(campaign.end_time.as_ref(), now)),
        ("note", campaign.note.clone()),
    ])
}

/// Campaigns, a line each.
pub(super) fn campaigns(campaigns: &[kms::Campaign], now: i64) -> String {
    let mut table = Table::new(&[
        "campaign_id",
        "key_id",
        "source_versions",
        "state",
        "clean_stores",
        "moved",
        "undecided",
        "urgent",
        "create_time",
    ]);
    for campaign in campaigns {
        let stores = &campaign.stores;
        let clean = stores.iter().filter(|store| store.phase() == kms::StorePhase::Clean).count();
        let sum = |count: fn(&kms::StoreProgress) -> u64| {
            stores.iter().map(count).fold(0_u64, u64::saturating_add)
        };
        table.row([
            campaign.campaign_id.clone(),
            campaign.key_id.clone(),
            versions(campaign),
            campaign_state_name(campaign.state),
            format!("{clean} of {}", stores.len()),
            sum(|store| store.moved).to_string(),
            sum(|store| store.undecided).to_string(),
            yes_or_no(campaign.urgent),
            time::shown(campaign.create_time.as_ref(), now),
        ]);
    }
    table.render("no campaigns")
}

/// What to run beside the data of each store, and then to see how far it has come.
pub(crate) fn next_commands(campaign: &kms::Campaign) -> Vec<String> {
    let id = visible(&campaign.campaign_id);
    let mut commands: Vec<_> = campaign
        .stores
        .iter()
        .map(|store| {
            let store = store_name(store.store, &store.name);
            let store = visible(&store);
            format!("bulla rewrap run --campaign {id} --store {store} --connector FILE.toml")
        })
        .collect();
    commands.push(format!("bulla campaign show {id}"));
    commands
}

fn versions(campaign: &kms::Campaign) -> String {
    let versions: Vec<_> = campaign.source_versions.iter().map(u32::to_string).collect();
    versions.join(", ")
}

/// How many places were looked at, and of how many if the agent can say.
fn seen(store: &kms::StoreProgress) -> String {
    match store.total {
        0 => store.seen.to_string(),
        total => format!("{} of {total}", store.seen),
    }
}

fn campaign_state_name(state: i32) -> String {
    let known = kms::CampaignState::try_from(state).ok().map(|known| known.as_str_name());
    enumerated(known, "CAMPAIGN_STATE_", state)
}

fn phase_name(phase: i32) -> String {
    let known = kms::StorePhase::try_from(phase).ok().map(|known| known.as_str_name());
    enumerated(known, "STORE_PHASE_", phase)
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    fn running() -> kms::Campaign {
        let orders = kms::StoreProgress {
            store: 3,
            name: "orders".into(),
            phase: kms::StorePhase::Moving.into(),
            agent: "spiffe://d/agent".into(),
            report_time: Some(Timestamp { seconds: 1_800_000_060, nanos: 0 }),
            pass: 1,
            seen: 500,
            total: 1000,
            moved: 499,
            problems: 2,
            undecided: 1,
            ..Default::default()
        };
        let archive = kms::StoreProgress {
            store: 4,
            phase: kms::StorePhase::Clean.into(),
            pass: 2,
            seen: 7,
            ..Default::default()
        };
        kms::Campaign {
            campaign_id: "c0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf".into(),
            key_id: "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf".into(),
            source_versions: vec![1, 2],
            state: kms::CampaignState::Running.into(),
            stores: vec![orders, archive],
            principal: "spiffe://d/operator".into(),
            create_time: Some(Timestamp { seconds: 1_800_000_000, nanos: 0 }),
            note: "1 of 2 stores is clean".into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_campaign_is_its_record_and_how_far_each_store_has_come() {
        assert_eq!(
            campaign(&running(), 1_800_000_060),
            "CAMPAIGN_ID      c0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf\n\
             KEY_ID           a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf\n\
             SOURCE_VERSIONS  1, 2\n\
             STATE            RUNNING\n\
             RATE_PER_SECOND  as fast as it goes\n\
             URGENT           no\n\
             REASON           -\n\
             PRINCIPAL        spiffe://d/operator\n\
             CREATE_TIME      2027-01-15T08:00:00Z (1 minute ago)\n\
             END_TIME         -\n\
             NOTE             1 of 2 stores is clean\n\
             \n\
             STORE   PHASE   PASS  SEEN         MOVED  CHANGED  PROBLEMS  UNDECIDED  \
             AGENT             REPORT_TIME\n\
             orders  MOVING  1     500 of 1000  499    0        2         1          \
             spiffe://d/agent  2027-01-15T08:01:00Z (now)\n\
             4       CLEAN   2     7            0      0        0         0          \
             -                 -\n"
        );
    }

    #[test]
    fn campaigns_are_listed_with_what_holds_them_up() {
        assert_eq!(
            campaigns(&[running()], 1_800_000_060),
            "CAMPAIGN_ID                           KEY_ID                                \
             SOURCE_VERSIONS  STATE    CLEAN_STORES  MOVED  UNDECIDED  URGENT  CREATE_TIME\n\
             c0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf  a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf  \
             1, 2             RUNNING  1 of 2        499    1          no      \
             2027-01-15T08:00:00Z (1 minute ago)\n"
        );
        assert_eq!(campaigns(&[], 0), "no campaigns\n");
    }

    #[test]
    fn each_store_has_the_command_that_moves_it() {
        assert_eq!(
            next_commands(&running()),
            [
                "bulla rewrap run --campaign c0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf \
                 --store orders --connector FILE.toml",
                "bulla rewrap run --campaign c0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf \
                 --store 4 --connector FILE.toml",
                "bulla campaign show c0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf",
            ]
        );
    }
}
