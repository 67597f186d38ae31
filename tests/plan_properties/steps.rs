//! What a server and its archivers do, step by step, and random sequences of it.

use crate::dice::Dice;

/// How much of a log backup was read when it is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Nothing,
    /// The index that is stored with it.
    Index,
    /// The log itself: every transaction.
    Transactions,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// The server writes, and at the end a transaction is committed or rolled back: one of those that run, `late` in line.
    Commit {
        units: u64,
        seconds: i64,
        late: usize,
    },
    /// The server makes a restore point with one of a few names.
    Name(u8),
    Wait {
        seconds: i64,
    },
    /// What was written since the last cut becomes a log backup, or is lost.
    Cut {
        observed: bool,
        lost: bool,
        read: Read,
        overlap: u64,
        stored_bytes: u64,
    },
    /// Another archiver, or compaction, stores log that ends so much before the server's position.
    CutAgain {
        back: u64,
        units: u64,
        observed: bool,
        read: Read,
        stored_bytes: u64,
    },
    /// A log backup is stored once more elsewhere, of another size.
    Copy {
        log: usize,
        read: Read,
        stored_bytes: u64,
    },
    /// A snapshot ends, which began so much log ago: a full one, or on the snapshot so many before it. The clock of a standby
    /// is off by `standby` seconds.
    Snapshot {
        units: u64,
        parent: Option<usize>,
        standby: Option<i64>,
        stored_bytes: u64,
    },
    /// A standby that is so far behind is promoted.
    Promote {
        behind: u64,
        log_from_segment: bool,
        history_stored: bool,
    },
    /// The server goes on with another timeline.
    GoOn(usize),
}

/// What kind of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Log backups do not overlap, and little was read of them.
    Tidy,
    /// The same with clocks that only go forward.
    Steady,
    /// Log backups overlap and are duplicated; all of them were read.
    Read,
    /// They overlap, and little was read of them.
    Loose,
}

impl Flavour {
    pub(crate) const ALL: [Self; 4] = [Self::Tidy, Self::Steady, Self::Read, Self::Loose];

    pub(crate) fn overlaps(self) -> bool {
        matches!(self, Self::Read | Self::Loose)
    }
}

/// A random history of up to `steps_max` steps.
pub(crate) fn random(dice: &mut Dice, flavour: Flavour, steps_max: u64) -> Vec<Step> {
    let count = 1 + dice.below(steps_max);
    (0..count).map(|_| step(dice, flavour)).collect()
}

fn step(dice: &mut Dice, flavour: Flavour) -> Step {
    match dice.below(20) {
        0..=4 => Step::Commit { units: 1 + dice.below(2), seconds: seconds(dice, flavour), late: index(dice, 3) },
        5 => Step::Name(u8::from(dice.one_in(3))),
        6 => Step::Wait { seconds: seconds(dice, flavour) },
        7..=10 => cut(dice, flavour),
        11 if flavour.overlaps() => {
            Step::Copy { log: index(dice, 4), read: read(dice, flavour), stored_bytes: bytes(dice) }
        }
        12 | 13 if flavour.overlaps() => Step::CutAgain {
            back: dice.below(6),
            units: 1 + dice.below(6),
            observed: dice.one_in(2),
            read: read(dice, flavour),
            stored_bytes: bytes(dice),
        },
        11..=13 => cut(dice, flavour),
        14..=17 => snapshot(dice),
        18 => {
            Step::Promote { behind: dice.below(4), log_from_segment: dice.one_in(2), history_stored: !dice.one_in(4) }
        }
        _ => Step::GoOn(index(dice, 3)),
    }
}

fn cut(dice: &mut Dice, flavour: Flavour) -> Step {
    let overlap = if flavour.overlaps() && dice.one_in(2) { dice.below(5) } else { 0 };
    Step::Cut {
        observed: dice.one_in(2),
        lost: dice.one_in(12),
        read: read(dice, flavour),
        overlap,
        stored_bytes: bytes(dice),
    }
}

fn snapshot(dice: &mut Dice) -> Step {
    Step::Snapshot {
        units: dice.below(3),
        parent: dice.one_in(2).then(|| index(dice, 3)),
        standby: dice.one_in(5).then(|| dice.within(-120..120)),
        stored_bytes: if dice.one_in(2) { dice.below(8) * 50_000 } else { dice.below(20_000_000) },
    }
}

fn seconds(dice: &mut Dice, flavour: Flavour) -> i64 {
    match flavour {
        Flavour::Steady => dice.within(0..4),
        _ if dice.one_in(3) => dice.within(-6..0),
        _ => dice.within(0..6),
    }
}

fn read(dice: &mut Dice, flavour: Flavour) -> Read {
    match (flavour, dice.below(4)) {
        (Flavour::Read, _) | (_, 0) => Read::Transactions,
        (_, 1) => Read::Index,
        _ => Read::Nothing,
    }
}

/// Few different sizes, so that weights are often equal.
fn bytes(dice: &mut Dice) -> u64 {
    if dice.one_in(3) { dice.below(2_000_000) } else { (1 + dice.below(3)) * 100_000 }
}

fn index(dice: &mut Dice, bound: u64) -> usize {
    usize::try_from(dice.below(bound)).expect("small")
}
