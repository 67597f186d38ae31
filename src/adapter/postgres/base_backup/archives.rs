//! From the archives of a base backup to its directories and files. Pure.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::format::tar::{TarError, TarEvent, TarHeader, TarKind, TarReader};
use crate::model::{FileEntry, Tablespace};
use crate::port::{PortError, PortErrorKind, SnapshotEvent};

/// Reads one archive after another, and the manifest behind them.
#[derive(Debug)]
pub(super) struct Archives {
    /// The archives that are still to come, by name, with the directory that each is of.
    awaited: BTreeMap<String, String>,
    part: Part,
}

/// What the data belong to.
#[derive(Debug)]
enum Part {
    None,
    Archive { name: String, directory: String, reader: TarReader },
    Manifest,
}

impl Archives {
    /// The archives of a server with these `tablespaces`.
    pub(super) fn new(tablespaces: &[Tablespace]) -> Self {
        let place =
            |tablespace: &Tablespace| (format!("{}.tar", tablespace.oid), format!("pg_tblspc/{}/", tablespace.oid));
        let awaited = tablespaces.iter().map(place).chain([("base.tar".to_owned(), String::new())]).collect();
        Self { awaited, part: Part::None }
    }

    /// The archive `name` begins.
    pub(super) fn begin(&mut self, name: &str) -> Result<(), PortError> {
        self.end_part()?;
        let (name, directory) =
            self.awaited.remove_entry(name).ok_or_else(|| invalid(format!("unexpected archive {name:?}")))?;
        self.part = Part::Archive { name, directory, reader: TarReader::new() };
        Ok(())
    }

    /// The manifest begins.
    pub(super) fn begin_manifest(&mut self) -> Result<(), PortError> {
        self.end_part()?;
        self.part = Part::Manifest;
        Ok(())
    }

    /// The next bytes of what began last; what they complete is added to `events`.
    pub(super) fn data(&mut self, bytes: Bytes, events: &mut VecDeque<SnapshotEvent>) -> Result<(), PortError> {
        match &mut self.part {
            Part::None => return Err(invalid("data outside of an archive".to_owned())),
            Part::Manifest if bytes.is_empty() => {}
            Part::Manifest => events.push_back(SnapshotEvent::Manifest(bytes)),
            Part::Archive { name, directory, reader } => {
                for event in reader.feed(bytes) {
                    let event = event.map_err(|error| damaged(name, error))?;
                    events.extend(translate(directory, event)?);
                }
            }
        }
        Ok(())
    }

    /// Everything was sent: nothing may be missing.
    pub(super) fn finish(&mut self) -> Result<(), PortError> {
        if !matches!(self.part, Part::Manifest) {
            return Err(invalid("no manifest".to_owned()));
        }
        match self.awaited.keys().next() {
            Some(name) => Err(invalid(format!("no archive {name:?}"))),
            None => Ok(()),
        }
    }

    fn end_part(&mut self) -> Result<(), PortError> {
        match std::mem::replace(&mut self.part, Part::None) {
            Part::None => Ok(()),
            Part::Archive { name, reader, .. } => reader.finish().map_err(|error| damaged(&name, error)),
            Part::Manifest => Err(invalid("something after its manifest".to_owned())),
        }
    }
}

fn translate(directory: &str, event: TarEvent) -> Result<Option<SnapshotEvent>, PortError> {
    match event {
        TarEvent::Data(bytes) => Ok(Some(SnapshotEvent::Data(bytes))),
        TarEvent::Member(header) => member(directory, &header),
        TarEvent::MemberEnd => Ok(None),
    }
}

fn member(directory: &str, header: &TarHeader) -> Result<Option<SnapshotEvent>, PortError> {
    let path =
        header.path.to_str().ok_or_else(|| invalid(format!("a file whose name is no UTF-8: {:?}", header.path)))?;
    let entry = FileEntry::new(format!("{directory}{path}"), header.size, header.mode, header.mtime);
    match &header.kind {
        TarKind::File => Ok(Some(SnapshotEvent::File(entry))),
        TarKind::Directory => Ok(Some(SnapshotEvent::Directory(entry))),
        // The list of tablespaces says where they point to.
        TarKind::Symlink { .. } if entry.path.starts_with("pg_tblspc/") => Ok(None),
        _ => Err(invalid(format!("{:?}, which is neither a file nor a directory", entry.path))),
    }
}

fn damaged(name: &str, error: TarError) -> PortError {
    invalid(format!("a damaged archive {name:?}")).caused_by(error)
}

fn invalid(what: String) -> PortError {
    PortError::new(PortErrorKind::Invalid, format!("the base backup has {what}"))
}
