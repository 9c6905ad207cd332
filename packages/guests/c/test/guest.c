// The guest of the tests: each export is one scenario. Those of ../../assemblyscript/test/assembly/guest.ts are the same ones.
#define SPANDUCT_IMPLEMENTATION
#define SPANDUCT_BUFFER_BYTES (128 * 1024)
#include "../spanduct.h"

#ifdef __cplusplus
#define EXPORT(name) extern "C" __attribute__((export_name(#name)))
#elif defined(__wasm__)
#define EXPORT(name) __attribute__((export_name(#name)))
#else
#define EXPORT(name)
#endif

// As the twin declares them, under the same numbers.
static const char *const work_names[] = {"work", "path", "bytes", NULL};
static const char *const step_names[] = {"step", NULL};
static const char *const done_names[] = {"done", "message", "a", "b", "c", NULL};
static const char *const detail_names[] = {"detail", "message", NULL};
static spanduct_site work_site = {1, SPANDUCT_INFO, work_names, "guest::work", "guest.ts", 12, 0, 1};
static spanduct_site step_site = {1, SPANDUCT_DEBUG, step_names, "guest", NULL, 0, 0, 2};
static spanduct_site done_site = {2, SPANDUCT_INFO, done_names, "guest", NULL, 0, 0, 3};
static spanduct_site detail_site = {2, SPANDUCT_TRACE, detail_names, "guest", NULL, 0, 0, 4};

static char scratch[(1 << 20) + 1];

static const char *xs(int32_t length) {
  for (int32_t i = 0; i < length; i++) scratch[i] = 'x';
  scratch[length] = 0;
  return scratch;
}

EXPORT(setBatchBytes) void set_batch_bytes(size_t bytes) { spanduct_set_batch_bytes(bytes); }
EXPORT(droppedEvents) uint64_t dropped_events(void) { return spanduct_dropped(); }

EXPORT(spans) void spans(void) {
  const spanduct_span work = spanduct_open(&work_site, spanduct_string("README.md"), spanduct_int(300));
  spanduct_enter(work);
  const spanduct_span step = spanduct_open(&step_site);
  spanduct_follows_from(step, work);
  spanduct_clone(step);
  spanduct_close(step);
  spanduct_emit(&done_site, spanduct_string("in work"));
  spanduct_emit_in(&done_site, step, spanduct_string("in step"));
  spanduct_exit(work);
  spanduct_record(&work_site, work, 1, spanduct_int(301));
  spanduct_close(step);
  spanduct_close(work);
  const spanduct_span child = spanduct_open_in(&work_site, work, spanduct_string("of a closed one"));
  spanduct_close(child);
}

EXPORT(values) void values(void) {
  spanduct_emit(&done_site, spanduct_text("na\xc3\xafve \xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e \xf0\x9f\xa6\x80 \0", 23), spanduct_bool(true),
                spanduct_bool(false), spanduct_float(1.5));
  spanduct_emit(&done_site, spanduct_int(-1), spanduct_uint(255), spanduct_int(-300), spanduct_uint(65535));
  spanduct_emit(&done_site, spanduct_int(INT32_MIN), spanduct_uint(UINT32_MAX), spanduct_int(INT64_MIN), spanduct_uint(UINT64_MAX));
  spanduct_emit(&done_site, spanduct_int(INT64_MAX), spanduct_float(-0.0), spanduct_float(__builtin_nan("")), spanduct_float(0.1f));
  spanduct_emit(&done_site, spanduct_string(""), spanduct_string(NULL), spanduct_float(-__builtin_inf()), spanduct_int(0));
  spanduct_emit(&done_site, spanduct_string("lone \xef\xbf\xbd surrogate"), spanduct_string("\xef\xbf\xbd"));
  spanduct_emit(&done_site);
}

EXPORT(errors) void errors(void) {
  const spanduct_error inner = {"inner", NULL, NULL, NULL};
  const spanduct_error outer = {"outer", "IOError", NULL, &inner};
  spanduct_emit(&done_site, spanduct_string("failed"), spanduct_error_value(&outer));
  spanduct_error chain[20];
  char messages[20][8];
  for (int i = 0; i < 20; i++) {
    char *at = messages[i];
    for (const char *text = "link "; *text != 0; text++) *at++ = *text;
    if (i >= 9) *at++ = (char)('0' + (i + 1) / 10);
    *at++ = (char)('0' + (i + 1) % 10);
    *at = 0;
    chain[i].message = messages[i];
    chain[i].type = chain[i].stack = NULL;
    chain[i].source = i < 19 ? &chain[i + 1] : NULL;
  }
  spanduct_emit(&done_site, spanduct_string("deep"), spanduct_error_value(chain));
  spanduct_error circle = {"circle", NULL, NULL, NULL};
  circle.source = &circle;
  spanduct_emit(&done_site, spanduct_string("endless"), spanduct_error_value(&circle));
}

EXPORT(text) void text(int32_t length) { spanduct_emit(&done_site, spanduct_string(xs(length))); }

EXPORT(detail) void detail(void) { spanduct_emit(&detail_site, spanduct_string("low")); }

EXPORT(filteredSpan) void filtered_span(void) {
  const spanduct_span step = spanduct_open(&step_site);
  spanduct_enter(step);
  const spanduct_span work = spanduct_open_in(&work_site, step, spanduct_string("still sent"));
  spanduct_clone(step);
  spanduct_exit(step);
  spanduct_close(step);
  spanduct_close(work);
}

static int64_t workflow_time = 5;

static int64_t read_workflow_time(void) { return workflow_time = (int64_t)((uint64_t)workflow_time + 7); }

EXPORT(workflowClock) void workflow_clock(int64_t step) {
  spanduct_set_clock(read_workflow_time, SPANDUCT_LOGICAL);
  workflow_time = (int64_t)((uint64_t)workflow_time + (uint64_t)step);
}

EXPORT(many) void many(int32_t count) {
  for (int32_t i = 0; i < count; i++) {
    const spanduct_span span = spanduct_open(&work_site, spanduct_string("hot path"), spanduct_int(i));
    spanduct_enter(span);
    spanduct_exit(span);
    spanduct_close(span);
  }
}

// What follows has no twin.

EXPORT(fail) void fail(void) {
  spanduct_enter(spanduct_open(&work_site, spanduct_string("about to fail")));
  spanduct_abort("out of luck");
}

EXPORT(kinds) void kinds(void) {
  const spanduct_error error = {"outer", "IOError", "at main", NULL};
  const spanduct_error nothing = {NULL, NULL, NULL, NULL};
  spanduct_emit(&done_site, spanduct_object("Point { x: 1 }"), spanduct_error_value(&error), spanduct_error_value(&nothing), spanduct_none());
  spanduct_emit(&done_site, spanduct_wide_int(INT64_MIN, 0), spanduct_wide_int(-1, 0), spanduct_wide_int(-1, 1), spanduct_wide_int(0, UINT64_MAX));
  spanduct_emit(&done_site, spanduct_wide_int(-1, (uint64_t)1 << 63), spanduct_wide_int(0, 5), spanduct_wide_uint(0, UINT64_MAX), spanduct_wide_uint(1, 0));
  spanduct_emit(&done_site, spanduct_wide_uint(UINT64_MAX, UINT64_MAX), spanduct_object(NULL), spanduct_error_value(NULL), spanduct_int(1));
}

EXPORT(numbers) void numbers(int64_t value, double real) {
  spanduct_emit(&done_site, spanduct_int(value), spanduct_uint((uint64_t)value), spanduct_float(real));
}

EXPORT(scratchAt) char *scratch_at(void) { return scratch; }

EXPORT(bytes) void bytes(size_t length) { spanduct_emit(&done_site, spanduct_text(scratch, length)); }

EXPORT(useBuffer) void use_buffer(size_t length) {
  static char buffer[64 * 1024];
  spanduct_use_buffer(buffer, length);
}

EXPORT(control) void control(int32_t word) { spanduct_control(word); }

// A clock that traces, and one that does not come back.
static int64_t read_tracing(void) {
  spanduct_emit(&detail_site, spanduct_string("from the clock"));
  return 1;
}

static int64_t read_trapping(void) { __builtin_trap(); }

EXPORT(tracingClock) void tracing_clock(void) { spanduct_set_clock(read_tracing, SPANDUCT_WALL); }
EXPORT(trappingClock) void trapping_clock(void) { spanduct_set_clock(read_trapping, SPANDUCT_WALL); }
EXPORT(noClock) void no_clock(void) { spanduct_set_clock(NULL, SPANDUCT_NO_CLOCK); }

// An event with the header of a span; 0 for the host's.
EXPORT(header) void header(uint64_t span) {
  char text[56];
  const bool known = spanduct_traceparent(span, text);
  spanduct_emit(&done_site, spanduct_string(text), spanduct_bool(known));
}

#ifdef __wasm__
EXPORT(hostClock) void host_clock(void) { spanduct_set_clock(spanduct_now, SPANDUCT_WALL); }
#endif
