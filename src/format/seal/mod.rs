//! Sealing: AES-256-GCM in frames.
