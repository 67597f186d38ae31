//! The main job on real servers: protected under load, then restored to a moment.

mod instants;
mod ledger;
mod random;
mod stand;
