//! Histories that a wrong plan or refusal once came of, as short as they could be made.

use pitr::plan::plan_restore;

use crate::case::Checked;
use crate::history::{About, Questions, check};
use crate::steps::{Flavour, Read, Step};

/// Each with what was wrong.
pub(crate) const ALL: [(&str, Flavour, &[Step]); 5] = [
    ("two branches asked each other for a restore point without end", Flavour::Read, &[SNAPSHOT, PROMOTE, SNAPSHOT]),
    (
        "a time was refused for good because of a commit before the snapshot, though its log was read",
        Flavour::Read,
        &[commit(1, 1), commit(1, -5), SNAPSHOT, commit(2, 3), cut(Read::Transactions, 200_000)],
    ),
    (
        "the same transactions were asked for twice where a log backup was found twice",
        Flavour::Tidy,
        &[commit(2, 2), cut(Read::Index, 200_000)],
    ),
    (
        "the start of a segment was the timeline's own copy, though what its parent wrote weighs less",
        Flavour::Tidy,
        &[
            commit(2, -1),
            cut(Read::Nothing, 200_000),
            PROMOTE,
            cut(Read::Transactions, 1_048_297),
            SNAPSHOT,
            cut(Read::Nothing, 100_000),
        ],
    ),
    (
        "a standby's snapshot was too late, where a log backup that goes on after its timeline was left had to be read",
        Flavour::Tidy,
        &[
            commit(2, 1),
            cut(Read::Nothing, 300_000),
            Step::Promote { behind: 1, log_from_segment: true, history_stored: true },
            Step::Snapshot { units: 0, parent: None, standby: Some(-46), stored_bytes: 14_556_820 },
            cut(Read::Nothing, 200_000),
        ],
    ),
];

const PROMOTE: Step = Step::Promote { behind: 0, log_from_segment: true, history_stored: true };
const SNAPSHOT: Step = Step::Snapshot { units: 0, parent: None, standby: None, stored_bytes: 200_000 };

const fn commit(units: u64, seconds: i64) -> Step {
    Step::Commit { units, seconds, late: 0 }
}

const fn cut(read: Read, stored_bytes: u64) -> Step {
    Step::Cut { observed: true, lost: false, read, overlap: 0, stored_bytes }
}

/// Checks one of them, asked by all objectives and several costs.
pub(crate) fn check_again(flavour: Flavour, steps: &[Step]) -> Checked {
    let questions = |seed| Questions { flavour, seed, planner: plan_restore, about: About::All };
    (0..20).try_for_each(|seed| check(steps, &questions(seed)))
}
