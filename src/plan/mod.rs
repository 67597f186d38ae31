//! Pure decisions: catalog + request + policy → a plan, or a refusal that carries the numbers.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]
