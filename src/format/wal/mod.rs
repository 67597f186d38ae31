//! The write-ahead log: pages, records, and a streaming decoder.
