//! Delays that differ from server to server, and are always the same for one.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::model::{ServerName, Task};

/// What a delay is for, so that one server's delays differ from each other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Snapshot,
    Verification,
    TestRestore,
    Retry { task: Task, failures: u32 },
}

/// A part of `most`, from zero to less than it, that depends on nothing but the server's name and the purpose.
///
/// Of SHA-256, as that will be the same in every version and on every machine, which the standard library does not promise
/// of its hashes, and as the names of a fleet often differ in a digit only: each bit of the result still depends on it.
pub(super) fn spread(server: &ServerName, purpose: Purpose, most: Duration) -> Duration {
    let digest = Sha256::digest(format!("pitr schedule 1/{}/{server}", label(purpose)));
    let first = digest.first_chunk::<8>().expect("a SHA-256 has 32 bytes");
    let part = (most.as_micros().min(u64::MAX.into()) * u128::from(u64::from_be_bytes(*first))) >> 64;
    Duration::from_micros(u64::try_from(part).expect("a part of 64 bits has no more"))
}

fn label(purpose: Purpose) -> String {
    match purpose {
        Purpose::Snapshot => "snapshot".to_owned(),
        Purpose::Verification => "verification".to_owned(),
        Purpose::TestRestore => "test restore".to_owned(),
        Purpose::Retry { task, failures } => format!("retry {task} {failures}"),
    }
}
