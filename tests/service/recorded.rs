//! Numbers as the crate `metrics` hands them on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};

use crate::metrics::numbers;
use crate::stand::Stand;

/// Keeps the last value of everything, as an exporter does.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    values: BTreeMap<String, f64>,
    described: BTreeMap<String, Option<Unit>>,
}

/// One series of it.
struct Series(Kept, String);

impl Kept {
    fn series(&self, key: &Key) -> Arc<Series> {
        let labels: Vec<_> = key.labels().map(|label| format!("{}=\"{}\"", label.key(), label.value())).collect();
        Arc::new(Series(self.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
    }

    fn describe(&self, name: &KeyName, unit: Option<Unit>, help: &SharedString) {
        assert!(!help.is_empty());
        self.0.lock().unwrap().described.insert(name.as_str().to_owned(), unit);
    }

    fn values(&self) -> BTreeMap<String, f64> {
        self.0.lock().unwrap().values.clone()
    }
}

impl Series {
    fn change(&self, change: impl Fn(f64) -> f64) {
        let mut contents = self.0.0.lock().unwrap();
        let value = contents.values.entry(self.1.clone()).or_default();
        *value = change(*value);
    }
}

impl CounterFn for Series {
    fn increment(&self, by: u64) {
        self.change(|value| value + f64::from(u32::try_from(by).unwrap()));
    }

    fn absolute(&self, _: u64) {
        unreachable!("another process may have counted before");
    }
}

impl GaugeFn for Series {
    fn increment(&self, by: f64) {
        self.change(|value| value + by);
    }

    fn decrement(&self, by: f64) {
        self.change(|value| value - by);
    }

    fn set(&self, to: f64) {
        self.change(|_| to);
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe(&name, unit, &help);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, help: SharedString) {
        self.describe(&name, unit, &help);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        unreachable!("{name:?} is no number of ours");
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.series(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.series(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        unreachable!("{key} is no number of ours")
    }
}

/// But for counters of what never happened, which only the text has.
fn assert_same(kept: &Kept, stand: &Stand) {
    let mut told = numbers(stand);
    let values = kept.values();
    told.retain(|series, value| *value != 0.0 || values.contains_key(series));
    assert_eq!(values.keys().collect::<Vec<_>>(), told.keys().collect::<Vec<_>>());
    for (series, value) in values {
        assert!((value - told[&series]).abs() < 1e-5, "{series}: {value} and {}", told[&series]);
    }
}

#[test]
fn a_recorder_is_told_what_the_text_says() {
    let kept = Kept::default();
    with_local_recorder(&kept, || {
        let mut stand = Stand::protected();
        stand.days(3);
        assert_same(&kept, &stand);
        let snapshots =
            |kept: &Kept| kept.values()[r#"pitr_runs_total{server="prod",task="snapshot",outcome="success"}"#];
        assert!(snapshots(&kept) >= 3.0);
        let described = kept.0.lock().unwrap().described.clone();
        assert_eq!(described["pitr_recovery_point_timestamp_seconds"], Some(Unit::Seconds));
        assert_eq!(described["pitr_archived_log_bytes_total"], Some(Unit::Bytes));

        // Nobody tends it: nothing is said of it that would still be compared. Whoever goes on, counts on.
        let before = snapshots(&kept);
        stand.end();
        assert!(kept.values().iter().all(|(series, value)| series.contains("_total{") || value.is_nan()));
        stand.begin();
        stand.days(2);
        assert!(snapshots(&kept) >= before + 2.0);
        assert!(kept.values().values().all(|value| !value.is_nan()));
    });
}
