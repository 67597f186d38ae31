//! Spans and events as the crate `tracing` hands them on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use pitr::model::{Change, Target};
use pitr::plan::RestoreRequest;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::stand::{MINUTE, Stand, name};

/// Keeps everything that it is told.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Contents>>, Arc<AtomicU64>);

#[derive(Debug, Default)]
struct Contents {
    /// By name, the servers that they are of.
    spans: BTreeMap<&'static str, BTreeSet<String>>,
    /// Level, server, kind and text.
    events: Vec<(Level, Fields)>,
}

#[derive(Clone, Debug, Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl Subscriber for Kept {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("pitr")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        let server = fields.0.remove("server").unwrap();
        self.0.lock().unwrap().spans.entry(span.metadata().name()).or_default().insert(server);
        Id::from_u64(self.1.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.0.lock().unwrap().events.push((*event.metadata().level(), fields));
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn a_subscriber_is_told_of_work_and_of_what_happens() {
    let kept = Kept::default();
    // As long as there is one subscriber only, spans of which another thread was first to know, are for nobody: tests in other threads have none.
    let _other = tracing::Dispatch::new(Kept::default());
    tracing::subscriber::with_default(kept.clone(), || {
        let mut stand = Stand::protected();
        stand.days(9);
        stand.change("prod", Change::Pause).unwrap();
        let request = RestoreRequest::new(Target::Latest);
        assert!(stand.finish(stand.service.estimate(&name("prod"), &request)).unwrap().is_ok());
        stand.restore("prod", Target::Latest);
        stand.lose("prod");
        stand.live(MINUTE);
        stand.change("prod", Change::Resume).unwrap();
        stand.live(MINUTE);
    });
    let Contents { spans, events } = &*kept.0.lock().unwrap();
    let work =
        ["change", "compact", "feed", "inventory", "plan", "restore", "snapshot", "store_log", "sweep", "verify"];
    assert_eq!(spans.keys().copied().collect::<Vec<_>>(), work);
    assert!(spans.values().all(|servers| servers.iter().eq(["prod"])), "{spans:?}");
    for (kind, level) in
        [("taken", Level::INFO), ("done", Level::INFO), ("archived", Level::DEBUG), ("failed", Level::WARN)]
    {
        let told = events.iter().find(|(_, fields)| fields.0["event"] == kind).unwrap();
        assert_eq!((told.0, &*told.1.0["server"]), (level, "prod"), "{told:?}");
        assert!(!told.1.0["message"].is_empty());
    }
}
