//! Storages around other storages. Each passes the suite that every storage passes, in any order around each other.

mod budget;
mod limit;
mod metrics;
mod prefix;
pub(crate) mod retry;
mod timeout;

pub use limit::{LimitStorage, Limits};
pub use metrics::{Measured, MetricsStorage};
pub use prefix::PrefixStorage;
pub use retry::{RetryPolicy, RetryStorage};
pub use timeout::{TimeoutStorage, Timeouts};
