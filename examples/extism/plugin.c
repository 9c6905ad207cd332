#define SPANDUCT_IMPLEMENTATION
#define SPANDUCT_TARGET "count-vowels"
#include "spanduct-extism.h"

// What a plug-in development kit would declare.
#define ENV(name) __attribute__((import_module("extism:host/env"), import_name(#name)))
ENV(input_length) uint64_t input_length(void);
ENV(input_load_u8) uint32_t input_load_u8(uint64_t at);
ENV(output_set) void output_set(uint64_t block, uint64_t length);
ENV(error_set) void error_set(uint64_t block);

SPANDUCT_SPAN(count_site, SPANDUCT_INFO, "count vowels", "length", "vowels");
SPANDUCT_EVENT(refused, SPANDUCT_ERROR, "refused", "message", "at");

static uint64_t block_of(const char *text) {
  const spanduct_value value = spanduct_string(text);
  const uint64_t block = spanduct_extism_alloc(value.low);
  for (uint64_t i = 0; i < value.low; i++) spanduct_extism_store(block + i, (uint8_t)text[i]);
  return block;
}

__attribute__((export_name("count_vowels"))) void count_vowels(void) {
  const uint64_t length = input_length();
  uint64_t vowels = 0;
  const spanduct_span span = spanduct_open(&count_site, spanduct_uint(length));
  spanduct_enter(span);
  for (uint64_t i = 0; i < length; i++) {
    const uint32_t letter = input_load_u8(i);
    if (letter > 0x7f) {
      spanduct_emit(&refused, spanduct_string("not ASCII"), spanduct_uint(i));
      return error_set(block_of("cannot count"));
    }
    for (const char *vowel = "aeiouAEIOU"; *vowel != 0; vowel++) vowels += letter == (uint32_t)*vowel;
  }
  spanduct_record(&count_site, span, 1, spanduct_uint(vowels));
  spanduct_exit(span);
  spanduct_close(span);
  const char digit[] = {(char)('0' + vowels % 10), 0};
  output_set(block_of(digit), 1);
}
