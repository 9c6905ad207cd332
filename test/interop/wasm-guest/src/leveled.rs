//! Follows the level that the host asks for, which the crate's sender does not do by itself.

use std::sync::atomic::{AtomicI32, Ordering};

use tracing_core::{
    span::{Attributes, Id, Record},
    Event, Interest, Level, Metadata, Subscriber,
};

/// What the host returned last: `0x5350_0000` and a level from 0 (off) to 5 (trace); `proto/README.md#control-word`.
static CONTROL_WORD: AtomicI32 = AtomicI32::new(0x5350_0005);

pub fn follow(word: i32) {
    if word >> 16 == 0x5350 {
        CONTROL_WORD.store(word, Ordering::Relaxed);
    }
}

fn wants(level: &Level) -> bool {
    let number = match *level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    };
    number <= CONTROL_WORD.load(Ordering::Relaxed) & 7
}

/// Asks again for every span and event.
pub struct Leveled<S>(pub S);

impl<S: Subscriber> Subscriber for Leveled<S> {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.0.register_callsite(metadata);
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        wants(metadata.level()) && self.0.enabled(metadata)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.0.new_span(span)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.0.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.0.record_follows_from(span, follows);
    }

    fn event(&self, event: &Event<'_>) {
        self.0.event(event);
    }

    fn enter(&self, span: &Id) {
        self.0.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.0.exit(span);
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.0.clone_span(id)
    }

    fn try_close(&self, id: Id) -> bool {
        self.0.try_close(id)
    }
}
