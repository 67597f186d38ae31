//! Timeline histories never panic, and survive being printed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pitr::format::history;
use pitr::model::TimelineId;

fuzz_target!(|input: (u32, &[u8])| {
    let Some(timeline) = TimelineId::new(input.0) else { return };
    if let Ok(parsed) = history::parse(timeline, input.1) {
        assert_eq!(history::parse(timeline, history::print(&parsed).as_bytes()), Ok(parsed));
    }
});
