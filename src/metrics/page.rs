//! The page: every family in the text format of OpenMetrics 1.0.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};

use super::families::{FAMILIES, Kind, Sample};
use super::{Metrics, Readings};

/// The media type of the page.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What one page is made from.
#[derive(Debug)]
struct Page {
    metrics: Arc<Metrics>,
    readings: Readings,
}

// === impl Metrics ===

impl Metrics {
    /// The page as it is now.
    ///
    /// # Errors
    /// None that is known: writing to memory does not fail.
    pub fn page(self: &Arc<Self>, readings: Readings) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("bulla");
        registry.register_collector(Box::new(Page { metrics: Arc::clone(self), readings }));
        let mut page = String::new();
        text::encode(&mut page, &registry)?;
        Ok(page)
    }
}

// === impl Page ===

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in FAMILIES {
            let unit = family.unit.map(|unit| Unit::Other(unit.to_owned()));
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge | Kind::Time => MetricType::Gauge,
                Kind::Info => MetricType::Info,
            };
            let (name, meaning) = (family.name, family.meaning);
            let mut encoder = encoder.encode_descriptor(name, meaning, unit.as_ref(), kind)?;
            for sample in (family.samples)(&self.metrics, &self.readings) {
                line(&mut encoder, family.kind, &sample)?;
            }
        }
        Ok(())
    }
}

fn line(encoder: &mut MetricEncoder<'_>, kind: Kind, sample: &Sample) -> fmt::Result {
    if kind == Kind::Info {
        return encoder.encode_info(&sample.labels);
    }
    if sample.labels.is_empty() {
        return value(encoder, kind, sample.value);
    }
    value(&mut encoder.encode_family(&sample.labels)?, kind, sample.value)
}

fn value(encoder: &mut MetricEncoder<'_>, kind: Kind, value: u64) -> fmt::Result {
    const NONE: Option<&Exemplar<Vec<(&str, &str)>, u64>> = None;
    match kind {
        Kind::Counter => encoder.encode_counter(&value, NONE),
        Kind::Gauge => encoder.encode_gauge(&value),
        Kind::Time => {
            let millis = u32::try_from(value % 1_000).unwrap_or(0);
            let seconds = u32::try_from(value / 1_000).unwrap_or(u32::MAX);
            encoder.encode_gauge(&(f64::from(seconds) + f64::from(millis) / 1_000.0))
        }
        Kind::Info => Ok(()),
    }
}
