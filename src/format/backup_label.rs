//! The `backup_label` file.
