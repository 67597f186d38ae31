//! How far a long operation has come.

use std::fmt;
use std::sync::Arc;

/// How far a snapshot or a restore has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The bytes of files or log that are done, as PostgreSQL sees them.
    pub bytes: u64,
    /// All bytes, as far as is known; an estimate for a snapshot.
    pub bytes_total: u64,
    /// The files or WAL segments that are done.
    pub files: u64,
}

/// Is told of what happens, often; must return quickly.
pub struct Observer<E>(Arc<dyn Fn(&E) + Send + Sync>);

impl<E> Observer<E> {
    /// Calls `observe` with everything that happens.
    #[must_use]
    pub fn new(observe: impl Fn(&E) + Send + Sync + 'static) -> Self {
        Self(Arc::new(observe))
    }

    pub(crate) fn tell(&self, event: &E) {
        (self.0)(event);
    }
}

impl<E> Default for Observer<E> {
    /// Tells nobody.
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl<E> Clone for Observer<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E> fmt::Debug for Observer<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").finish_non_exhaustive()
    }
}
