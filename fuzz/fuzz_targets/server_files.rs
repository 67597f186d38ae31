//! A page that has its own checksum is sound and no other is; what is read as `pg_control` is no other file.
#![no_main]

use pitr::format::control_file::ControlFile;
use pitr::format::page;
use pitr::model::Lsn;

libfuzzer_sys::fuzz_target!(|input: (u32, u64, &[u8])| {
    let (block, begin, bytes) = input;
    if let Ok(control) = ControlFile::parse(bytes) {
        let mut changed = bytes.to_vec();
        changed[40] ^= 1;
        assert_ne!(ControlFile::parse(&changed), Ok(control));
    }
    let mut page = bytes.to_vec();
    let _ = page::is_damaged(&page, block, Lsn::new(begin));
    if page.len() >= 24 && page[14..16] != [0, 0] {
        let sum = page::checksum(&page, block).to_le_bytes();
        page[8..10].copy_from_slice(&sum);
        assert!(!page::is_damaged(&page, block, Lsn::MAX));
        page[8] ^= 1;
        let newer = u64::from_le_bytes(page[..8].try_into().expect("eight bytes")).rotate_left(32) >= begin;
        assert_eq!(page::is_damaged(&page, block, Lsn::new(begin)), !newer);
    }
});
