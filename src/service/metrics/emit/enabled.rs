//! Tells the program's recorder of numbers, by the crate `metrics`.

use std::collections::BTreeMap;

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, Unit};

use super::Numbers;
use super::families::{FAMILIES, Family, Kind, Labels, Value};
use crate::model::ServerName;

const METADATA: Metadata<'_> = Metadata::new("pitr", Level::INFO, Some(module_path!()));

/// Says what the numbers are.
pub(super) fn describe() {
    metrics::with_recorder(|recorder| FAMILIES.iter().for_each(|family| describe_one(recorder, family)));
}

fn describe_one(recorder: &dyn Recorder, family: &Family) {
    let unit = match family.unit {
        "seconds" => Some(Unit::Seconds),
        "bytes" => Some(Unit::Bytes),
        _ => None,
    };
    let (name, help) = (KeyName::from(family.series()), family.help.into());
    match family.kind {
        Kind::Gauge => recorder.describe_gauge(name, unit, help),
        Kind::Counter => recorder.describe_counter(name, unit, help),
    }
}

/// Tells what of the numbers `note` changes.
pub(super) fn around(server: &ServerName, numbers: &mut Numbers, note: impl FnOnce(&mut Numbers)) {
    let before = series_of(numbers);
    note(numbers);
    let changed = series_of(numbers).into_iter().filter(|(series, value)| before.get(series) != Some(value));
    metrics::with_recorder(|recorder| {
        for ((at, labels), value) in changed {
            let (family, key) = (&FAMILIES[at], key(&FAMILIES[at], server, &labels));
            match family.kind {
                Kind::Gauge => recorder.register_gauge(&key, &METADATA).set(as_f64(value)),
                Kind::Counter => {
                    let known = before.get(&(at, labels)).map_or(0, |value| as_count(*value));
                    recorder.register_counter(&key, &METADATA).increment(as_count(value).saturating_sub(known));
                }
            }
        }
    });
}

/// Nothing is known here any more of the server.
pub(super) fn end(server: &ServerName, numbers: &Numbers) {
    let gauges = series_of(numbers).into_keys().filter(|(at, _)| matches!(FAMILIES[*at].kind, Kind::Gauge));
    metrics::with_recorder(|recorder| {
        for (at, labels) in gauges {
            recorder.register_gauge(&key(&FAMILIES[at], server, &labels), &METADATA).set(f64::NAN);
        }
    });
}

/// All numbers, by their families and labels.
fn series_of(numbers: &Numbers) -> BTreeMap<(usize, Labels), Value> {
    let families = FAMILIES.iter().enumerate();
    let samples = families.flat_map(|(at, family)| (family.samples)(numbers).into_iter().map(move |s| (at, s)));
    samples.map(|(at, (labels, value))| ((at, labels), value)).collect()
}

fn key(family: &Family, server: &ServerName, labels: &Labels) -> Key {
    let own = labels.iter().map(|(label, value)| Label::new(*label, value.clone()));
    let labels: Vec<_> = std::iter::once(Label::new("server", server.to_string())).chain(own).collect();
    Key::from_parts(family.series(), labels)
}

#[allow(clippy::cast_precision_loss, reason = "a recorder has no other numbers; bytes are exact up to 8 PiB")]
fn as_f64(value: Value) -> f64 {
    match value {
        Value::Whole(value) => value as f64,
        Value::Instant(at) => at.as_unix_micros() as f64 / 1e6,
    }
}

const fn as_count(value: Value) -> u64 {
    match value {
        Value::Whole(count) => count,
        Value::Instant(_) => 0,
    }
}
