//! What the examples for operators share.

mod place;
mod serving;
mod showing;
mod sources;

pub(crate) use self::place::{directory, secret, storage};
pub(crate) use self::serving::{interrupted, tend};
pub(crate) use self::showing::{Price, money, stage, timeline};
pub(crate) use self::sources::Known;
#[allow(unused_imports, reason = "who only shows servers says nothing new of how they are reached")]
pub(crate) use self::sources::{invalid, server, tag};
