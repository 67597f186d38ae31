//! The `backup_manifest` file.
