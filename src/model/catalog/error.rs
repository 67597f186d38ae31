//! What is wrong with a set of artifacts, as a whole or with one of them.

use serde::Serialize;

use super::{Incarnation, Lsn, SnapshotId, TimelineId};

/// Artifacts that contradict each other, so that nobody can tell which of them to believe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// One name, two snapshots.
    #[error("two different snapshots are called {id}: are these the backups of two servers?")]
    SnapshotIdReused {
        /// The name.
        id: SnapshotId,
    },
    /// Two accounts of how one timeline came to be: its own history told twice, or its own and a descendant's.
    #[error("the histories of timelines {first} and {second} of {incarnation} disagree about timeline {timeline}")]
    HistoriesDisagree {
        /// Which life of the server.
        incarnation: Incarnation,
        /// The timeline whose past is in dispute.
        timeline: TimelineId,
        /// The timeline whose history was read first.
        first: TimelineId,
        /// The timeline whose history says otherwise.
        second: TimelineId,
    },
}

/// Why a snapshot cannot be restored, whatever log there is. It does not stop others from being restored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unusable {
    /// Its timeline did not exist yet where it says that it started.
    #[error("it starts before its timeline began at {begin}")]
    BeforeItsTimeline {
        /// Where the timeline left its parent.
        begin: Lsn,
    },
    /// The snapshot that it builds on is not in the catalog.
    #[error("its parent {parent} is missing")]
    ParentMissing {
        /// The parent.
        parent: SnapshotId,
    },
    /// It builds on itself, or on a snapshot that was not complete when it started. This covers every cycle.
    #[error("its parent {parent} was not complete when it started")]
    ParentNotEarlier {
        /// The parent.
        parent: SnapshotId,
    },
    /// It builds on a snapshot that is not in its past: of another incarnation, or of another branch.
    #[error("its parent {parent} lies on another branch or incarnation")]
    ParentElsewhere {
        /// The parent.
        parent: SnapshotId,
    },
    /// It builds on a snapshot that is unusable itself.
    #[error("its parent {parent} is unusable")]
    BrokenChain {
        /// The parent.
        parent: SnapshotId,
    },
}
