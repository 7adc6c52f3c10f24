//! The page of metrics, read strictly: what OpenMetrics 1.0 allows and nothing more, as far as this
//! page uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bulla::metrics::{CANCELLED, FAMILIES, Metrics, OTHER, PlaceCounts, REASONS, Readings};
use bulla::service::ErrorReason;

/// A page that is well-formed.
#[derive(Debug)]
pub(crate) struct Page {
    /// By name: type, unit and what it means.
    families: BTreeMap<String, Described>,
    /// By name and labels, as written.
    samples: BTreeMap<String, f64>,
    /// Every label: family, name, value.
    pub(crate) labels: BTreeSet<(String, String, String)>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Described {
    kind: String,
    unit: String,
    meaning: String,
}

impl Page {
    /// The page that this is.
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("it ends with its end");
        let mut page =
            Self { families: BTreeMap::new(), samples: BTreeMap::new(), labels: BTreeSet::new() };
        let mut current = String::new();
        for line in body.lines() {
            match line.strip_prefix("# ") {
                Some(comment) => page.comment(comment, &mut current),
                None => page.sample(line, &current),
            }
        }
        for (name, family) in &page.families {
            assert!(!family.meaning.is_empty() && !family.kind.is_empty(), "{name}: {family:?}");
            assert!(
                family.unit.is_empty() || name.ends_with(&format!("_{}", family.unit)),
                "{name}"
            );
        }
        page
    }

    /// The value of this line, 0 if there is none.
    pub(crate) fn value(&self, sample: &str) -> f64 {
        self.samples.get(sample).copied().unwrap_or(0.0)
    }

    /// What was added since `before` to the lines that begin so, without those that stand still.
    pub(crate) fn rises(&self, before: &Self, begin: &str) -> BTreeMap<&str, f64> {
        let of_name = self.samples.iter().filter(|(name, _)| name.starts_with(begin));
        let rises = of_name.map(|(name, now)| (name.as_str(), now - before.value(name)));
        rises.filter(|(_, rise)| *rise != 0.0).collect()
    }

    fn comment(&mut self, comment: &str, current: &mut String) {
        let (word, rest) = comment.split_once(' ').expect(comment);
        let (name, text) = rest.split_once(' ').expect(comment);
        assert!(is_name(name) && !text.is_empty(), "{comment}");
        if word == "HELP" {
            assert!(!self.families.contains_key(name), "{name} comes twice");
            *current = name.to_owned();
        }
        assert_eq!(name, current, "families are not mixed");
        let family = self.families.entry(name.to_owned()).or_default();
        let field = match word {
            "HELP" => &mut family.meaning,
            "TYPE" => &mut family.kind,
            "UNIT" => &mut family.unit,
            other => panic!("# {other}"),
        };
        assert!(field.is_empty(), "{comment}: twice");
        *field = text.to_owned();
    }

    fn sample(&mut self, line: &str, current: &str) {
        let (sample, value) = line.rsplit_once(' ').expect(line);
        let value: f64 = value.parse().expect(line);
        let (name, labels) = match sample.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').expect(line)),
            None => (sample, ""),
        };
        let kind = self.families.get(current).expect(line).kind.as_str();
        let ending = match kind {
            "counter" => "_total",
            "info" => "_info",
            "gauge" => "",
            other => panic!("{other}"),
        };
        assert_eq!(name, format!("{current}{ending}"), "{line}");
        assert!(is_name(name) && value.is_finite() && value >= 0.0, "{line}");
        let mut seen = BTreeSet::new();
        for label in labels.split_terminator(',') {
            let (label, value) = label.split_once('=').expect(line);
            let value = value.strip_prefix('"').and_then(|it| it.strip_suffix('"')).expect(line);
            assert!(is_name(label) && !value.contains(['"', '\\', '\n']), "{line}");
            assert!(seen.insert(label), "{line}: {label} comes twice");
            self.labels.insert((current.to_owned(), label.to_owned(), value.to_owned()));
        }
        assert!(self.samples.insert(sample.to_owned(), value).is_none(), "{sample} comes twice");
    }
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[test]
fn the_table_of_metrics_in_the_docs_is_the_one_that_is_exported() {
    let metrics = Arc::new(Metrics::new(vec!["one"]));
    metrics.show_places(vec![PlaceCounts::new("one")], vec![PlaceCounts::new("one")]);
    let text = metrics.page(Readings::default()).unwrap();
    let page = Page::parse(&text);
    assert_eq!(page.families.len(), FAMILIES.len());
    let mut exported = BTreeSet::new();
    for (name, family) in &page.families {
        let ending = match family.kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let labels = page.labels.iter().filter(|(of, ..)| of == name).map(|(_, label, _)| label);
        let labels: BTreeSet<String> = labels.map(|label| format!("`{label}`")).collect();
        let labels: Vec<_> = labels.into_iter().collect();
        exported.insert([
            format!("`{name}{ending}`"),
            labels.join(", "),
            family.unit.clone(),
            family.meaning.clone(),
        ]);
    }
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let (_, chapter) = docs.split_once("\n## Watch\n").unwrap();
    let chapter = chapter.split_once("\n## ").unwrap().0;
    let rows = chapter.lines().filter(|line| line.starts_with("| `bulla_"));
    let told: Vec<[String; 4]> = rows
        .map(|row| {
            let cells = row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
            cells.collect::<Vec<_>>().try_into().unwrap()
        })
        .collect();
    assert_eq!(told.iter().cloned().collect::<BTreeSet<_>>(), exported);
    assert_eq!(told.len(), exported.len(), "a row comes twice");
    // What the rules name is there.
    let rules = chapter.split("bulla_").skip(1).map(|rest| {
        let end = rest.find(|it: char| !it.is_ascii_lowercase() && it != '_');
        format!("`bulla_{}`", &rest[..end.unwrap_or(rest.len())])
    });
    for name in rules {
        assert!(exported.iter().any(|row| row[0] == name), "{name} is not exported");
    }
}

#[test]
fn every_reason_that_an_error_can_have_is_counted_by_its_name() {
    let given: BTreeSet<_> = ErrorReason::ALL.iter().map(|reason| reason.as_str()).collect();
    // How a call can end without a reason: health asked about what there is not, and the rest.
    let others = BTreeSet::from(["OK", "NOT_FOUND", CANCELLED, OTHER]);
    let counted: BTreeSet<_> = REASONS.into_iter().collect();
    let known: BTreeSet<_> = given.union(&others).copied().collect();
    assert_eq!(counted, known);
}
