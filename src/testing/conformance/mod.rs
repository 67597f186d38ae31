//! What every implementation of a port must be able to do, as checks that anyone can run against their own.
//!
//! A check returns if it holds, and panics with what was expected if it does not.

pub mod storage;
