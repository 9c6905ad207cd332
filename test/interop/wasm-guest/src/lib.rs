//! The programs of test/contract/sandbox-programs.ts with the crates `tracing` and `tracing-tunnel`; what they do is said there.
//! Each event is a call of the import `tracing.send_event`.

use std::{error::Error, fmt};

use leveled::{follow, Leveled};
use tracing::{error, event, event_enabled, info, info_span, Level};
use tracing_tunnel::{TracingEvent, TracingEventSender};

mod leveled;

#[link(wasm_import_module = "tracing")]
extern "C" {
    fn send_event(json: *const u8, length: usize) -> i32;
}

fn send(event: TracingEvent) {
    let json = serde_json::to_vec(&event).expect("events always serialize");
    // SAFETY: the host reads those bytes before it returns.
    follow(unsafe { send_event(json.as_ptr(), json.len()) });
}

pub fn traced(program: fn()) {
    tracing::subscriber::with_default(Leveled(TracingEventSender::new(send)), program);
}

#[no_mangle]
pub extern "C" fn nested() {
    traced(|| {
        let outer = info_span!("outer", job = "contract");
        let in_outer = outer.enter();
        info!(name: "note", "in outer");
        let inner = info_span!("inner").entered();
        info!(name: "note", "in inner");
        let leaf = info_span!(parent: &outer, "leaf", size = 1);
        info!(name: "note", parent: &leaf, "in leaf");
        leaf.record("size", 2);
        drop(leaf);
        drop(inner);
        drop(in_outer);
    });
}

#[no_mangle]
pub extern "C" fn parents() {
    traced(|| {
        let left = info_span!("left");
        let right = info_span!("right").entered();
        let far = info_span!(parent: &left, "far");
        event!(name: "note", parent: &far, Level::INFO, r#in = "far");
        event!(name: "note", parent: &left, Level::INFO, r#in = "left");
        event!(name: "note", Level::INFO, r#in = "right");
        drop(left);
        let deep = info_span!(parent: &far, "deep").entered();
        event!(name: "note", Level::INFO, r#in = "deep");
        drop(deep);
        event!(name: "note", Level::INFO, r#in = "right again");
        drop(far);
        drop(right);
    });
}

#[derive(Debug)]
struct Failure {
    message: &'static str,
    cause: Option<Box<Failure>>,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.message)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

#[no_mangle]
pub extern "C" fn failure() {
    traced(|| {
        let cause = Failure {
            message: "no such file",
            cause: None,
        };
        let failure = Failure {
            message: "cannot render",
            cause: Some(Box::new(cause)),
        };
        error!(name: "failed", error = &failure as &(dyn Error + 'static));
    });
}

#[no_mangle]
pub extern "C" fn chatter() {
    traced(|| {
        for _ in 0..1_000_000 {
            if !event_enabled!(Level::INFO) {
                break;
            }
            event!(name: "note", Level::INFO, {});
        }
        event!(name: "alarm", Level::ERROR, {});
    });
}

#[no_mangle]
#[allow(non_snake_case)]
pub extern "C" fn lastWords() {
    traced(|| event!(name: "last words", Level::INFO, {}));
}

#[no_mangle]
pub extern "C" fn doomed() {
    traced(|| {
        let _doomed = info_span!("doomed").entered();
        drop(info_span!("finished"));
        event!(name: "before", Level::INFO, {});
        panic!("guest failed");
    });
}

#[no_mangle]
#[allow(non_snake_case)]
#[inline(never)]
extern "C" fn breakDown() {
    panic!("out of range");
}

#[no_mangle]
pub extern "C" fn uncaught() {
    traced(|| {
        event!(name: "before", Level::INFO, {});
        breakDown();
    });
}

#[no_mangle]
pub extern "C" fn stuck() {
    traced(|| {
        let _endless = info_span!("endless").entered();
        event!(name: "stuck", Level::INFO, {});
        panic!("stopped");
    });
}

#[no_mangle]
pub extern "C" fn many() {
    traced(|| {
        let _batch = info_span!("batch").entered();
        for i in 0..10_000_i64 {
            info_span!("item", i).in_scope(|| ());
        }
    });
}
