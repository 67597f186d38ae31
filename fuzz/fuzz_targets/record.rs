//! A record that is read prints back to one that reads the same.
#![no_main]

use pitr::format::record::{Heartbeat, LeaseRecord, Record, Renewal, RunningSnapshot, ServerRecord, decode, encode};
use pitr::model::{RestoreProof, Snapshot};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    round_trip::<ServerRecord>(input);
    round_trip::<Snapshot>(input);
    round_trip::<RunningSnapshot>(input);
    round_trip::<RestoreProof>(input);
    round_trip::<LeaseRecord>(input);
    round_trip::<Heartbeat>(input);
    round_trip::<Renewal>(input);
});

fn round_trip<R: Record + PartialEq + std::fmt::Debug>(input: &[u8]) {
    if let Ok(record) = decode::<R>(input) {
        let printed = encode(&record).expect("what was read can be written");
        assert_eq!(decode::<R>(&printed), Ok(record));
    }
}
