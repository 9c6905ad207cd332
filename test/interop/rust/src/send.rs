//! Runs a scenario under the genuine `TracingEventSender` and prints its events as JSON, one per line.
//!
//! Usage: `send <scenario>`, or `send fib <iterations>`.

use std::{
    error::Error,
    fmt,
    io::{self, Write},
    process::ExitCode,
};

use tracing::{debug, debug_span, error, error_span, field, info, info_span, trace, trace_span, warn};
use tracing_tunnel::TracingEventSender;

const SCENARIOS: [(&str, fn()); 9] = [
    ("nested", nested),
    ("explicit_parent", explicit_parent),
    ("follows_from", follows_from),
    ("record", record),
    ("errors", errors),
    ("values", values),
    ("non_finite", non_finite),
    ("clone_drop", clone_drop),
    ("interleaved", interleaved),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let run: Box<dyn FnOnce()> = match arguments.as_slice() {
        ["fib", count] => match count.parse() {
            Ok(count) => Box::new(move || fib(count)),
            Err(_) => return usage(),
        },
        [name] => match SCENARIOS.iter().find(|(known, _)| known == name) {
            Some((_, run)) => Box::new(run),
            None => return usage(),
        },
        _ => return usage(),
    };

    let sender = TracingEventSender::new(|event| {
        let line = serde_json::to_string(&event).expect("events always serialize");
        writeln!(io::stdout().lock(), "{line}").expect("standard output is open");
    });
    tracing::subscriber::with_default(sender, run);
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    let names: Vec<_> = SCENARIOS.iter().map(|(name, _)| *name).collect();
    eprintln!("usage: send {} | send fib <iterations>", names.join("|"));
    ExitCode::from(2)
}

fn nested() {
    let outer = info_span!("outer", depth = 0_u32);
    let in_outer = outer.enter();
    info!("in outer");
    debug_span!("middle", depth = 1_u32, label = "mid").in_scope(|| {
        trace_span!("inner", depth = 2_u32).in_scope(|| trace!(deep = true, "in inner"));
        warn!(target: "elsewhere", "back in middle");
    });
    drop(in_outer);
    info!("outside");
}

fn explicit_parent() {
    let a = info_span!("a");
    let b = info_span!("b");
    let in_b = b.enter();
    let child = info_span!(parent: &a, "child_of_a", k = 1);
    let root = info_span!(parent: None, "explicit_root");
    let contextual = info_span!("contextual");
    info!(parent: &a, "event of a");
    info!(parent: &child, x = 1_u8, "event of the child");
    info!(parent: &root, "event of the root");
    info!("event of b");
    drop(contextual);
    drop(in_b);
    drop((a, child));
    info!("after all");
}

fn follows_from() {
    let a = info_span!("a");
    let b = info_span!("b");
    let c = info_span!("c");
    b.follows_from(&a);
    c.follows_from(&a);
    c.follows_from(&b);
    c.follows_from(&b);
    drop(a);
    b.in_scope(|| info!("in b"));
}

fn record() {
    let span = info_span!("rec", a = field::Empty, b = 1_u32, c = field::Empty, d = "x");
    span.record("a", 5_i64);
    span.record("b", 2_u32);
    span.record("c", "text");
    span.record("c", field::Empty);
    span.in_scope(|| span.record("a", true));
    span.record("d", field::debug([1, 2, 3]));
    span.record("a", &Chain::of(1) as &(dyn Error + 'static));
}

fn errors() {
    let chain = Chain::of(4);
    error!(error = &chain as &(dyn Error + 'static), "with causes");
    let single = Chain::of(1);
    error_span!("failed", err = &single as &(dyn Error + 'static)).in_scope(|| {
        let number = "12x".parse::<u32>().unwrap_err();
        warn!(err = &number as &(dyn Error + 'static), shown = %number);
    });
    let unusual = Chain {
        message: "quote \" and \n and \u{0} and 🦀".into(),
        source: None,
    };
    error!(err = &unusual as &(dyn Error + 'static));
}

fn values() {
    info!(
        min = i64::MIN,
        max = i64::MAX,
        unsafe_int = 9_007_199_254_740_993_i64,
        "signed"
    );
    info!(
        min = i128::MIN,
        max = i128::MAX,
        beyond = i128::from(u64::MAX) + 1,
        "signed 128 bits"
    );
    info!(
        zero = 0_u64,
        max = u64::MAX,
        beyond = u128::from(u64::MAX) + 1,
        widest = u128::MAX,
        "unsigned"
    );
    info!(
        int = 5.0,
        half = -0.5,
        neg_zero = -0.0,
        large = f64::MAX,
        tiny = 5e-324,
        "floats"
    );
    info!(single = 0.1_f32, big = 1e21, exact = 9_007_199_254_740_992.0, "more floats");
    info!(
        yes = true,
        no = false,
        none = None::<u32>,
        some = Some(3_u32),
        empty = field::Empty,
        "options"
    );
    info!(
        text = "naïve 日本語 🦀 \u{0}\u{7f}\u{feff}",
        blank = "",
        escape = "\\ \" / \u{8}\u{c}\n\r\t",
        "strings"
    );
    info!(debug = ?vec![("a", 1)], display = %"shown", "objects");
    info!(__proto__ = 1, constructor = 2, r#type = "t", "names");
    info!(message = "a plain message", k = 1);
    info_span!("span_values", wide = u128::MAX, text = "t", object = ?[1]).in_scope(|| debug!("in span_values"));
    let _unnamed = info_span!("");
}

/// The crate writes these as null, which its own receiver refuses.
fn non_finite() {
    info!(nan = f64::NAN, inf = f64::INFINITY, neg_inf = f64::NEG_INFINITY);
    info!("after");
}

fn clone_drop() {
    let span = info_span!("cloned", n = 1_u32);
    let first = span.clone();
    let second = span.clone();
    drop(span);
    first.in_scope(|| info!("in the first clone"));
    drop(first);
    second.in_scope(|| drop(second.clone()));
    drop(second);
    info!("all closed");
}

/// Two tasks polled in turn by one executor: their spans enter and exit again and again and do not nest.
fn interleaved() {
    let scope = info_span!("executor");
    let _in_scope = scope.enter();
    let tasks = [
        info_span!("task", id = 1_u32, polls = field::Empty),
        info_span!("task", id = 2_u32, polls = field::Empty),
    ];
    let subtask = info_span!(parent: &tasks[0], "subtask");
    for poll in 0..3_u32 {
        for task in &tasks {
            let _in_task = task.enter();
            debug!(poll, "polled");
            if poll == 1 {
                subtask.in_scope(|| debug!("subtask polled"));
            }
            task.record("polls", poll + 1);
        }
    }
    let [first, second] = tasks;
    drop(first);
    second.in_scope(|| info!("last one standing"));
}

fn fib(count: u64) {
    let span = info_span!("fib", approx = field::Empty);
    let _in_span = span.enter();
    #[allow(clippy::cast_precision_loss)]
    span.record("approx", count as f64 * 1.5);
    let result = info_span!(target: "fib", "compute", count).in_scope(|| {
        let (mut x, mut y) = (0_u64, 1_u64);
        for i in 0..count {
            debug!(target: "fib", i, current = x, "performing iteration");
            (x, y) = (y, x.wrapping_add(y));
        }
        info!(target: "fib", r#return = %x);
        x
    });
    info!(result, "computed Fibonacci number");
}

#[derive(Debug)]
struct Chain {
    message: String,
    source: Option<Box<Chain>>,
}

impl Chain {
    fn of(links: usize) -> Self {
        let source = (links > 1).then(|| Box::new(Self::of(links - 1)));
        Self {
            message: format!("level {links}"),
            source,
        }
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl Error for Chain {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
