/*
 * spanduct-extism.h: spanduct.h for plug-ins of Extism. Include it in place of that, everywhere. Batches go through Extism's memory
 * to the host functions of `@spanduct/sandbox/extism`.
 */
#ifndef SPANDUCT_EXTISM_H
#define SPANDUCT_EXTISM_H

#include <stddef.h>
#include <stdint.h>

#define SPANDUCT_ENV_(name) __attribute__((import_module("extism:host/env"), import_name(name)))
#define SPANDUCT_USER_(name) __attribute__((import_module("extism:host/user"), import_name(name)))

#ifdef __cplusplus
extern "C" {
#endif

SPANDUCT_ENV_("alloc") uint64_t spanduct_extism_alloc(uint64_t length);
SPANDUCT_ENV_("free") void spanduct_extism_free(uint64_t block);
SPANDUCT_ENV_("length") uint64_t spanduct_extism_length(uint64_t block);
SPANDUCT_ENV_("load_u8") uint32_t spanduct_extism_load(uint64_t at);
SPANDUCT_ENV_("store_u8") void spanduct_extism_store(uint64_t at, uint32_t byte);
SPANDUCT_ENV_("store_u64") void spanduct_extism_store_8(uint64_t at, uint64_t bytes);
SPANDUCT_USER_("spanduct_send") int32_t spanduct_extism_send_block(uint64_t batch);
SPANDUCT_USER_("spanduct_trace_context") uint64_t spanduct_extism_trace_context_block(void);
/* Real time from the host, for `spanduct_set_clock`. */
SPANDUCT_USER_("spanduct_now") int64_t spanduct_extism_now(void);

static inline int32_t spanduct_extism_send(const void *batch, size_t length) {
  const uint8_t *bytes = (const uint8_t *)batch;
  const uint64_t block = spanduct_extism_alloc(length);
  size_t at = 0;
  for (; length - at >= 8; at += 8) {
    uint64_t eight = 0;
    for (size_t i = 8; i-- > 0;) eight = eight << 8 | bytes[at + i];
    spanduct_extism_store_8(block + at, eight);
  }
  for (; at < length; at++) spanduct_extism_store(block + at, bytes[at]);
  const int32_t word = spanduct_extism_send_block(block);
  spanduct_extism_free(block);
  return word;
}

static inline int32_t spanduct_extism_trace_context(char *text, size_t capacity) {
  const uint64_t block = spanduct_extism_trace_context_block();
  if (block == 0) return 0;
  const uint64_t length = spanduct_extism_length(block);
  for (size_t i = 0; i < length && i < capacity; i++) text[i] = (char)spanduct_extism_load(block + i);
  spanduct_extism_free(block);
  return (int32_t)length;
}

#ifdef __cplusplus
}
#endif

#define SPANDUCT_SEND spanduct_extism_send
#define SPANDUCT_TRACE_CONTEXT spanduct_extism_trace_context
#include "spanduct.h"

#endif
