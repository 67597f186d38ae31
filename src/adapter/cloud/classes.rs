//! Storage classes, by what an object is for.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::{Attribute, Attributes, HeaderValue};

use crate::format::layout::{self, ObjectKind};
use crate::model::ObjectKey;
use crate::port::{PortError, PortErrorKind};

/// The class of each kind of object; the bucket's own where there is none.
#[derive(Clone, Debug, Default)]
pub(super) struct Classes(Arc<BTreeMap<ObjectKind, HeaderValue>>);

impl Classes {
    pub(super) fn new<'a>(classes: impl IntoIterator<Item = (&'a ObjectKind, &'a String)>) -> Result<Self, PortError> {
        let malformed = |name: &str| PortError::new(PortErrorKind::Invalid, format!("{name:?} is no storage class"));
        let header = |(kind, name): (&ObjectKind, &'a String)| {
            Ok((*kind, HeaderValue::from_str(name).map_err(|_| malformed(name))?))
        };
        Ok(Self(Arc::new(classes.into_iter().map(header).collect::<Result<_, _>>()?)))
    }

    /// What is said of the object `key` when it is made.
    pub(super) fn attributes(&self, key: &ObjectKey) -> Attributes {
        let class = self.of(key).and_then(|class| class.to_str().ok());
        Attributes::from_iter(class.map(|class| (Attribute::StorageClass, class.to_owned())))
    }

    /// The class of the object that a URL with this path names.
    pub(super) fn of_path(&self, path: &str) -> Option<&HeaderValue> {
        self.of(&path.trim_start_matches('/').parse().ok()?)
    }

    fn of(&self, key: &ObjectKey) -> Option<&HeaderValue> {
        self.0.get(&layout::kind_of(key))
    }
}
