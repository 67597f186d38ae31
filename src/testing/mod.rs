//! For whoever writes an adapter: conformance suites, faulty storage, a manual clock.
