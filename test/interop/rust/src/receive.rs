//! Reads the harness protocol on standard input, through the genuine `TracingEventReceiver`, and prints what it dispatches to
//! its subscriber, one JSON object per line.
//!
//! Every line is an event or a control (`{"$control": "new" | "drop" | "persist" | "persist_metadata" | "reset_local" |
//! "restore" | "roundtrip"}`); the end of input drops the receiver. A panic of the crate is printed and the run goes on.

use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    io::{self, BufRead, BufWriter, Write},
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex},
};

use serde_json::{json, value::RawValue};
use tracing_core::{
    dispatcher::{self, Dispatch},
    span::{Attributes, Id, Record},
    Event, Interest, Metadata, Subscriber,
};
use tracing_tunnel::{
    CallSiteData, LocalSpans, PersistedMetadata, PersistedSpans, ReceiveError, TracedValues, TracingEvent, TracingEventReceiver,
};

fn main() -> io::Result<()> {
    panic::set_hook(Box::new(|_| {}));
    let output = Arc::new(Mutex::new(Output {
        writer: BufWriter::new(io::stdout()),
        line: 0,
        during: "event",
    }));
    let recorder = Recorder {
        output: Arc::clone(&output),
        state: Mutex::default(),
    };
    let mut harness = Harness::new(Arc::clone(&output));
    dispatcher::with_default(&Dispatch::new(recorder), || {
        for line in io::stdin().lock().split(b'\n') {
            let line = line?;
            output.lock().unwrap().line += 1;
            if !line.trim_ascii().is_empty() {
                harness.run(&line);
            }
        }
        output.lock().unwrap().line += 1;
        harness.end();
        io::Result::Ok(())
    })?;
    let mut output = output.lock().unwrap();
    output.writer.flush()
}

/// Standard output, with what every line begins with.
struct Output {
    writer: BufWriter<io::Stdout>,
    line: usize,
    during: &'static str,
}

impl Output {
    /// Print an object whose members after `in` and `during` are `members`, JSON without the braces.
    fn print(&mut self, members: &str) {
        let Self { writer, line, during } = self;
        writeln!(writer, r#"{{"in":{line},"during":"{during}",{members}}}"#).expect("standard output is open");
    }
}

/// What a control line may carry beside its name.
type Control = BTreeMap<String, Box<RawValue>>;

/// What a line asks for, given that line and, where it is one, the control on it.
type Action = fn(&mut Harness, &[u8], &Control);

struct Harness {
    output: Arc<Mutex<Output>>,
    receiver: Option<TracingEventReceiver>,
    metadata: PersistedMetadata,
    spans: PersistedSpans,
    local_spans: LocalSpans,
}

impl Harness {
    fn new(output: Arc<Mutex<Output>>) -> Self {
        Self {
            output,
            receiver: Some(TracingEventReceiver::default()),
            metadata: PersistedMetadata::default(),
            spans: PersistedSpans::default(),
            local_spans: LocalSpans::default(),
        }
    }

    fn run(&mut self, line: &[u8]) {
        let control = serde_json::from_slice::<Control>(line).ok();
        let name = control
            .as_ref()
            .and_then(|control| control.get("$control")?.get().strip_prefix('"')?.strip_suffix('"'));
        let (during, action): (&'static str, Action) = match name {
            None => ("event", |this, line, _| this.event(line)),
            Some("new") => ("new", |this, _, _| this.start()),
            Some("drop") => ("drop", |this, _, _| this.rollback()),
            Some("persist") => ("persist", |this, _, _| this.persist()),
            Some("persist_metadata") => ("control", |this, _, _| this.persist_metadata()),
            Some("reset_local") => ("control", |this, _, _| this.reset_local()),
            Some("restore") => ("restore", |this, _, control| this.restore(control)),
            Some("roundtrip") => ("control", |this, _, control| this.roundtrip(control)),
            Some(_) => ("control", |this, _, _| this.error("parse", "unknown control")),
        };
        self.output.lock().unwrap().during = during;
        let control = control.unwrap_or_default();
        self.guarded(|this| action(this, line, &control));
    }

    fn end(&mut self) {
        self.output.lock().unwrap().during = "eof";
        self.guarded(|this| drop(this.receiver.take()));
    }

    fn guarded(&mut self, action: impl FnOnce(&mut Self)) {
        if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| action(self))) {
            self.print(&format!(r#""panic":{}"#, json!(panic_message(&*payload))));
        }
    }

    fn event(&mut self, line: &[u8]) {
        let event = match serde_json::from_slice::<TracingEvent>(line) {
            Ok(event) => event,
            Err(error) => return self.error("parse", &error.to_string()),
        };
        let Some(receiver) = &mut self.receiver else {
            return self.no_receiver();
        };
        let Err(error) = receiver.try_receive(event) else {
            return;
        };
        let (code, detail) = match &error {
            ReceiveError::UnknownMetadataId(id) => ("unknown_metadata_id", format!(r#","id":{id}"#)),
            ReceiveError::UnknownSpanId(id) => ("unknown_span_id", format!(r#","id":{id}"#)),
            ReceiveError::TooManyValues { max, actual } => ("too_many_values", format!(r#","max":{max},"actual":{actual}"#)),
            _ => ("other", String::new()),
        };
        self.print(&format!(r#""error":"{code}"{detail},"message":{}"#, json!(error.to_string())));
    }

    fn start(&mut self) {
        drop(self.receiver.take());
        self.receiver = Some(TracingEventReceiver::default());
        self.print(r#""new":true"#);
    }

    fn rollback(&mut self) {
        if self.receiver.take().is_none() {
            return self.no_receiver();
        }
        self.print(r#""dropped":true"#);
    }

    fn persist(&mut self) {
        let Some(receiver) = self.receiver.take() else {
            return self.no_receiver();
        };
        self.metadata = receiver.persist_metadata();
        (self.spans, self.local_spans) = receiver.persist();
        self.print(&format!(
            r#""persisted":{{"metadata":{},"spans":{},"local":{}}}"#,
            sorted(&serde_json::to_string(&self.metadata).unwrap()),
            sorted(&serde_json::to_string(&self.spans).unwrap()),
            local_ids(&self.local_spans),
        ));
    }

    fn persist_metadata(&mut self) {
        let Some(receiver) = &self.receiver else {
            return self.no_receiver();
        };
        let metadata = serde_json::to_string(&receiver.persist_metadata()).unwrap();
        self.print(&format!(r#""persisted_metadata":{}"#, sorted(&metadata)));
    }

    fn reset_local(&mut self) {
        self.local_spans = LocalSpans::default();
        self.print(r#""reset_local":true"#);
    }

    fn restore(&mut self, control: &Control) {
        let replaced = (|| -> serde_json::Result<()> {
            if let Some(metadata) = control.get("metadata") {
                self.metadata = serde_json::from_str(metadata.get())?;
            }
            if let Some(spans) = control.get("spans") {
                self.spans = serde_json::from_str(spans.get())?;
            }
            Ok(())
        })();
        if let Err(error) = replaced {
            return self.error("parse", &error.to_string());
        }
        drop(self.receiver.take());
        let local_spans = std::mem::take(&mut self.local_spans);
        self.receiver = Some(TracingEventReceiver::new(
            self.metadata.clone(),
            self.spans.clone(),
            local_spans,
        ));
        self.print(r#""restored":true"#);
    }

    fn roundtrip(&mut self, control: &Control) {
        let event = control.get("event").map_or("null", |event| event.get());
        match serde_json::from_str::<TracingEvent>(event) {
            Ok(event) => self.print(&format!(r#""event":{}"#, serde_json::to_string(&event).unwrap())),
            Err(error) => self.error("parse", &error.to_string()),
        }
    }

    fn no_receiver(&self) {
        self.print(r#""error":"no_receiver""#);
    }

    fn error(&self, code: &str, message: &str) {
        self.print(&format!(r#""error":"{code}","message":{}"#, json!(message)));
    }

    fn print(&self, members: &str) {
        self.output.lock().unwrap().print(members);
    }
}

/// The object `json`, whose keys are numbers, with its members in the order of these.
fn sorted(json: &str) -> String {
    let members: BTreeMap<u64, Box<RawValue>> = serde_json::from_str(json).unwrap();
    serde_json::to_string(&members).unwrap()
}

/// Local ids by the guest's. The crate shows them in its debug form only: `LocalSpans { inner: {7: Id(1)} }`.
fn local_ids(spans: &LocalSpans) -> String {
    let shown = format!("{spans:?}");
    let inner = shown
        .strip_prefix("LocalSpans { inner: {")
        .and_then(|rest| rest.strip_suffix("} }"))
        .unwrap();
    let ids: BTreeMap<u64, u64> = inner
        .split(", ")
        .filter(|entry| !entry.is_empty())
        .map(|entry| {
            let (guest, local) = entry.split_once(": Id(").unwrap();
            (guest.parse().unwrap(), local.strip_suffix(')').unwrap().parse().unwrap())
        })
        .collect();
    serde_json::to_string(&ids).unwrap()
}

fn panic_message(payload: &(dyn Any + Send)) -> &str {
    match payload.downcast_ref::<String>() {
        Some(message) => message,
        None => payload.downcast_ref::<&str>().copied().unwrap_or("?"),
    }
}

/// Subscriber that prints every call on it.
struct Recorder {
    output: Arc<Mutex<Output>>,
    state: Mutex<RecorderState>,
}

#[derive(Default)]
struct RecorderState {
    last_span_id: u64,
    /// Numbers of call sites in order of first sight, by address; the crate never frees them.
    call_sites: HashMap<usize, usize>,
}

impl Recorder {
    fn print(&self, members: &str) {
        self.output.lock().unwrap().print(members);
    }

    fn number(&self, metadata: &Metadata<'_>) -> usize {
        let call_sites = &mut self.state.lock().unwrap().call_sites;
        let next = call_sites.len();
        *call_sites.entry(std::ptr::from_ref(metadata) as usize).or_insert(next)
    }
}

fn show(values: &TracedValues<String>) -> String {
    serde_json::to_string(values).unwrap()
}

fn show_parent(parent: Option<&Id>) -> String {
    parent.map_or_else(
        || r#""contextual""#.into(),
        |id| format!(r#"{{"explicit":{}}}"#, id.into_u64()),
    )
}

impl Subscriber for Recorder {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let number = self.number(metadata);
        let data = serde_json::to_string(&CallSiteData::from(metadata)).unwrap();
        self.print(&format!(r#""call":"register_callsite","metadata":{number},"data":{data}"#));
        Interest::always()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let number = self.number(span.metadata());
        let id = {
            let mut state = self.state.lock().unwrap();
            state.last_span_id += 1;
            state.last_span_id
        };
        self.print(&format!(
            r#""call":"new_span","id":{id},"metadata":{number},"name":{},"parent":{},"values":{}"#,
            json!(span.metadata().name()),
            show_parent(span.parent()),
            show(&TracedValues::from_values(span.values())),
        ));
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let values = show(&TracedValues::from_record(values));
        self.print(&format!(r#""call":"record","id":{},"values":{values}"#, span.into_u64()));
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        let (id, follows) = (span.into_u64(), follows.into_u64());
        self.print(&format!(r#""call":"record_follows_from","id":{id},"follows_from":{follows}"#));
    }

    fn event(&self, event: &Event<'_>) {
        let number = self.number(event.metadata());
        self.print(&format!(
            r#""call":"event","metadata":{number},"name":{},"parent":{},"values":{}"#,
            json!(event.metadata().name()),
            show_parent(event.parent()),
            show(&TracedValues::from_event(event)),
        ));
    }

    fn enter(&self, span: &Id) {
        self.print(&format!(r#""call":"enter","id":{}"#, span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        self.print(&format!(r#""call":"exit","id":{}"#, span.into_u64()));
    }

    fn try_close(&self, span: Id) -> bool {
        self.print(&format!(r#""call":"try_close","id":{}"#, span.into_u64()));
        true
    }
}
