/*
 * spanduct.h: takes spans and events out of a sandbox, in C11 or C++11, without a C library and without an allocation. See README.md.
 *
 * Include it where you trace, and in exactly one file say before that
 *
 *     #define SPANDUCT_IMPLEMENTATION
 *
 * Nothing here fails into the application: what cannot be sent is counted, and the host is told. One sender per module, one thread.
 */
#ifndef SPANDUCT_H
#define SPANDUCT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The part of the system that call sites belong to; OpenTelemetry's instrumentation scope. Define it anew where it changes. */
#ifndef SPANDUCT_TARGET
#define SPANDUCT_TARGET "guest"
#endif

#ifdef __cplusplus
#define SPANDUCT_NORETURN_ [[noreturn]]
extern "C" {
#else
#define SPANDUCT_NORETURN_ _Noreturn
#endif

/* Verbosity; greater is more verbose. */
enum spanduct_level { SPANDUCT_OFF, SPANDUCT_ERROR, SPANDUCT_WARN, SPANDUCT_INFO, SPANDUCT_DEBUG, SPANDUCT_TRACE };

/* What the guest's times mean. SPANDUCT_LOGICAL is the time of a workflow, the same at every replay. */
enum spanduct_clock { SPANDUCT_WALL = 1, SPANDUCT_FROZEN, SPANDUCT_LOGICAL, SPANDUCT_NO_CLOCK };

/* An open span: its number; 0 for one that was filtered out, with which nothing happens. */
typedef uint64_t spanduct_span;

/* One place in the code that opens spans or emits events. */
typedef struct spanduct_site {
  uint32_t kind;            /* 1 for spans, 2 for events */
  uint32_t level;           /* enum spanduct_level */
  const char *const *names; /* its own, those of its values, NULL */
  const char *target, *file; /* file: NULL where it is not known */
  uint32_t line;            /* from 1; 0 where it is not known */
  uint32_t epoch;           /* the library's: 0 at first */
  uint64_t id;              /* the library's: 0 at first */
} spanduct_site;

/*
 * Declare a call site, at the top of a file or of a function. Values are then given in the order of their names:
 *
 *     SPANDUCT_SPAN(sum_site, SPANDUCT_INFO, "sum", "count", "result");
 *     spanduct_span span = spanduct_open(&sum_site, spanduct_int(4));
 */
#define SPANDUCT_SPAN(variable, level, ...) SPANDUCT_SITE_(variable, 1, level, __VA_ARGS__)
#define SPANDUCT_EVENT(variable, level, ...) SPANDUCT_SITE_(variable, 2, level, __VA_ARGS__)
#define SPANDUCT_SITE_(variable, kind, level, ...)                    \
  static const char *const variable##_names_[] = {__VA_ARGS__, NULL}; \
  static spanduct_site variable = {kind, level, variable##_names_, SPANDUCT_TARGET, __FILE__, __LINE__, 0, 0}

/* An error with what caused it. `type` is its class. What is not known is NULL. */
typedef struct spanduct_error {
  const char *message, *type, *stack;
  const struct spanduct_error *source;
} spanduct_error;

/* A value, made by the functions below. What it points to is read before the call that takes it returns. */
typedef struct spanduct_value {
  uint32_t tag; /* of its member of `Value.value`; 0 leaves the field out, 1 ends a list */
  const void *pointer;
  uint64_t low, high;
} spanduct_value;

static inline spanduct_value spanduct_value_(uint32_t tag, const void *pointer, uint64_t low, uint64_t high) {
  const spanduct_value value = {tag, pointer, low, high};
  return value;
}
static inline spanduct_value spanduct_end_(void) { return spanduct_value_(1, NULL, 0, 0); }

/* Leaves its field out. So does NULL, where a pointer is asked for. */
static inline spanduct_value spanduct_none(void) { return spanduct_value_(0, NULL, 0, 0); }
static inline spanduct_value spanduct_bool(bool value) { return spanduct_value_(0x18, NULL, value ? 1 : 0, 0); }
static inline spanduct_value spanduct_int(int64_t value) { return spanduct_value_(0x20, NULL, (uint64_t)value, 0); }
static inline spanduct_value spanduct_uint(uint64_t value) { return spanduct_value_(0x28, NULL, value, 0); }
static inline spanduct_value spanduct_float(double value) {
  const union { double real; uint64_t bits; } number = {value};
  return spanduct_value_(0x31, NULL, number.bits, 0);
}
/* Text of `length` bytes. What is not UTF-8 becomes U+FFFD. */
static inline spanduct_value spanduct_text(const char *text, size_t length) {
  return spanduct_value_(text == NULL ? 0 : 0x3a, text, length, 0);
}
static inline spanduct_value spanduct_string(const char *text) {
  size_t length = 0;
  while (text != NULL && text[length] != 0) length++;
  return spanduct_text(text, length);
}
/* The debug form of something that has no type here. */
static inline spanduct_value spanduct_object(const char *text) {
  return spanduct_value_(text == NULL ? 0 : 0x42, text, spanduct_string(text).low, 0);
}
/* Becomes an exception of the span or event. */
static inline spanduct_value spanduct_error_value(const spanduct_error *error) {
  return spanduct_value_(error == NULL ? 0 : 0x4a, error, 0, 0);
}
/* Integers of 128 bits. */
static inline spanduct_value spanduct_wide_int(int64_t high, uint64_t low) {
  return spanduct_value_((uint64_t)high == 0 - (low >> 63) ? 0x20 : 0x52, NULL, low, (uint64_t)high);
}
static inline spanduct_value spanduct_wide_uint(uint64_t high, uint64_t low) {
  return spanduct_value_(high == 0 ? 0x28 : 0x5a, NULL, low, high);
}

/* Whether the host wants what comes from here: ask before computing values that cost something. */
bool spanduct_enabled(const spanduct_site *site);

/*
 * spanduct_open(site, values…), spanduct_open_in(site, parent, values…): open a span in the one that was entered last, or in `parent`.
 * spanduct_emit(site, values…), spanduct_emit_in(site, parent, values…): emit an event, likewise.
 * spanduct_record(site, span, field, values…): give a span of `site` values, or replace them, from the index `field` of its names on.
 *
 * They make lists of the values for these. A `parent` of 0 is the span that was entered last.
 */
spanduct_span spanduct_open_list(spanduct_site *site, spanduct_span parent, const spanduct_value *values);
void spanduct_emit_list(spanduct_site *site, spanduct_span parent, const spanduct_value *values);
void spanduct_record_list(spanduct_site *site, spanduct_span span, uint32_t field, const spanduct_value *values);

/* What follows happens in this span, until it is exited. */
void spanduct_enter(spanduct_span span);
/* Leave a span that was entered; it stays open. */
void spanduct_exit(spanduct_span span);
/* Hold one more handle: a span ends once it has been closed as often as it was opened and cloned. */
spanduct_span spanduct_clone(spanduct_span span);
/* Give up a handle; without handles the span ends. */
void spanduct_close(spanduct_span span);
/* Say that `cause` led to `span` without enclosing it. */
void spanduct_follows_from(spanduct_span span, spanduct_span cause);

/* A run begins. Exported; the host calls it, with a control word. */
void spanduct_begin(int32_t word);
/* Deliver what is batched. Exported; the host calls it at the end of a run, also when the run trapped. */
void spanduct_flush(void);
/* Take a control word that came on a way of its own. Anything else is ignored. */
void spanduct_control(int32_t word);
/* Send a batch once it holds so many bytes. Default half of the buffer; 1 sends each event at once. */
void spanduct_set_batch_bytes(size_t bytes);
/* Give the library another buffer, for good. An event that does not fit is dropped. Default: SPANDUCT_BUFFER_BYTES of its own. */
void spanduct_use_buffer(void *buffer, size_t bytes);
/* Give events times. Without it the host stamps them as they arrive. @param read nanoseconds since the Unix epoch */
void spanduct_set_clock(int64_t (*read)(void), enum spanduct_clock meaning);
/* Events that were dropped. The host is told with the next batch. */
uint64_t spanduct_dropped(void);

/*
 * The W3C `traceparent` of a span, for what the guest calls; that of the host's span for 0 and for spans of earlier runs.
 *
 * @param text receives 55 characters and a NUL; the NUL alone where the host has no span above the guest
 * @return whether there is one
 */
bool spanduct_traceparent(spanduct_span span, char text[56]);

/* Emit why the guest cannot go on, deliver it, and trap. */
#define spanduct_abort(reason) spanduct_abort_at((reason), __FILE__, __LINE__)
SPANDUCT_NORETURN_ void spanduct_abort_at(const char *reason, const char *file, uint32_t line);

#ifdef __wasm__
/* The host's functions. Each is imported only where it is used. `spanduct_now`: real time, for `spanduct_set_clock`. */
__attribute__((import_module("spanduct"), import_name("now"))) int64_t spanduct_now(void);
__attribute__((import_module("spanduct"), import_name("send"))) int32_t spanduct_send(const void *batch, size_t length);
__attribute__((import_module("spanduct"), import_name("trace_context"))) int32_t spanduct_trace_context(char *text, size_t capacity);
#endif

#ifdef __cplusplus
}
template <typename... Values> void spanduct_record(spanduct_site *site, spanduct_span span, uint32_t field, Values... values) {
  const spanduct_value list[] = {values..., spanduct_end_()};
  spanduct_record_list(site, span, field, list);
}
template <typename... Values> spanduct_span spanduct_open_in(spanduct_site *site, spanduct_span parent, Values... values) {
  const spanduct_value list[] = {values..., spanduct_end_()};
  return spanduct_open_list(site, parent, list);
}
template <typename... Values> void spanduct_emit_in(spanduct_site *site, spanduct_span parent, Values... values) {
  const spanduct_value list[] = {values..., spanduct_end_()};
  spanduct_emit_list(site, parent, list);
}
template <typename... Values> spanduct_span spanduct_open(spanduct_site *site, Values... values) {
  return spanduct_open_in(site, 0, values...);
}
template <typename... Values> void spanduct_emit(spanduct_site *site, Values... values) { spanduct_emit_in(site, 0, values...); }
#else
#define spanduct_open(...) spanduct_open_list(SPANDUCT_FIRST_(__VA_ARGS__, 0), 0, SPANDUCT_REST_(__VA_ARGS__, spanduct_end_()))
#define spanduct_emit(...) spanduct_emit_list(SPANDUCT_FIRST_(__VA_ARGS__, 0), 0, SPANDUCT_REST_(__VA_ARGS__, spanduct_end_()))
#define spanduct_open_in(site, ...) \
  spanduct_open_list(site, SPANDUCT_FIRST_(__VA_ARGS__, 0), SPANDUCT_REST_(__VA_ARGS__, spanduct_end_()))
#define spanduct_emit_in(site, ...) \
  spanduct_emit_list(site, SPANDUCT_FIRST_(__VA_ARGS__, 0), SPANDUCT_REST_(__VA_ARGS__, spanduct_end_()))
#define spanduct_record(site, span, ...) \
  spanduct_record_list(site, span, SPANDUCT_FIRST_(__VA_ARGS__, 0), SPANDUCT_REST_(__VA_ARGS__, spanduct_end_()))
#define SPANDUCT_FIRST_(first, ...) first
#define SPANDUCT_REST_(first, ...) ((const spanduct_value[]){__VA_ARGS__})
#endif

#endif

#if defined(SPANDUCT_IMPLEMENTATION) && !defined(SPANDUCT_IMPLEMENTED)
#define SPANDUCT_IMPLEMENTED

/*
 * What may be defined beside SPANDUCT_IMPLEMENTATION:
 *
 * - SPANDUCT_BUFFER_BYTES: size of the buffer that the library brings along; 0 where `spanduct_use_buffer` gives one.
 * - SPANDUCT_RING_BYTES: a power of two from 64 on. To a host that looks for the ring each event is visible at once, and not lost
 *   with a guest that is killed; see proto/README.md#ring.
 * - SPANDUCT_SEND: (const void *batch, size_t length), the narrow function: takes a batch, returns the host's control word or 0.
 * - SPANDUCT_TRACE_CONTEXT: (char *text, size_t capacity), in place of the import `spanduct.trace_context`.
 */
#ifndef SPANDUCT_BUFFER_BYTES
#define SPANDUCT_BUFFER_BYTES 32768
#endif
#ifdef __wasm__
#define SPANDUCT_EXPORT_(name) __attribute__((export_name(name)))
#ifndef SPANDUCT_SEND
#define SPANDUCT_SEND spanduct_send
#endif
#ifndef SPANDUCT_TRACE_CONTEXT
#define SPANDUCT_TRACE_CONTEXT spanduct_trace_context
#endif
#else
#define SPANDUCT_EXPORT_(name)
#ifndef SPANDUCT_SEND
#error "define SPANDUCT_SEND, the function that takes a batch"
#endif
#endif

#ifdef __clang__
/* Loops stay loops: there may be no C library with the functions that a compiler would call instead. */
#pragma clang attribute push(__attribute__((no_builtin)), apply_to = function)
#endif
#ifdef __cplusplus
extern "C" {
#endif

/* Errors kept of a chain of causes, as many as hosts keep. Counting the rest ends somewhere: a chain may bite its own tail. */
enum { SPANDUCT_MAX_CAUSES_ = 16, SPANDUCT_MAX_LINKS_ = 1000 };
/* Times of a batch lie closer than this to its base, about 52 days: half of what a host accepts. */
#define SPANDUCT_MAX_TIME_SPAN_ ((uint64_t)1 << 52)

static uint8_t spanduct_buffer_[SPANDUCT_BUFFER_BYTES + 1];
static struct {
  uint8_t *bytes;
  size_t capacity, batch_bytes;
  int64_t (*read_time)(void);
  uint32_t clock;
  uint32_t max_level;
  uint32_t epoch;                  /* counts requests to announce: a call site announced under an earlier number is announced again */
  bool busy;                       /* what the clock or the narrow function trace while they are at work is dropped */
  bool overflow;                   /* something did not fit since `position` was last set */
  size_t position;                 /* where the next byte goes */
  size_t header, committed;        /* where the header of the batch at hand ends, and its last event; 0: there is no batch */
  uint64_t base_time, last_time;   /* of the batch, and of its last event */
  uint64_t sequence, dropped;
  uint64_t told;                   /* drops that the last batch tells of */
  uint64_t last_site, last_span;
  uint64_t earlier_spans;          /* up to this number they belong to earlier runs */
} spanduct_ = {spanduct_buffer_, SPANDUCT_BUFFER_BYTES, SPANDUCT_BUFFER_BYTES / 2, NULL, SPANDUCT_NO_CLOCK, SPANDUCT_TRACE, 1, false,
               false, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};

/* The protobuf form of proto/spanduct/v1/tunnel.proto. Tags are `field << 3 | wire type`. */

static void spanduct_write_byte_(uint64_t byte) {
  if (spanduct_.position < spanduct_.capacity) spanduct_.bytes[spanduct_.position++] = (uint8_t)byte;
  else spanduct_.overflow = true;
}

static void spanduct_write_varint_(uint64_t value) {
  for (; value > 0x7f; value >>= 7) spanduct_write_byte_(value | 0x80);
  spanduct_write_byte_(value);
}

static void spanduct_write_zigzag_(uint64_t value) { spanduct_write_varint_((value << 1) ^ (0 - (value >> 63))); }

static void spanduct_write_fixed_(uint64_t value) {
  for (int i = 0; i < 8; i++) spanduct_write_byte_(value >> (8 * i));
}

/* Zero is the default and not written. */
static void spanduct_write_id_(uint32_t tag, uint64_t id) {
  if (id == 0) return;
  spanduct_write_byte_(tag);
  spanduct_write_varint_(id);
}

/* Begin a message or a text: a tag and one byte for its length. */
static size_t spanduct_begin_(uint32_t tag) {
  spanduct_write_byte_(tag);
  spanduct_write_byte_(0);
  return spanduct_.position;
}

/* Fill in the length that `spanduct_begin_` left open; 128 bytes or more move up to make place for it. */
static void spanduct_end_of_(size_t start) {
  const size_t length = spanduct_.position - start;
  size_t wider = 0;
  for (size_t rest = length; rest > 0x7f; rest >>= 7) wider++;
  if (wider > spanduct_.capacity - spanduct_.position) spanduct_.overflow = true;
  if (spanduct_.overflow) return;
  if (wider > 0) {
    for (size_t i = spanduct_.position; i-- > start;) spanduct_.bytes[i + wider] = spanduct_.bytes[i];
  }
  spanduct_.position = start - 1;
  spanduct_write_varint_(length);
  spanduct_.position += length;
}

/* What is not UTF-8 becomes U+FFFD, as in browsers: one for the longest beginning of a character, else for each byte. */
static void spanduct_write_text_(uint32_t tag, const void *from, size_t length) {
  const uint8_t *text = (const uint8_t *)from;
  const size_t start = spanduct_begin_(tag);
  for (size_t i = 0; i < length && !spanduct_.overflow;) {
    const uint8_t lead = text[i];
    const size_t more = lead < 0xc2 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf5 ? 3 : 0;
    uint8_t least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    uint8_t most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    size_t end = i + 1;
    for (; end < length && end - i <= more && text[end] >= least && text[end] <= most; end++) least = 0x80, most = 0xbf;
    const bool whole = lead < 0x80 || (more > 0 && end - i > more);
    for (; whole && i < end; i++) spanduct_write_byte_(text[i]);
    for (uint32_t shift = 24; !whole && shift > 0; shift -= 8) spanduct_write_byte_(0xefbfbd >> (shift - 8));
    i = end;
  }
  spanduct_end_of_(start);
}

static void spanduct_write_string_(uint32_t tag, const char *text) {
  if (text != NULL) spanduct_write_text_(tag, text, (size_t)spanduct_string(text).low);
}

static void spanduct_write_error_(const spanduct_error *error) {
  const size_t start = spanduct_begin_(0x4a);
  uint32_t links = 0;
  for (; error != NULL && links < SPANDUCT_MAX_LINKS_; error = error->source) {
    if (links++ >= SPANDUCT_MAX_CAUSES_) continue;
    const size_t cause = spanduct_begin_(0x0a);
    spanduct_write_string_(0x0a, error->message == NULL ? "" : error->message);
    spanduct_write_string_(0x12, error->type);
    spanduct_write_string_(0x1a, error->stack);
    spanduct_end_of_(cause);
  }
  if (links > SPANDUCT_MAX_CAUSES_) spanduct_write_id_(0x10, links - SPANDUCT_MAX_CAUSES_);
  spanduct_end_of_(start);
}

static void spanduct_write_value_(uint32_t tag, uint32_t field, const spanduct_value *value) {
  if (value->tag == 0) return;
  const size_t start = spanduct_begin_(tag);
  spanduct_write_id_(0x08, field);
  if (value->tag == 0x3a || value->tag == 0x42) {
    spanduct_write_text_(value->tag, value->pointer, (size_t)value->low);
  } else if (value->tag == 0x4a) {
    spanduct_write_error_((const spanduct_error *)value->pointer);
  } else {
    const bool wide = (value->tag & 7) == 2;
    spanduct_write_byte_(value->tag);
    if (wide) spanduct_write_byte_(16);
    if (value->tag == 0x20) spanduct_write_zigzag_(value->low);
    else if ((value->tag & 7) == 0) spanduct_write_varint_(value->low);
    else spanduct_write_fixed_(value->low);
    if (wide) spanduct_write_fixed_(value->high);
  }
  spanduct_end_of_(start);
}

static void spanduct_write_site_(const spanduct_site *site) {
  const size_t event = spanduct_begin_(0x32);
  const size_t message = spanduct_begin_(0x12);
  spanduct_write_id_(0x08, site->id);
  spanduct_write_id_(0x10, site->kind);
  spanduct_write_id_(0x18, site->level);
  spanduct_write_string_(0x22, site->names[0]);
  spanduct_write_string_(0x2a, site->target);
  spanduct_write_string_(0x3a, site->file);
  spanduct_write_id_(0x40, site->line);
  for (size_t i = 1; site->names[i] != NULL; i++) spanduct_write_string_(0x4a, site->names[i]);
  spanduct_end_of_(message);
  spanduct_end_of_(event);
}

static void spanduct_begin_batch_(uint64_t time) {
  spanduct_.position = 0;
  spanduct_.overflow = false;
  spanduct_.base_time = spanduct_.last_time = time;
  spanduct_.told = spanduct_.dropped;
  spanduct_write_id_(0x08, 1);
  spanduct_write_id_(0x10, spanduct_.clock);
  spanduct_write_byte_(0x19);
  spanduct_write_fixed_(time);
  spanduct_write_id_(0x20, spanduct_.sequence);
  spanduct_write_id_(0x28, spanduct_.dropped);
  spanduct_.header = spanduct_.committed = spanduct_.overflow ? 0 : spanduct_.position;
}

#ifdef SPANDUCT_RING_BYTES
typedef char spanduct_ring_bytes_is_a_power_of_two_[(SPANDUCT_RING_BYTES & (SPANDUCT_RING_BYTES - 1)) == 0 ? 1 : -1];
/* Indices of words. */
enum {
  SPANDUCT_WRITTEN_ = 16, SPANDUCT_READ_ = 32, SPANDUCT_CONTROL_, SPANDUCT_ANNOUNCE_, SPANDUCT_CLOSED_, SPANDUCT_DATA_ = 48
};

/* The words of the header, then the data. */
static volatile uint32_t spanduct_ring_words_[SPANDUCT_DATA_ + SPANDUCT_RING_BYTES / 4];
static struct {
  bool used;           /* the host knows of the ring */
  uint32_t start, end; /* of the newest record */
  uint32_t length;     /* how much of the batch at hand is in that; 0: nothing, it belongs to an earlier batch */
  uint32_t announced;  /* requests to announce that were met */
} spanduct_ring_;

SPANDUCT_EXPORT_("spanduct_ring") volatile uint32_t *spanduct_ring(void) {
  spanduct_ring_.used = true;
  spanduct_ring_words_[0] = 0x31525053;
  spanduct_ring_words_[1] = SPANDUCT_RING_BYTES;
  return spanduct_ring_words_;
}

/* Let the host see the batch at hand up to `length`. @return false: there is no room */
static bool spanduct_publish_(size_t length) {
  if (!spanduct_ring_.used) return true;
  if (length > SPANDUCT_RING_BYTES || spanduct_ring_words_[SPANDUCT_CLOSED_] != 0) return false;
  const uint32_t start = spanduct_ring_.length == 0 ? spanduct_ring_.end : spanduct_ring_.start;
  const uint32_t end = start + 4 + (((uint32_t)length + 3) & ~(uint32_t)3);
  if (end - spanduct_ring_words_[SPANDUCT_READ_] > SPANDUCT_RING_BYTES) return false;
  volatile uint8_t *data = (volatile uint8_t *)&spanduct_ring_words_[SPANDUCT_DATA_];
  for (uint32_t i = spanduct_ring_.length; i < length; i++) data[(start + 4 + i) % SPANDUCT_RING_BYTES] = spanduct_.bytes[i];
  spanduct_ring_words_[SPANDUCT_DATA_ + start % SPANDUCT_RING_BYTES / 4] = (uint32_t)length;
  if (spanduct_ring_.length == 0) spanduct_ring_words_[SPANDUCT_WRITTEN_] = end;
  spanduct_ring_.start = start;
  spanduct_ring_.end = end;
  spanduct_ring_.length = (uint32_t)length;
  return true;
}

/* Whether the host has taken what there is of the batch at hand, so that nothing more can be added. */
static bool spanduct_is_taken_(void) {
  const uint32_t word = spanduct_ring_words_[SPANDUCT_DATA_ + spanduct_ring_.start % SPANDUCT_RING_BYTES / 4];
  return spanduct_ring_.length > 0 && word != spanduct_ring_.length;
}

static void spanduct_poll_(void) {
  if (!spanduct_ring_.used) return;
  const uint32_t announce = spanduct_ring_words_[SPANDUCT_ANNOUNCE_];
  spanduct_control((int32_t)(spanduct_ring_words_[SPANDUCT_CONTROL_] | (announce == spanduct_ring_.announced ? 0 : 8)));
  spanduct_ring_.announced = announce;
}
#else
static bool spanduct_publish_(size_t length) { return (void)length, true; }
static bool spanduct_is_taken_(void) { return false; }
static void spanduct_poll_(void) {}
#endif

/* The batch at hand is complete: send it. What is in the ring goes by itself, but can be sent for. */
static void spanduct_end_batch_(bool now) {
  size_t length = spanduct_.committed;
  if (length == 0) return;
  spanduct_.header = spanduct_.committed = 0;
  spanduct_.sequence++;
#ifdef SPANDUCT_RING_BYTES
  if (spanduct_ring_.length > 0) {
    spanduct_ring_.length = 0;
    length = 0;
  }
#endif
  if (length > 0 || now) spanduct_control(SPANDUCT_SEND(spanduct_.bytes, length));
}

static bool spanduct_is_far_(uint64_t time) {
  const uint64_t forth = time - spanduct_.base_time;
  return forth >= SPANDUCT_MAX_TIME_SPAN_ && 0 - forth >= SPANDUCT_MAX_TIME_SPAN_;
}

/*
 * Write one event, after the batch's header and the call site where these are due, and send the batch when it is time.
 *
 * @param tag its member of `Event.kind`
 * @param one its field 1, or all there is to it; `two`, `three`: fields 2 and 3, not written when they are 0
 * @param field index of the first of `values`
 * @return whether it is on its way; if not it was counted
 */
static bool spanduct_event_(uint32_t tag, spanduct_site *site, uint64_t one, uint64_t two, uint64_t three, uint32_t values_tag,
                            uint32_t field, const spanduct_value *values) {
  if (spanduct_.busy) {
    spanduct_.dropped++;
    return false;
  }
  spanduct_.busy = true;
  const uint64_t time = spanduct_.read_time == NULL ? 0 : (uint64_t)spanduct_.read_time();
  if (spanduct_is_taken_() || (spanduct_.header != 0 && spanduct_is_far_(time))) spanduct_end_batch_(false);
  bool fits, published = false;
  for (;;) {
    if (spanduct_.header == 0) spanduct_begin_batch_(time);
    spanduct_.position = spanduct_.committed;
    spanduct_.overflow = spanduct_.header == 0;
    if (site != NULL && site->epoch != spanduct_.epoch) spanduct_write_site_(site);
    const size_t event = spanduct_begin_(0x32);
    if (spanduct_.read_time != NULL) {
      spanduct_write_byte_(0x08);
      spanduct_write_zigzag_(time - spanduct_.last_time);
    }
    if ((tag & 7) == 0) {
      spanduct_write_byte_(tag);
      spanduct_write_varint_(one);
    } else {
      const size_t message = spanduct_begin_(tag);
      spanduct_write_id_(0x08, one);
      spanduct_write_id_(0x10, two);
      spanduct_write_id_(0x18, three);
      for (uint32_t i = 0; values != NULL && values[i].tag != 1; i++) spanduct_write_value_(values_tag, field + i, &values[i]);
      spanduct_end_of_(message);
    }
    spanduct_end_of_(event);
    fits = !spanduct_.overflow;
    if (fits) published = spanduct_publish_(spanduct_.position);
    if (published || spanduct_.committed == spanduct_.header) break;
    /* Once more, without what came before: in the buffer, or in the ring. */
    spanduct_end_batch_(fits);
  }
  if (fits) {
    spanduct_.committed = spanduct_.position;
    spanduct_.last_time = time;
    if (site != NULL) site->epoch = spanduct_.epoch;
  } else {
    /* The batch is empty: begin anew, with this count. */
    spanduct_.dropped++;
    spanduct_.header = spanduct_.committed = 0;
  }
  if (!published || spanduct_.committed >= spanduct_.batch_bytes) spanduct_end_batch_(false);
  spanduct_.busy = false;
  return fits;
}

static void spanduct_span_event_(uint32_t tag, spanduct_span span) {
  if (span != 0) spanduct_event_(tag, NULL, span, 0, 0, 0, 0, NULL);
}

void spanduct_enter(spanduct_span span) { spanduct_span_event_(0x28, span); }

void spanduct_exit(spanduct_span span) { spanduct_span_event_(0x30, span); }

spanduct_span spanduct_clone(spanduct_span span) { return spanduct_span_event_(0x38, span), span; }

void spanduct_close(spanduct_span span) { spanduct_span_event_(0x40, span); }

void spanduct_follows_from(spanduct_span span, spanduct_span cause) {
  if (span != 0 && cause != 0) spanduct_event_(0x22, NULL, span, cause, 0, 0, 0, NULL);
}

bool spanduct_enabled(const spanduct_site *site) {
  spanduct_poll_();
  return site->level <= spanduct_.max_level;
}

static uint64_t spanduct_id_of_(spanduct_site *site) {
  if (site->id == 0) site->id = ++spanduct_.last_site;
  return site->id;
}

spanduct_span spanduct_open_list(spanduct_site *site, spanduct_span parent, const spanduct_value *values) {
  const spanduct_span span = spanduct_.last_span + 1;
  if (!spanduct_enabled(site) || !spanduct_event_(0x1a, site, span, parent, spanduct_id_of_(site), 0x22, 0, values)) return 0;
  return spanduct_.last_span = span;
}

void spanduct_emit_list(spanduct_site *site, spanduct_span parent, const spanduct_value *values) {
  if (spanduct_enabled(site)) spanduct_event_(0x52, site, spanduct_id_of_(site), parent, 0, 0x1a, 0, values);
}

void spanduct_record_list(spanduct_site *site, spanduct_span span, uint32_t field, const spanduct_value *values) {
  if (span != 0) spanduct_event_(0x4a, site, span, 0, 0, 0x12, field, values);
}

SPANDUCT_EXPORT_("spanduct_begin") void spanduct_begin(int32_t word) {
  spanduct_control(word);
  spanduct_.earlier_spans = spanduct_.last_span;
}

SPANDUCT_EXPORT_("spanduct_flush") void spanduct_flush(void) {
  const bool inside = spanduct_.busy;
  spanduct_.busy = true;
  spanduct_end_batch_(!spanduct_is_taken_());
  if (!inside && spanduct_.dropped > spanduct_.told) {
    spanduct_begin_batch_(spanduct_.read_time == NULL ? 0 : (uint64_t)spanduct_.read_time());
    spanduct_end_batch_(true);
  }
  /* Also where a trap in the clock or in the narrow function has left it set. */
  spanduct_.busy = false;
}

void spanduct_control(int32_t word) {
  if ((uint32_t)word >> 16 != 0x5350) return;
  spanduct_.max_level = (word & 7) > SPANDUCT_TRACE ? SPANDUCT_TRACE : (uint32_t)word & 7;
  if (word & 8) spanduct_.epoch++;
}

void spanduct_set_batch_bytes(size_t bytes) { spanduct_.batch_bytes = bytes; }

void spanduct_use_buffer(void *buffer, size_t bytes) {
  spanduct_flush();
  spanduct_.bytes = (uint8_t *)buffer;
  spanduct_.capacity = bytes;
  spanduct_.batch_bytes = bytes / 2;
}

void spanduct_set_clock(int64_t (*read)(void), enum spanduct_clock meaning) {
  spanduct_flush();
  spanduct_.read_time = read;
  spanduct_.clock = meaning;
}

uint64_t spanduct_dropped(void) { return spanduct_.dropped; }

#ifdef SPANDUCT_TRACE_CONTEXT
static uint32_t spanduct_mix_(uint32_t value) {
  value = (value ^ value >> 16) * 0x85ebca6b;
  value = (value ^ value >> 13) * 0xc2b2ae35;
  return value ^ value >> 16;
}

bool spanduct_traceparent(spanduct_span span, char text[56]) {
  /* `traceparent`, a line feed, and from 56 on 32 digits of the key; or a line feed where there is none. */
  char context[88];
  const bool known = SPANDUCT_TRACE_CONTEXT(context, sizeof context) >= 57;
  for (size_t i = 0; i < 56; i++) text[i] = known && i < 55 ? context[i] : 0;
  if (known && span > spanduct_.earlier_spans && context[56] != '\n') {
    uint32_t keys[4] = {0, 0, 0, 0};
    for (size_t i = 0; i < 32; i++) {
      const char digit = context[56 + i];
      keys[i / 8] = keys[i / 8] << 4 | (uint32_t)(digit - (digit > '9' ? 'a' - 10 : '0'));
    }
    uint32_t left = (uint32_t)((span + 1) >> 32), right = (uint32_t)(span + 1);
    do {
      left ^= spanduct_mix_(right + keys[0]), right ^= spanduct_mix_(left + keys[1]);
      left ^= spanduct_mix_(right + keys[2]), right ^= spanduct_mix_(left + keys[3]);
    } while ((left | right) == 0);
    for (size_t i = 0; i < 16; i++) text[36 + i] = "0123456789abcdef"[(i < 8 ? left : right) >> (28 - i % 8 * 4) & 15];
  }
  if (known && spanduct_.max_level == 0) text[53] = text[54] = '0';
  /* All zeros where the host has a trace but no span in it. */
  for (size_t i = 36; known && i < 52; i++) {
    if (text[i] != '0') return true;
  }
  text[0] = 0;
  return false;
}
#endif

SPANDUCT_NORETURN_ void spanduct_abort_at(const char *reason, const char *file, uint32_t line) {
  static const char *const names[] = {"abort", "message", "file", "line", NULL};
  static spanduct_site site = {2, SPANDUCT_ERROR, names, "guest", NULL, 0, 0, 0};
  const spanduct_value values[] = {spanduct_string(reason), spanduct_string(file), spanduct_uint(line), spanduct_end_()};
  spanduct_emit_list(&site, 0, values);
  spanduct_flush();
  __builtin_trap();
}

#ifdef __cplusplus
}
#endif
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
