//! A wrapping key in a file.

use std::fs::{self, File, Metadata};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::keys::{MemoryKey, random};
use crate::format::seal::{KeyId, ServerKey, WrappedKey, WrappingKey};
use crate::model::ServerName;
use crate::port::{Entropy, KeyProvider, PortError, PortErrorKind};

/// A wrapping key in a file that only its owner may read: 64 hexadecimal digits, or 32 bytes as they are.
///
/// The file is read once, when it is opened. Keep a copy of it in another place than the backups: whoever loses it loses
/// every one of them.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
    key: MemoryKey,
}

/// What is longer is no key.
const BYTES_MAX: usize = 128;

impl KeyFile {
    /// Draws a new key and keeps it in the new file `path`, with mode 0600, durably.
    ///
    /// # Errors
    /// [`Conflict`](PortErrorKind::Conflict) if there is a file already, which stays as it is.
    pub fn create(path: impl AsRef<Path>, entropy: Arc<dyn Entropy>) -> Result<Self, PortError> {
        let path = path.as_ref();
        let key = random(&*entropy)?;
        // Written under a name of its own, so that the file appears whole or not at all, and never in place of another.
        let draft = Draft::write(path, &hex(&random(&*entropy)?[..8]), &hex(&*key))?;
        fs::hard_link(&draft.0, path).map_err(failed("create", path))?;
        sync_parent(path)?;
        Ok(Self { path: path.to_owned(), key: MemoryKey::new(WrappingKey::new(*key), entropy) })
    }

    /// Reads the key in the file `path`.
    ///
    /// # Errors
    /// [`Denied`](PortErrorKind::Denied) if others than its owner may read or write the file;
    /// [`Invalid`](PortErrorKind::Invalid) if it holds no key; [`NotFound`](PortErrorKind::NotFound) if there is none.
    pub fn open(path: impl AsRef<Path>, entropy: Arc<dyn Entropy>) -> Result<Self, PortError> {
        let path = path.as_ref();
        let mut file = File::open(path).map_err(failed("open", path))?;
        check(path, &file.metadata().map_err(failed("look up", path))?)?;
        let mut content = Zeroizing::new(Vec::with_capacity(2 * BYTES_MAX));
        let read = (&mut file).take(BYTES_MAX as u64).read_to_end(&mut content);
        read.map_err(failed("read", path))?;
        let no_key = || invalid(format!("{} must hold 64 hexadecimal digits or 32 bytes", path.display()));
        let key = parse(&content).ok_or_else(no_key)?;
        Ok(Self { path: path.to_owned(), key: MemoryKey::new(WrappingKey::new(*key), entropy) })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The public fingerprint of the wrapping key, by which wrapped keys name it.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.key.id()
    }
}

#[async_trait]
impl KeyProvider for KeyFile {
    async fn wrap(&self, server: &ServerName, key: &ServerKey) -> Result<WrappedKey, PortError> {
        self.key.wrap(server, key).await
    }

    async fn unwrap(&self, server: &ServerName, wrapped: &WrappedKey) -> Result<ServerKey, PortError> {
        self.key.unwrap(server, wrapped).await
    }
}

/// A file that is written beside the one that it is to become, and removed in the end.
struct Draft(PathBuf);

impl Draft {
    fn write(path: &Path, suffix: &str, digits: &str) -> Result<Self, PortError> {
        let name = path.file_name().ok_or_else(|| invalid(format!("{} names no file", path.display())))?;
        let draft = path.with_file_name(format!(".{}.{suffix}", name.display()));
        let open = File::options().write(true).create_new(true).mode(0o600).open(&draft);
        let (mut file, draft) = (open.map_err(failed("create", &draft))?, Self(draft));
        let written = file.write_all(digits.as_bytes()).and_then(|()| file.write_all(b"\n"));
        written.and_then(|()| file.sync_all()).map_err(failed("write", &draft.0))?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // One that cannot be removed is a second name of the key's file, or a key that is not used: neither does harm.
        let _ = fs::remove_file(&self.0);
    }
}

fn sync_parent(path: &Path) -> Result<(), PortError> {
    let named = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = named.unwrap_or_else(|| Path::new("."));
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(failed("sync", parent))
}

fn check(path: &Path, metadata: &Metadata) -> Result<(), PortError> {
    let mode = metadata.permissions().mode() & 0o777;
    if !metadata.is_file() {
        return Err(invalid(format!("{} is not a regular file", path.display())));
    }
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let context = format!("{} has mode {mode:03o}, which gives others the key: change it to 600", path.display());
    Err(PortError::new(PortErrorKind::Denied, context))
}

fn parse(content: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let digits = content.trim_ascii_end();
    if content.len() == 32 || digits.len() != 64 {
        return content.try_into().ok().map(Zeroizing::new);
    }
    let mut key = Zeroizing::new([0; 32]);
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair.iter().try_fold(0, |high, digit| Some(high << 4 | value(*digit)?))?;
    }
    Some(key)
}

fn value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    let digits = b"0123456789abcdef".map(char::from);
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    text.extend(bytes.iter().flat_map(|byte| [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]));
    text
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> PortError {
    let context = format!("cannot {what} the key file {}", path.display());
    |error| PortError::io(context, error)
}

fn invalid(context: String) -> PortError {
    PortError::new(PortErrorKind::Invalid, context)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;
    use crate::adapter::OsEntropy;

    fn create(path: &Path) -> Result<KeyFile, PortError> {
        KeyFile::create(path, Arc::new(OsEntropy::new()))
    }

    fn open(path: &Path) -> Result<KeyFile, PortError> {
        KeyFile::open(path, Arc::new(OsEntropy::new()))
    }

    /// A file with `content` that only its owner may read.
    fn write(path: &Path, content: impl AsRef<[u8]>) {
        fs::write(path, content).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }

    #[tokio::test]
    async fn what_one_wraps_another_unwraps_after_reading_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let created = create(&path).unwrap();
        let (server, key) = ("prod-1".parse().unwrap(), ServerKey::new([9; 32]));
        let wrapped = created.wrap(&server, &key).await.unwrap();
        assert_eq!(open(&path).unwrap().unwrap(&server, &wrapped).await.unwrap().id(), key.id());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn never_overwrites() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        write(&path, "precious");
        assert_eq!(create(&path).unwrap_err().kind(), PortErrorKind::Conflict);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn refuses_a_file_that_others_can_read_or_change() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        create(&path).unwrap();
        for (mode, allowed) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            match open(&path) {
                Ok(_) => assert!(allowed, "{mode:o}"),
                Err(error) => assert!(!allowed && error.kind() == PortErrorKind::Denied, "{mode:o}: {error}"),
            }
        }
    }

    #[test]
    fn reads_digits_or_bytes_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let expected = WrappingKey::new([0xab; 32]).id();
        for content in ["ab".repeat(32).into_bytes(), ("AB".repeat(32) + "\r\n").into_bytes(), vec![0xab; 32]] {
            write(&path, content);
            assert_eq!(open(&path).unwrap().id(), expected);
        }
        for content in [String::new(), "ab".repeat(31), "ab".repeat(33), "zz".repeat(32), "x".repeat(1000)] {
            write(&path, &content);
            assert_eq!(open(&path).unwrap_err().kind(), PortErrorKind::Invalid, "{content:?}");
        }
        assert_eq!(open(&directory.path().join("none")).unwrap_err().kind(), PortErrorKind::NotFound);
        assert_eq!(open(directory.path()).unwrap_err().kind(), PortErrorKind::Invalid);
    }
}
