//! A PostgreSQL server on this machine, started and stopped.
