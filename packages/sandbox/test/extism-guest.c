// A plug-in that fails, hangs and lies; the contract's programs are those of test/contract/c/sandbox-programs.c.
#define SPANDUCT_IMPLEMENTATION
#include "../../guests/c/spanduct-extism.h"

#define EXPORT(name) __attribute__((export_name(#name)))

SPANDUCT_ENV_("error_set") void error_set(uint64_t block);
SPANDUCT_ENV_("input_length") uint64_t input_length(void);
SPANDUCT_ENV_("output_set") void output_set(uint64_t block, uint64_t length);

SPANDUCT_SPAN(span_site, SPANDUCT_INFO, "span", "length");
SPANDUCT_EVENT(note, SPANDUCT_INFO, "note");

static uint64_t block_of(const char *text) {
  const size_t length = (size_t)spanduct_string(text).low;
  const uint64_t block = spanduct_extism_alloc(length);
  for (size_t i = 0; i < length; i++) spanduct_extism_store(block + i, (uint8_t)text[i]);
  return block;
}

EXPORT(greet) void greet(void) {
  const spanduct_span span = spanduct_open(&span_site, spanduct_uint(input_length()));
  spanduct_close(span);
  output_set(block_of("hello"), 5);
}

EXPORT(fail) void fail(void) {
  spanduct_enter(spanduct_open(&span_site));
  error_set(block_of("no such user"));
}

EXPORT(hang) void hang(void) {
  spanduct_enter(spanduct_open(&span_site));
  spanduct_emit(&note);
  spanduct_flush();
  for (volatile uint32_t i = 0;; i++) {
  }
}

// Blocks that are not there, and one that is no batch.
EXPORT(lie) void lie(void) {
  const uint64_t hostile[] = {0, 1, UINT64_MAX, (uint64_t)1 << 63, (uint64_t)1 << 60, (uint64_t)12345 << 48};
  for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) spanduct_extism_send_block(hostile[i]);
  spanduct_extism_send_block(block_of("nonsense"));
  const uint64_t freed = block_of("freed");
  spanduct_extism_free(freed);
  spanduct_extism_send_block(freed);
  spanduct_emit(&note);
}
