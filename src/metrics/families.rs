//! Every family of the page, one row for each: its name, its unit, what it means, where it is read.
//!
//! `docs/operations.md` has the same table, and a test proves that neither has a row more.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use super::{
    Commit, Deferral, Due, Metrics, Outcome, PlaceCounts, REASONS, Readings, Turn, VERSION_STEPS,
    read,
};
use crate::keys::Trigger;

/// A family of the page.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Without the prefix `bulla_`, the unit, and the ending of its kind.
    pub name: &'static str,
    /// The last word of the name, if what is counted has a unit.
    pub unit: Option<&'static str>,
    /// How its values go.
    pub kind: Kind,
    /// What it means.
    pub meaning: &'static str,
    /// Its values now.
    pub(super) samples: fn(&Metrics, &Readings) -> Vec<Sample>,
}

/// How values go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Only up, from 0 at the program's start. The name ends in `_total`.
    Counter,
    /// Up and down.
    Gauge,
    /// A time, held in milliseconds and told in seconds.
    Time,
    /// Always 1; its labels tell. The name ends in `_info`.
    Info,
}

/// One line of the page.
pub(super) struct Sample {
    pub(super) labels: Vec<(&'static str, Cow<'static, str>)>,
    pub(super) value: u64,
}

/// The table.
pub const FAMILIES: &[Family] = &[
    of(Kind::Info, "build", "The running program: its version.", |_, _| {
        vec![Sample { labels: vec![("version", env!("CARGO_PKG_VERSION").into())], value: 1 }]
    }),
    of(
        Kind::Counter,
        "requests",
        "Requests by method and reason: OK, or the reason of the error. A stream counts when it begins.",
        |metrics, _| requests(metrics),
    ),
    of(Kind::Gauge, "connections", "Open connections.", |_, now| one(now.connections)),
    of(
        Kind::Counter,
        "rotations",
        "Rotations that were begun, by what triggered them and how they ended.",
        |metrics, _| rotations(metrics),
    ),
    of(
        Kind::Counter,
        "version_steps",
        "Versions that were prepared, made Active or destroyed.",
        |metrics, _| by_word("step", VERSION_STEPS, &metrics.version_steps),
    ),
    of(
        Kind::Counter,
        "break_glass",
        "Emergency proposals that were made or used.",
        |metrics, _| one(read(&metrics.break_glass)),
    ),
    of(Kind::Counter, "moved_blobs", "Blobs that were re-encrypted.", |metrics, _| {
        one(read(&metrics.moved_blobs))
    }),
    of(
        Kind::Counter,
        "scheduler_turns",
        "Looks for what is due: with the lease, without it, or failed.",
        |metrics, _| by_word("outcome", Turn::ALL.iter().map(|it| it.name()), &metrics.turns),
    ),
    of(
        Kind::Gauge,
        "scheduler_lease",
        "1 if this server's scheduler holds the lease, 0 if not.",
        |metrics, _| one(read(&metrics.holds_lease)),
    ),
    with_unit(
        Kind::Time,
        "scheduler_last_turn_timestamp",
        "seconds",
        "When this server last looked for what is due, in Unix time.",
        |metrics, _| {
            // Before the first time there is none to tell.
            let at = read(&metrics.last_turn_unix_ms);
            if at > 0 { one(at) } else { Vec::new() }
        },
    ),
    of(
        Kind::Gauge,
        "scheduler_due",
        "Rotations, destructions and steps on ladders that the last whole look found due.",
        |metrics, _| by_word("work", Due::ALL.iter().map(|it| it.name()), &metrics.due),
    ),
    of(
        Kind::Gauge,
        "scheduler_deferred",
        "How many of them were left for later: the budget is used up, a server has yet to follow, or the key has as many versions as it may have.",
        |metrics, _| by_word("cause", Deferral::ALL.iter().map(|it| it.name()), &metrics.deferred),
    ),
    of(
        Kind::Counter,
        "scheduler_failures",
        "Rotations, destructions and steps on ladders that were due and failed.",
        |metrics, _| by_word("work", Due::ALL.iter().map(|it| it.name()), &metrics.due_failed),
    ),
    of(
        Kind::Counter,
        "store_commits",
        "Commits to the store: durable, in conflict with another, or failed.",
        |metrics, _| by_word("outcome", Commit::ALL.iter().map(|it| it.name()), &metrics.commits),
    ),
    of(Kind::Counter, "audit_records", "Audit records that were made durable.", |_, now| {
        one(now.audit_records)
    }),
    of(Kind::Counter, "audit_syncs", "Syncs of the audit log.", |_, now| one(now.audit_syncs)),
    with_unit(
        Kind::Counter,
        "audit_written",
        "bytes",
        "Bytes by which the audit log grew.",
        |_, now| one(now.audit_written_bytes),
    ),
    of(
        Kind::Gauge,
        "audit_available",
        "1 if the audit log takes records of calls that use keys.",
        |_, now| one(u64::from(now.audit_available)),
    ),
    of(
        Kind::Gauge,
        "audit_spare_segments",
        "Segments of the audit log that are ready to be written next. 0 for long: its disk is full.",
        |_, now| one(now.audit_spare_segments),
    ),
    of(
        Kind::Counter,
        "audit_poisoned_segments",
        "Segments of the audit log given up after an error of the disk.",
        |_, now| one(now.audit_poisoned_segments),
    ),
    of(
        Kind::Counter,
        "audit_refused",
        "Calls refused because no audit record could be made.",
        |_, now| one(now.audit_refused),
    ),
    of(
        Kind::Counter,
        "audit_notary_failures",
        "Times that the audit log's tree or a checkpoint could not be written, or the log not be read.",
        |_, now| one(now.audit_notary_failures),
    ),
    of(
        Kind::Gauge,
        "audit_sink_up",
        "1 if the sink answered when it was last tried.",
        |metrics, _| by_place("sink", &metrics.sinks, PlaceCounts::is_up),
    ),
    of(
        Kind::Gauge,
        "audit_sink_lag",
        "How many durable audit records the sink does not have yet.",
        |metrics, now| {
            let lag = |sink: &PlaceCounts| now.audit_sequence.saturating_sub(sink.all_up_to());
            by_place("sink", &metrics.sinks, lag)
        },
    ),
    of(
        Kind::Counter,
        "audit_sink_records",
        "Audit records that were sent to the sink. Those sent twice count twice.",
        |metrics, _| by_place("sink", &metrics.sinks, PlaceCounts::all_sent),
    ),
    of(
        Kind::Counter,
        "audit_sink_failures",
        "Times that the sink could not be reached or did not take what was sent.",
        |metrics, _| by_place("sink", &metrics.sinks, PlaceCounts::all_failures),
    ),
    of(
        Kind::Counter,
        "audit_sink_rejected",
        "Audit records that a best-effort sink refuses to take for ever, and that were passed over.",
        |metrics, _| by_place("sink", &metrics.sinks, PlaceCounts::all_rejected),
    ),
    of(
        Kind::Gauge,
        "audit_anchor_records",
        "How many audit records the newest checkpoint covers that the anchor has.",
        |metrics, _| by_place("anchor", &metrics.anchors, PlaceCounts::all_up_to),
    ),
    with_unit(
        Kind::Time,
        "audit_anchor_age",
        "seconds",
        "For how long there have been checkpoints that the anchor does not have. 0 when it has the newest.",
        |metrics, _| by_place("anchor", &metrics.anchors, PlaceCounts::waited_ms),
    ),
    of(
        Kind::Counter,
        "audit_anchor_failures",
        "Times that the anchor did not take a checkpoint.",
        |metrics, _| by_place("anchor", &metrics.anchors, PlaceCounts::all_failures),
    ),
];

// === impl Family ===

impl Family {
    /// The name as the page has it, before the ending of its kind.
    pub fn full_name(&self) -> String {
        let unit = self.unit.map(|unit| format!("_{unit}")).unwrap_or_default();
        format!("bulla_{}{unit}", self.name)
    }
}

type Samples = fn(&Metrics, &Readings) -> Vec<Sample>;

const fn of(kind: Kind, name: &'static str, meaning: &'static str, samples: Samples) -> Family {
    Family { name, unit: None, kind, meaning, samples }
}

const fn with_unit(
    kind: Kind,
    name: &'static str,
    unit: &'static str,
    meaning: &'static str,
    samples: Samples,
) -> Family {
    Family { name, unit: Some(unit), kind, meaning, samples }
}

fn one(value: u64) -> Vec<Sample> {
    vec![Sample { labels: Vec::new(), value }]
}

fn by_word<'a>(
    label: &'static str,
    words: impl IntoIterator<Item = &'static str>,
    counters: impl IntoIterator<Item = &'a std::sync::atomic::AtomicU64>,
) -> Vec<Sample> {
    let counted = words.into_iter().zip(counters);
    counted
        .map(|(word, it)| Sample { labels: vec![(label, word.into())], value: read(it) })
        .collect()
}

fn by_place(
    label: &'static str,
    places: &OnceLock<Vec<Arc<PlaceCounts>>>,
    value: impl Fn(&PlaceCounts) -> u64,
) -> Vec<Sample> {
    let places = places.get().into_iter().flatten();
    let sample = |place: &Arc<PlaceCounts>| Sample {
        labels: vec![(label, place.name().to_owned().into())],
        value: value(place),
    };
    places.map(sample).collect()
}

/// Each method's OK from the start, so that its first call is seen as a rise; errors once there are
/// some, because most methods never have most of them.
fn requests(metrics: &Metrics) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (method, row) in metrics.methods.iter().zip(&metrics.requests) {
        for (place, (reason, counter)) in REASONS.iter().zip(row).enumerate() {
            let value = read(counter);
            if place == 0 || value > 0 {
                let labels = vec![("method", (*method).into()), ("reason", (*reason).into())];
                samples.push(Sample { labels, value });
            }
        }
    }
    samples
}

fn rotations(metrics: &Metrics) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (trigger, row) in Trigger::ALL.iter().zip(&metrics.rotations) {
        for (outcome, counter) in Outcome::ALL.iter().zip(row) {
            let labels =
                vec![("trigger", trigger.name().into()), ("outcome", outcome.name().into())];
            samples.push(Sample { labels, value: read(counter) });
        }
    }
    samples
}
