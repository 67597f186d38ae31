//! The time of day.

use std::fmt::Debug;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::model::Timestamp;

/// Tells the time. Nothing in pitr reads a clock but through this port.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time of day of this machine. It may step in either direction.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment. It never goes back.
    fn elapsed(&self) -> Duration;

    /// Waits until this much more time has [`elapsed`](Self::elapsed). On any executor.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}
