//! A scan: counts what a store holds of a key, in one snapshot that is not older than its beginning.

use std::collections::BTreeMap;

use bulla_client::kms;

use super::patience::Patience;
use super::subject::{Content, Orders, Subject};
use super::{Agent, Run};
use crate::agent::error::AgentError;
use crate::agent::store::Entry;

/// What has been found so far.
#[derive(Default)]
struct Found {
    rows: u64,
    versions: BTreeMap<u32, u64>,
    other_keys: u64,
    unreadable: u64,
    abandoned: BTreeMap<u32, u64>,
    /// Of the lowest versions: those that somebody will go and look for.
    samples: Vec<(u32, String)>,
}

// === impl Run ===

impl Run<'_> {
    /// Scans the store, and keeps the claim meanwhile.
    pub(super) async fn verify(&self) -> Result<kms::Scan, AgentError> {
        let orders = self.orders.borrow().clone();
        let scan = self.agent.scan(&self.subject, &orders, &self.subject.key_id, &self.job.store);
        tokio::select! {
            scan = scan => scan,
            error = self.keep_claim() => Err(error),
        }
    }
}

// === impl Agent ===

impl Agent {
    /// Begins anew whenever the store was away: a scan is of one moment.
    pub(super) async fn scan(
        &self,
        subject: &Subject,
        orders: &Orders,
        key: &str,
        store: &str,
    ) -> Result<kms::Scan, AgentError> {
        let mut patience = Patience::new(self.timing.patience);
        loop {
            match self.scan_once(subject, orders, key, store).await {
                Err(error @ AgentError::Store(_)) => self.wait_after(error, &mut patience).await?,
                done => return done,
            }
        }
    }

    async fn scan_once(
        &self,
        subject: &Subject,
        orders: &Orders,
        key: &str,
        store: &str,
    ) -> Result<kms::Scan, AgentError> {
        let (key, store) = (key.to_owned(), store.to_owned());
        let begin = kms::BeginScanRequest { key: key.clone(), store: store.clone() };
        let begun = self.patiently(|| self.board.begin_scan(begin.clone())).await?;
        // Only now: what the snapshot shows is not older than the server's word that it begins.
        let mut rows = self.store.scan().await?;
        let mut found = Found::default();
        while let Some(entries) = rows.next().await? {
            entries.iter().for_each(|entry| found.count(subject, orders, entry));
            self.watcher.scanned(found.rows);
        }
        let report = found.report(key, store, begun.scan_id);
        let ended = self.patiently(|| self.board.report_scan(report.clone())).await?;
        ended.scan.ok_or(AgentError::Answer("no scan"))
    }
}

// === impl Found ===

impl Found {
    fn count(&mut self, subject: &Subject, orders: &Orders, entry: &Entry) {
        self.rows = self.rows.saturating_add(1);
        match subject.look(entry) {
            Content::Foreign => self.other_keys = self.other_keys.saturating_add(1),
            Content::NoBlob(_) => self.unreadable = self.unreadable.saturating_add(1),
            Content::Ours(version, _) => {
                one_more(&mut self.versions, version);
                if orders.abandons(entry) {
                    one_more(&mut self.abandoned, version);
                } else if subject.is_sought(version) {
                    self.sample(version, &entry.name);
                }
            }
        }
    }

    fn sample(&mut self, version: u32, name: &str) {
        let full = self.samples.len() >= SAMPLES_MAX;
        if full && self.samples.last().is_some_and(|(highest, _)| *highest <= version) {
            return;
        }
        let mut sample = format!("version {version}: {name}");
        sample.truncate(sample.floor_char_boundary(SAMPLE_BYTES_MAX));
        let after = self.samples.partition_point(|(other, _)| *other <= version);
        self.samples.insert(after, (version, sample));
        self.samples.truncate(SAMPLES_MAX);
    }

    fn report(self, key: String, store: String, scan_id: String) -> kms::ReportScanRequest {
        let counts = |counts: BTreeMap<u32, u64>| {
            let counts = counts.into_iter();
            counts.map(|(version, count)| kms::VersionCount { version, count }).collect()
        };
        kms::ReportScanRequest {
            key,
            store,
            scan_id,
            rows: self.rows,
            versions: counts(self.versions),
            other_keys: self.other_keys,
            unreadable: self.unreadable,
            abandoned: counts(self.abandoned),
            samples: self.samples.into_iter().map(|(_, name)| name).collect(),
        }
    }
}

fn one_more(counts: &mut BTreeMap<u32, u64>, version: u32) {
    let count = counts.entry(version).or_default();
    *count = count.saturating_add(1);
}

const SAMPLES_MAX: usize = 10;
const SAMPLE_BYTES_MAX: usize = 256;
