//! Key providers: a wrapping key in memory, or in a file.
