// Runs the scenarios natively, under sanitizers: prints each batch in hex after the name of its scenario.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int32_t answer;
static int quiet;
static size_t total;

#ifdef SPANDUCT_RING_BYTES
static volatile uint32_t *ring;

// What a host does: takes every record, and makes room.
static void empty_ring(void) {
  while (ring != NULL && ring[32] != ring[16]) {
    volatile uint32_t *word = &ring[48 + ring[32] % SPANDUCT_RING_BYTES / 4];
    ring[32] += 4 + ((*word + 3) & ~(uint32_t)3);
    *word |= (uint32_t)1 << 31;
    if ((int32_t)(ring[16] - ring[32]) <= 0) return;
  }
}
#else
static void empty_ring(void) {}
#endif

static int32_t send(const void *batch, size_t length) {
  empty_ring();
  const unsigned char *bytes = (const unsigned char *)batch;
  // Reads every byte, also where nothing is printed.
  for (size_t i = 0; i < length; i++) total += bytes[i];
  if (quiet) return answer;
  for (size_t i = 0; i < length; i++) printf("%02x", bytes[i]);
  printf("\n");
  return answer;
}

static int32_t trace_context(char *text, size_t capacity) {
  static const char context[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n0f1e2d3c4b5a69788796a5b4c3d2e1f0\n";
  memcpy(text, context, capacity < sizeof context - 1 ? capacity : sizeof context - 1);
  return (int32_t)sizeof context - 1;
}

#define SPANDUCT_SEND send
#define SPANDUCT_TRACE_CONTEXT trace_context
#include "guest.c"

static void run(const char *name, void (*scenario)(void)) {
  if (!quiet) printf("%s\n", name);
  scenario();
  spanduct_flush();
}

static void run_all(void) {
  run("spans", spans);
  run("values", values);
  run("errors", errors);
  run("kinds", kinds);
  run("filteredSpan", filtered_span);
  header(UINT64_MAX);
}

int main(void) {
  run_all();
  quiet = 1;
#ifdef SPANDUCT_RING_BYTES
  ring = spanduct_ring();
#endif
  // Every size of buffer in which something may not fit, in a block of its own.
  void *before = NULL;
  for (size_t size = 0; size < 700; size++) {
    void *buffer = malloc(size);
    spanduct_use_buffer(buffer, size);
    free(before);
    before = buffer;
    answer = size % 3 == 0 ? 0x5350000d : 0;
    run_all();
  }
  // Bytes of all kinds as text.
  static char large[65536];
  spanduct_use_buffer(large, sizeof large);
  free(before);
  uint32_t seed = 1;
  for (int i = 0; i < 2000; i++) {
    const size_t length = (seed = seed * 1664525 + 1013904223) >> 24;
    for (size_t at = 0; at < length; at++) scratch[at] = (char)((seed = seed * 1664525 + 1013904223) >> 24 | 0x80);
    bytes(length);
  }
  // Times as far apart as they get.
  const int64_t steps[] = {0, 1, INT64_MAX, INT64_MIN, -1, (int64_t)1 << 52, -((int64_t)1 << 52)};
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    workflow_clock(steps[i]);
    run_all();
  }
  spanduct_flush();
  return total == 0;
}
