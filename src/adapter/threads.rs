//! An executor of plain threads.
