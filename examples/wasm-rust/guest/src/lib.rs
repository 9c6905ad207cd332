use tracing::{info, info_span, warn};
use tracing_tunnel::{TracingEvent, TracingEventSender};

#[link(wasm_import_module = "tracing")]
extern "C" {
    fn send_event(json: *const u8, length: usize);
}

fn send(event: TracingEvent) {
    let json = serde_json::to_vec(&event).expect("events always serialize");
    // SAFETY: the host reads those bytes before it returns.
    unsafe { send_event(json.as_ptr(), json.len()) };
}

/// The number of steps until the Collatz sequence from `start` reaches 1.
#[no_mangle]
pub extern "C" fn collatz(start: u32) -> u32 {
    tracing::subscriber::with_default(TracingEventSender::new(send), || {
        let span = info_span!("collatz", start, steps = tracing::field::Empty).entered();
        let (mut number, mut steps) = (start, 0);
        while number != 1 {
            number = if number % 2 == 0 {
                number / 2
            } else {
                number.checked_mul(3).expect("too large") + 1
            };
            steps += 1;
            if number > 1 << 31 {
                warn!(steps, number, "growing");
            }
        }
        span.record("steps", steps);
        info!("done");
        steps
    })
}
