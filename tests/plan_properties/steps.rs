//! What a server and its archivers do, step by step, and random sequences of it.

use crate::random::Random;

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
pub(crate) fn random(random: &mut Random, flavour: Flavour, steps_max: u64) -> Vec<Step> {
    let count = 1 + random.below(steps_max);
    (0..count).map(|_| step(random, flavour)).collect()
}

fn step(random: &mut Random, flavour: Flavour) -> Step {
    match random.below(20) {
        0..=4 => Step::Commit { units: 1 + random.below(2), seconds: seconds(random, flavour), late: index(random, 3) },
        5 => Step::Name(u8::from(random.one_in(3))),
        6 => Step::Wait { seconds: seconds(random, flavour) },
        7..=10 => cut(random, flavour),
        11 if flavour.overlaps() => {
            Step::Copy { log: index(random, 4), read: read(random, flavour), stored_bytes: bytes(random) }
        }
        12 | 13 if flavour.overlaps() => Step::CutAgain {
            back: random.below(6),
            units: 1 + random.below(6),
            observed: random.one_in(2),
            read: read(random, flavour),
            stored_bytes: bytes(random),
        },
        11..=13 => cut(random, flavour),
        14..=17 => snapshot(random),
        18 => Step::Promote {
            behind: random.below(4),
            log_from_segment: random.one_in(2),
            history_stored: !random.one_in(4),
        },
        _ => Step::GoOn(index(random, 3)),
    }
}

fn cut(random: &mut Random, flavour: Flavour) -> Step {
    let overlap = if flavour.overlaps() && random.one_in(2) { random.below(5) } else { 0 };
    Step::Cut {
        observed: random.one_in(2),
        lost: random.one_in(12),
        read: read(random, flavour),
        overlap,
        stored_bytes: bytes(random),
    }
}

fn snapshot(random: &mut Random) -> Step {
    Step::Snapshot {
        units: random.below(3),
        parent: random.one_in(2).then(|| index(random, 3)),
        standby: random.one_in(5).then(|| random.within(-120..120)),
        stored_bytes: if random.one_in(2) { random.below(8) * 50_000 } else { random.below(20_000_000) },
    }
}

fn seconds(random: &mut Random, flavour: Flavour) -> i64 {
    match flavour {
        Flavour::Steady => random.within(0..4),
        _ if random.one_in(3) => random.within(-6..0),
        _ => random.within(0..6),
    }
}

fn read(random: &mut Random, flavour: Flavour) -> Read {
    match (flavour, random.below(4)) {
        (Flavour::Read, _) | (_, 0) => Read::Transactions,
        (_, 1) => Read::Index,
        _ => Read::Nothing,
    }
}

/// Few different sizes, so that weights are often equal.
fn bytes(random: &mut Random) -> u64 {
    if random.one_in(3) { random.below(2_000_000) } else { (1 + random.below(3)) * 100_000 }
}

fn index(random: &mut Random, bound: u64) -> usize {
    usize::try_from(random.below(bound)).expect("small")
}
