//! Timeline history files.
