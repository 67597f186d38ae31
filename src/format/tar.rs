//! The tar streams of `BASE_BACKUP`.
