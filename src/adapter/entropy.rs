//! The randomness of the operating system.
