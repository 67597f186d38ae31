//! Whether the group of whoever runs the server may read it, as after `initdb --allow-group-access`: PostgreSQL takes the data
//! directory's own mode for what all that it makes shall have (`GetDataDirectoryCreatePerm` of `src/common/file_perm.c`).

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::super::disk::failed;
use crate::port::PortError;

const GROUP_MAY_LIST: u32 = 0o050;
const GROUP_MAY_READ: u32 = 0o040;

/// The modes of what a restore makes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) directory: u32,
    pub(super) file: u32,
}

impl Access {
    pub(super) const OWNER: Self = Self { directory: 0o700, file: 0o600 };

    /// What the server in `root` grants: a base backup has no entry of the data directory itself, but one of `base`, which has the same mode.
    pub(super) fn of(root: &Path) -> Result<Self, PortError> {
        let base = root.join("base");
        match fs::metadata(&base) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::OWNER),
            found => Ok(Self::like(found.map_err(failed("look at", &base))?.permissions().mode())),
        }
    }

    /// What a directory of this mode grants.
    pub(super) fn like(directory: u32) -> Self {
        let Self { directory: own, file } = Self::OWNER;
        Self { directory: own | directory & GROUP_MAY_LIST, file: file | directory & GROUP_MAY_READ }
    }

    pub(super) fn grant(self, file: &Path) -> Result<(), PortError> {
        fs::set_permissions(file, Permissions::from_mode(self.file)).map_err(failed("set mode of", file))
    }
}
