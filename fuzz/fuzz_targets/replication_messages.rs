//! Messages of a server: never a panic, whatever it sends.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| pitr::adapter::postgres::fuzzing::messages(bytes));
