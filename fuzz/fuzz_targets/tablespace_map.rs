//! A tablespace map has one spelling: what is read prints back to the same bytes.
#![no_main]

use pitr::format::tablespace_map::TablespaceMap;

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    if let Ok(map) = TablespaceMap::parse(file) {
        assert_eq!(map.to_bytes(), file);
    }
});
