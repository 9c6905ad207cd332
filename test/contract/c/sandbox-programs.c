// The programs of test/contract/sandbox-programs.ts in C; what they do is said there.
#define SPANDUCT_IMPLEMENTATION
#ifdef EXTISM
#include "../../../packages/guests/c/spanduct-extism.h"
#define spanduct_now spanduct_extism_now
#else
#include "../../../packages/guests/c/spanduct.h"
#endif

#define EXPORT(name) __attribute__((export_name(#name)))

SPANDUCT_EVENT(note, SPANDUCT_INFO, "note", "text");

EXPORT(nested) void nested(void) {
  SPANDUCT_SPAN(outer_site, SPANDUCT_INFO, "outer", "job");
  SPANDUCT_SPAN(inner_site, SPANDUCT_INFO, "inner");
  SPANDUCT_SPAN(leaf_site, SPANDUCT_INFO, "leaf", "size");
  SPANDUCT_EVENT(said, SPANDUCT_INFO, "note", "message");
  spanduct_set_clock(spanduct_now, SPANDUCT_WALL);
  const spanduct_span outer = spanduct_open(&outer_site, spanduct_string("contract"));
  spanduct_enter(outer);
  spanduct_emit(&said, spanduct_string("in outer"));
  const spanduct_span inner = spanduct_open(&inner_site);
  spanduct_enter(inner);
  spanduct_emit(&said, spanduct_string("in inner"));
  const spanduct_span leaf = spanduct_open_in(&leaf_site, outer, spanduct_int(1));
  spanduct_emit_in(&said, leaf, spanduct_string("in leaf"));
  spanduct_record(&leaf_site, leaf, 0, spanduct_int(2));
  spanduct_close(leaf);
  spanduct_exit(inner);
  spanduct_close(inner);
  spanduct_exit(outer);
  spanduct_close(outer);
  spanduct_flush();
}

EXPORT(propagates) void propagates(void) {
  SPANDUCT_EVENT(call, SPANDUCT_INFO, "call", "traceparent");
  SPANDUCT_SPAN(outer_site, SPANDUCT_INFO, "outer");
  SPANDUCT_SPAN(inner_site, SPANDUCT_INFO, "inner");
  char header[56];
  if (spanduct_traceparent(0, header)) spanduct_emit(&call, spanduct_string(header));
  const spanduct_span outer = spanduct_open(&outer_site);
  spanduct_enter(outer);
  if (spanduct_traceparent(outer, header)) spanduct_emit(&call, spanduct_string(header));
  const spanduct_span inner = spanduct_open(&inner_site);
  if (spanduct_traceparent(inner, header)) spanduct_emit_in(&call, inner, spanduct_string(header));
  spanduct_close(inner);
  spanduct_close(outer);
}

EXPORT(parents) void parents(void) {
  SPANDUCT_EVENT(said, SPANDUCT_INFO, "note", "in");
  SPANDUCT_SPAN(left_site, SPANDUCT_INFO, "left");
  SPANDUCT_SPAN(right_site, SPANDUCT_INFO, "right");
  SPANDUCT_SPAN(far_site, SPANDUCT_INFO, "far");
  SPANDUCT_SPAN(deep_site, SPANDUCT_INFO, "deep");
  const spanduct_span left = spanduct_open(&left_site);
  const spanduct_span right = spanduct_open(&right_site);
  spanduct_enter(right);
  const spanduct_span far = spanduct_open_in(&far_site, left);
  spanduct_emit_in(&said, far, spanduct_string("far"));
  spanduct_emit_in(&said, left, spanduct_string("left"));
  spanduct_emit(&said, spanduct_string("right"));
  spanduct_close(left);
  const spanduct_span deep = spanduct_open_in(&deep_site, far);
  spanduct_enter(deep);
  spanduct_emit(&said, spanduct_string("deep"));
  spanduct_close(deep);
  spanduct_emit(&said, spanduct_string("right again"));
  spanduct_close(far);
  spanduct_close(right);
}

EXPORT(failure) void failure(void) {
  SPANDUCT_EVENT(failed, SPANDUCT_ERROR, "failed", "error");
  const spanduct_error cause = {"no such file", "RangeError", NULL, NULL};
  const spanduct_error error = {"cannot render", "Error", NULL, &cause};
  spanduct_emit(&failed, spanduct_error_value(&error));
  spanduct_flush();
}

EXPORT(chatter) void chatter(void) {
  SPANDUCT_EVENT(alarm, SPANDUCT_ERROR, "alarm");
  for (int i = 0; i < 1000000 && spanduct_enabled(&note); i++) {
    spanduct_emit(&note);
    spanduct_flush();
  }
  spanduct_emit(&note);
  spanduct_emit(&alarm);
}

EXPORT(lastWords) void last_words(void) {
  SPANDUCT_EVENT(words, SPANDUCT_INFO, "last words");
  spanduct_emit(&words);
}

EXPORT(doomed) void doomed(void) {
  SPANDUCT_SPAN(doomed_site, SPANDUCT_INFO, "doomed");
  SPANDUCT_SPAN(finished, SPANDUCT_INFO, "finished");
  SPANDUCT_EVENT(before, SPANDUCT_INFO, "before");
  spanduct_enter(spanduct_open(&doomed_site));
  spanduct_close(spanduct_open(&finished));
  spanduct_emit(&before);
  __builtin_trap();
}

__attribute__((noinline)) static void breakDown(void) { __builtin_trap(); }

EXPORT(uncaught) void uncaught(void) {
  SPANDUCT_EVENT(before, SPANDUCT_INFO, "before");
  spanduct_emit(&before);
  breakDown();
}

EXPORT(stuck) void stuck(void) {
  SPANDUCT_SPAN(endless, SPANDUCT_INFO, "endless");
  SPANDUCT_EVENT(event, SPANDUCT_INFO, "stuck");
  spanduct_enter(spanduct_open(&endless));
  spanduct_emit(&event);
  __builtin_trap();
}

EXPORT(many) void many(void) {
  SPANDUCT_SPAN(batch_site, SPANDUCT_INFO, "batch");
  SPANDUCT_SPAN(item, SPANDUCT_INFO, "item", "i");
  const spanduct_span batch = spanduct_open(&batch_site);
  spanduct_enter(batch);
  for (int i = 0; i < 10000; i++) spanduct_close(spanduct_open(&item, spanduct_int(i)));
  spanduct_close(batch);
}

static char text[1 << 20];

static const char *xs(size_t length) {
  for (size_t i = 0; i < length; i++) text[i] = 'x';
  text[length] = 0;
  return text;
}

EXPORT(drops) void drops(void) {
  for (int i = 0; i < 3; i++) {
    spanduct_emit(&note, spanduct_string("sent"));
    spanduct_flush();
  }
  for (int i = 0; i < 2; i++) spanduct_emit(&note, spanduct_string(xs(sizeof text - 1)));
  for (int i = 0; i < 2; i++) {
    spanduct_emit(&note, spanduct_string("after"));
    spanduct_flush();
  }
}

EXPORT(heals) void heals(void) {
  spanduct_emit(&note, spanduct_string(xs(10000)));
  spanduct_flush();
  for (int i = 0; i < 1000000 && spanduct_enabled(&note); i++) {
    spanduct_emit(&note, spanduct_string("small"));
    spanduct_flush();
  }
}

#ifdef __wasi__
// As a command: the first argument says which program.
#include <stdio.h>
#include <string.h>

static void console(void) {
  SPANDUCT_SPAN(talking, SPANDUCT_INFO, "talking");
  const spanduct_span span = spanduct_open(&talking);
  spanduct_enter(span);
#ifndef SPANDUCT_RING_BYTES
  spanduct_flush();
#endif
  printf("hello\n");
  fflush(stdout);
  fprintf(stderr, "it broke\n");
  spanduct_exit(span);
  spanduct_close(span);
}

int main(int argc, char **argv) {
  static const struct {
    const char *name;
    void (*run)(void);
  } programs[] = {
      {"nested", nested}, {"parents", parents},   {"propagates", propagates}, {"failure", failure}, {"chatter", chatter},
      {"doomed", doomed}, {"uncaught", uncaught}, {"lastWords", last_words},  {"stuck", stuck},     {"many", many},
      {"drops", drops},   {"heals", heals},       {"console", console},
  };
  for (size_t i = 0; argc > 1 && i < sizeof programs / sizeof *programs; i++) {
    if (strcmp(argv[1], programs[i].name) == 0) return programs[i].run(), 0;
  }
  return 3;
}
#endif
