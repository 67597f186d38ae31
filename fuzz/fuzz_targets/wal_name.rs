//! Names of WAL files never panic, and print as they were parsed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pitr::format::wal_name::WalFileName;
use pitr::model::SegmentSize;

fuzz_target!(|input: (u8, &str)| {
    let (exponent, name) = input;
    let size = SegmentSize::new(1 << (20 + exponent % 11)).unwrap();
    if let Ok(file) = WalFileName::parse(name, size) {
        assert_eq!(file.display(size).to_string(), name);
    }
});
