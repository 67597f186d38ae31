//! The name of an object in a catalog prints back as it was parsed.
#![no_main]

use pitr::format::layout::{CatalogEntry, ServerLayout};
use pitr::model::{ObjectKey, StoredObject};

libfuzzer_sys::fuzz_target!(|input: &str| {
    let layout = ServerLayout::new(&"prod".parse().expect("the constant is a name"));
    for text in [input.to_owned(), format!("{}/{input}", layout.catalog())] {
        let Ok(key) = text.parse::<ObjectKey>() else { continue };
        let printed = match layout.parse_catalog(&StoredObject::new(key.clone(), 1)) {
            Ok(CatalogEntry::Log(log)) => log.key(),
            Ok(CatalogEntry::Snapshot { incarnation, id, .. }) => layout.snapshot(incarnation, &id),
            Ok(CatalogEntry::History { incarnation, timeline, .. }) => layout.history(incarnation, timeline),
            _ => continue,
        };
        assert_eq!(printed, key);
    }
});
