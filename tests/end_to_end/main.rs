//! The main job on real servers: protected under load, then restored to a moment.

mod instants;
mod kills;
mod layouts;
mod ledger;
mod random;
mod refusals;
mod stand;
mod timelines;
