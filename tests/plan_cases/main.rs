//! Readable planning cases: each file of `testdata/plans` is a catalog, and what is to come of asking it.
//!
//! A time without a date is of 15 August 2026, UTC; a range such as `1: 0/100000..0/200000` begins with its timeline. Every
//! case is run twice, the second time with its artifacts in the reverse order. Beyond what a case says, of every question is
//! checked that the explanation and the window agree with the answer, and that whatever a refusal offers can be had.
#![allow(clippy::unwrap_used, reason = "a case that is not well-formed fails the test")]

mod ask;
mod case;
mod edges;
mod pains;
mod pictures;
mod rows;

use std::path::{Path, PathBuf};

use pitr::model::Catalog;
use pitr::plan::{PlanError, Target, plan_restore};

use crate::case::Case;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/plans")
}

fn paths() -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn read(path: &Path) -> Case {
    let text = std::fs::read_to_string(path).unwrap();
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_case_comes_out_as_written() {
    let mut failed = Vec::new();
    for path in paths() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let checked = std::panic::catch_unwind(|| {
            let case = read(&path);
            println!("{name}: {}", case.about);
            case.check();
        });
        if checked.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn there_are_at_least_sixty_cases() {
    let names = paths();
    assert!(names.iter().all(|path| path.extension().is_some_and(|extension| extension == "toml")), "{names:?}");
    assert!(names.len() >= 60, "only {} cases", names.len());
}

#[test]
fn a_refusal_is_a_value() {
    let empty = Catalog::new([]).unwrap();
    let refusal = plan_restore(&empty, &Target::Latest.into()).unwrap_err();
    assert_eq!(refusal, PlanError::NothingToRestore { snapshots: 0 });
}
