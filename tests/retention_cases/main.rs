//! Readable cases of retention: each file of `testdata/retention` is a catalog, and what of it is kept and what expires.
//!
//! The catalog is written as in the cases of planning, see `rows.rs`. Of snapshots in the order of their IDs that share a
//! reason, only the first and the last are named.
#![allow(clippy::unwrap_used, reason = "a case that is not well-formed fails the test")]

mod expected;
mod rows;

use std::path::Path;

use pitr::model::{Artifact, Catalog};
use serde::Deserialize;

use expected::Expected;
use rows::{DaysRow, HistoryRow, LogRow, SnapshotRow};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What the case shows.
    about: String,
    #[serde(default)]
    snapshot: Vec<SnapshotRow>,
    #[serde(default)]
    log: Vec<LogRow>,
    #[serde(default)]
    days: Vec<DaysRow>,
    #[serde(default)]
    history: Vec<HistoryRow>,
    /// What was lost of the days, by what its name begins with.
    #[serde(default)]
    lost: Vec<String>,
    plan: Vec<Expected>,
}

impl Case {
    fn artifacts(&self) -> Vec<Artifact> {
        let mut days: Vec<_> = self.days.iter().flat_map(DaysRow::artifacts).collect();
        for lost in &self.lost {
            let before = days.len();
            days.retain(|artifact| !name(artifact).starts_with(lost.as_str()));
            assert!(days.len() < before, "there is no {lost} that could be lost");
        }
        let rows = self.snapshot.iter().map(SnapshotRow::artifact).chain(self.log.iter().map(LogRow::artifact));
        days.into_iter().chain(rows).chain(self.history.iter().map(HistoryRow::artifact)).collect()
    }

    fn check(&self) {
        let mut catalog = Catalog::new(self.artifacts()).unwrap();
        for expected in &self.plan {
            catalog = expected.check(&catalog);
        }
    }
}

/// What a case calls an artifact: a snapshot by its ID, log by its range, a history by its key.
fn name(artifact: &Artifact) -> String {
    match artifact {
        Artifact::Snapshot(snapshot) => snapshot.id.to_string(),
        Artifact::Log(log) => format!("{}: {}..{}", log.wal.timeline, log.wal.start, log.wal.end),
        _ => artifact.object().key.to_string(),
    }
}

#[test]
fn every_case_comes_out_as_written() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/retention");
    let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 30, "only {} cases", paths.len());
    let mut failed = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let case: Case = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        println!("{name}: {}", case.about);
        if std::panic::catch_unwind(|| case.check()).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}
