//! The programs as a command for WASI: the first argument says which.

use std::process::ExitCode;

use spanduct_wasm_guest::{chatter, doomed, failure, lastWords, many, nested, parents, stuck, traced, uncaught};
use tracing::info_span;

fn console() {
    traced(|| {
        let _talking = info_span!("talking").entered();
        println!("hello");
        eprintln!("it broke");
    });
}

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("nested") => nested(),
        Some("parents") => parents(),
        Some("uncaught") => uncaught(),
        Some("failure") => failure(),
        Some("chatter") => chatter(),
        Some("lastWords") => lastWords(),
        Some("doomed") => doomed(),
        Some("stuck") => stuck(),
        Some("many") => many(),
        Some("console") => console(),
        _ => return ExitCode::from(3),
    }
    ExitCode::SUCCESS
}
