//! Sends a stream of spans through the genuine sender, JSON and the genuine receiver, and prints how long that took.
//!
//! Usage: `round-trip <spans>`

use std::{
    sync::{
        atomic::{AtomicU64, Ordering},
        Arc, Mutex,
    },
    time::Instant,
};

use tracing::info_span;
use tracing_core::{
    dispatcher::{self, Dispatch},
    span::{Attributes, Id, Record},
    Event, Metadata, Subscriber,
};
use tracing_tunnel::{LocalSpans, PersistedMetadata, PersistedSpans, TracingEvent, TracingEventReceiver, TracingEventSender};

fn main() {
    let spans: u64 = std::env::args().nth(1).and_then(|count| count.parse().ok()).expect("usage: round-trip <spans>");
    let lines = Arc::new(Mutex::new(Vec::new()));

    let begin = Instant::now();
    let sent = Arc::clone(&lines);
    let sender = TracingEventSender::new(move |event: TracingEvent| {
        sent.lock().unwrap().push(serde_json::to_string(&event).expect("events always serialize"));
    });
    tracing::subscriber::with_default(sender, || {
        for index in 0..spans {
            #[allow(clippy::cast_precision_loss)]
            info_span!("job", index, kind = "batch", ratio = index as f64 / 2.0).in_scope(|| {});
        }
    });
    let lines = std::mem::take(&mut *lines.lock().unwrap());
    dispatcher::with_default(&Dispatch::new(Nothing::default()), || {
        let mut receiver =
            TracingEventReceiver::new(PersistedMetadata::default(), PersistedSpans::default(), LocalSpans::default());
        for line in &lines {
            receiver.receive(serde_json::from_str(line).expect("what was serialized parses"));
        }
    });
    let nanoseconds = begin.elapsed().as_nanos();
    println!(r#"{{"events":{},"nanoseconds":{nanoseconds}}}"#, lines.len());
}

/// A subscriber that only gives spans their ids.
#[derive(Default)]
struct Nothing {
    last: AtomicU64,
}

impl Subscriber for Nothing {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
