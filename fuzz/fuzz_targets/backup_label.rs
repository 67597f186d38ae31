//! Whatever is read as a backup label prints and reads back as the same one.
#![no_main]

use pitr::format::backup_label::BackupLabel;

libfuzzer_sys::fuzz_target!(|file: &[u8]| {
    if let Ok(label) = BackupLabel::parse(file) {
        assert_eq!(BackupLabel::parse(&label.to_bytes()), Ok(label));
    }
});
