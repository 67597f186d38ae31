//! One case: a catalog, and what is to come of asking it.

use std::collections::BTreeMap;

use pitr::model::{Artifact, Branch, Catalog, TimelineId};
use pitr::plan::{RestorePlan, plan_restore, recovery_window, recovery_windows};
use serde::Deserialize;

use crate::ask::Ask;
use crate::rows::{HistoryRow, LogRow, SeriesRow, SnapshotRow, first_life, time};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// What the case shows.
    pub(crate) about: String,
    #[serde(default)]
    snapshot: Vec<SnapshotRow>,
    #[serde(default)]
    log: Vec<LogRow>,
    #[serde(default)]
    series: Vec<SeriesRow>,
    #[serde(default)]
    history: Vec<HistoryRow>,
    /// Why the catalog itself is refused.
    catalog_error: Option<String>,
    /// The recovery window of each timeline: pairs of first and last instants.
    #[serde(default)]
    window: BTreeMap<TimelineId, Vec<[String; 2]>>,
    /// What becomes restorable next on each timeline, and how.
    #[serde(default)]
    next: BTreeMap<TimelineId, String>,
    #[serde(default)]
    unusable: BTreeMap<String, String>,
    #[serde(default)]
    ask: Vec<Ask>,
}

impl Case {
    fn artifacts(&self) -> Vec<Artifact> {
        let snapshots = self.snapshot.iter().map(SnapshotRow::artifact);
        let logs = self.log.iter().enumerate().map(|(number, log)| log.artifact(number));
        let series = self.series.iter().flat_map(SeriesRow::artifacts);
        snapshots.chain(logs).chain(series).chain(self.history.iter().map(HistoryRow::artifact)).collect()
    }

    /// The catalog, unless it is refused, and what becomes of asking it.
    pub(crate) fn catalog(&self) -> Option<(Catalog, Vec<RestorePlan>)> {
        let mut catalog = Catalog::new(self.artifacts()).ok()?;
        self.ask.iter().for_each(|ask| self.load(ask, &mut catalog));
        let plans = self.ask.iter().filter_map(|ask| plan_restore(&catalog, &ask.request()).ok()).collect();
        Some((catalog, plans))
    }

    pub(crate) fn check(&self) {
        let artifacts = self.artifacts();
        self.check_catalog(artifacts.clone());
        // The order of a listing means nothing.
        self.check_catalog(artifacts.into_iter().rev().collect());
    }

    fn check_catalog(&self, artifacts: Vec<Artifact>) {
        let mut catalog = match (Catalog::new(artifacts), &self.catalog_error) {
            (Ok(catalog), None) => catalog,
            (Err(error), Some(expected)) => return assert_eq!(error.to_string(), *expected),
            (result, expected) => panic!("expected {expected:?}, got {result:?}"),
        };
        for (id, reason) in &self.unusable {
            assert_eq!(catalog.unusable(&id.parse().unwrap()).map(ToString::to_string).as_ref(), Some(reason), "{id}");
        }
        let all: Vec<_> = catalog.branches().map(|branch| recovery_window(&catalog, branch)).collect();
        assert_eq!(recovery_windows(&catalog), all);
        for (&timeline, expected) in &self.next {
            let window = recovery_window(&catalog, Branch::new(first_life(), timeline));
            assert_eq!(window.next.to_string(), *expected, "what is next on timeline {timeline}");
        }
        for (&timeline, expected) in &self.window {
            let window = recovery_window(&catalog, Branch::new(first_life(), timeline));
            let intervals: Vec<_> = window.intervals.iter().map(|i| [i.from, i.until]).collect();
            let expected: Vec<_> = expected.iter().map(|[from, until]| [time(from), time(until)]).collect();
            assert_eq!(intervals, expected, "the window of timeline {timeline}");
        }
        for ask in &self.ask {
            self.load(ask, &mut catalog);
            ask.check(self, &catalog);
        }
    }

    fn load(&self, ask: &Ask, catalog: &mut Catalog) {
        for (wal, read) in ask.loads() {
            let (number, log) = self.log.iter().enumerate().find(|(_, log)| log.wal == wal).expect("a log backup");
            assert!(catalog.load_index(&log.backup(number), log.index(read)), "{wal} is there");
        }
    }

    /// `text` with the `wal` of log backups in place of their keys.
    pub(crate) fn with_short_names(&self, text: &str) -> String {
        let logs = self.log.iter().enumerate();
        logs.fold(text.to_owned(), |text, (number, log)| text.replace(log.backup(number).key().as_str(), &log.wal))
    }
}
