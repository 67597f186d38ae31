//! What every storage must be able to do.
//!
//! The checks work below the directory `conformance/` of the storage, one directory a check, which each empties before and
//! after: they may run against a store that holds other things, also several checks at a time, but not the same one twice.

mod area;
mod conditions;
mod listings;
mod objects;
mod uploads;

pub use conditions::{
    create_keeps_what_exists, create_race, update_needs_the_version, update_race, version_changes_with_the_content,
};
pub use listings::{list_after, list_below_directory, list_directories, list_follows_writes, list_many, list_order};
pub use objects::{
    delete_all, delete_missing_is_fine, empty_object, large_object, missing_is_not_found, overwrite_is_atomic, put_get,
    ranges, read_while_deleted, read_while_overwritten,
};
pub use uploads::{
    aborted_upload_leaves_nothing, dropped_upload_leaves_nothing, finish_decides, upload_is_invisible_until_finish,
    upload_keeps_what_exists,
};

use crate::port::Storage;

/// Runs all checks, one after another: some 1500 writes and 30 MiB.
///
/// # Panics
/// If one does not hold.
pub async fn run_all(storage: &dyn Storage) {
    put_get(storage).await;
    empty_object(storage).await;
    large_object(storage).await;
    ranges(storage).await;
    missing_is_not_found(storage).await;
    delete_missing_is_fine(storage).await;
    delete_all(storage).await;
    overwrite_is_atomic(storage).await;
    read_while_overwritten(storage).await;
    read_while_deleted(storage).await;
    create_keeps_what_exists(storage).await;
    update_needs_the_version(storage).await;
    version_changes_with_the_content(storage).await;
    create_race(storage).await;
    update_race(storage).await;
    upload_is_invisible_until_finish(storage).await;
    upload_keeps_what_exists(storage).await;
    finish_decides(storage).await;
    dropped_upload_leaves_nothing(storage).await;
    aborted_upload_leaves_nothing(storage).await;
    list_order(storage).await;
    list_after(storage).await;
    list_below_directory(storage).await;
    list_follows_writes(storage).await;
    list_many(storage).await;
    list_directories(storage).await;
}
