//! All histories up to a small length, over a small alphabet of steps.

use pitr::plan::plan_restore;

use crate::case::Checked;
use crate::history::{About, Questions, check_or_shrink};
use crate::steps::{Flavour, Read, Step};

/// Up to so many steps.
pub(crate) const LENGTH_MAX: u32 = 5;

/// So much log, of few sizes: of several ways, many weigh the same.
const BYTES: u64 = 100_000;

/// Commits while the clock goes on, stands still and goes back; log that is archived, read, lost and archived again; snapshots
/// of both kinds; a promotion, and going back to the first timeline.
const ALPHABET: [Step; 11] = [
    Step::Commit { units: 1, seconds: 1, late: 0 },
    Step::Commit { units: 1, seconds: 0, late: 1 },
    Step::Commit { units: 1, seconds: -1, late: 0 },
    Step::Cut { observed: true, lost: false, read: Read::Nothing, overlap: 0, stored_bytes: BYTES },
    Step::Cut { observed: true, lost: false, read: Read::Transactions, overlap: 0, stored_bytes: 3 * BYTES },
    Step::Cut { observed: false, lost: true, read: Read::Nothing, overlap: 0, stored_bytes: 0 },
    Step::CutAgain { back: 0, units: 3, observed: true, read: Read::Transactions, stored_bytes: 2 * BYTES },
    Step::Snapshot { units: 1, parent: None, standby: None, stored_bytes: 5 * BYTES },
    Step::Snapshot { units: 0, parent: Some(0), standby: None, stored_bytes: BYTES },
    Step::Promote { behind: 1, log_from_segment: true, history_stored: true },
    Step::GoOn(0),
];

/// How many sequences of steps there are.
pub(crate) fn count() -> u64 {
    (1..=LENGTH_MAX).map(|length| (ALPHABET.len() as u64).pow(length)).sum()
}

/// Those that are not the same as a shorter one.
pub(crate) fn histories() -> Vec<u64> {
    (0..count()).filter(|&number| !is_longer_than_it_need_be(&steps(number))).collect()
}

/// Checks the history with this number.
pub(crate) fn check(number: u64) -> Checked {
    let steps = steps(number);
    let unread = steps.iter().any(|step| matches!(step, Step::Cut { lost: false, read: Read::Nothing, .. }));
    let again = steps.iter().any(|step| matches!(step, Step::CutAgain { .. }));
    let flavour = match (again, unread) {
        (true, true) => Flavour::Loose,
        (true, false) => Flavour::Read,
        (false, _) => Flavour::Tidy,
    };
    let questions = Questions { flavour, seed: number, planner: plan_restore, about: About::Points };
    check_or_shrink(steps, &questions).map_err(|wrong| format!("history {number}: {wrong}"))
}

/// Whether it goes back to the first timeline while it is there: without that step, it is among the shorter ones.
fn is_longer_than_it_need_be(steps: &[Step]) -> bool {
    let mut on_first = true;
    steps.iter().any(|step| {
        let stays = on_first && matches!(step, Step::GoOn(_));
        on_first = matches!(step, Step::GoOn(_)) || (on_first && !matches!(step, Step::Promote { .. }));
        stays
    })
}

/// Shorter histories first; the number is read digit by digit.
fn steps(mut number: u64) -> Vec<Step> {
    let base = ALPHABET.len() as u64;
    let mut length = 1;
    while number >= base.pow(length) {
        number -= base.pow(length);
        length += 1;
    }
    let digit = |at: u32| usize::try_from(number / base.pow(at) % base).expect("small");
    (0..length).map(|at| ALPHABET[digit(at)]).collect()
}
