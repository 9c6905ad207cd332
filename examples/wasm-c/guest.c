#define SPANDUCT_IMPLEMENTATION
#define SPANDUCT_TARGET "averages"
#define SPANDUCT_RING_BYTES 65536 // What was traced before a trap is not lost.
#include "spanduct.h"

SPANDUCT_SPAN(average_site, SPANDUCT_INFO, "average", "count", "result");
SPANDUCT_EVENT(negative, SPANDUCT_WARN, "negative", "message", "at");

static int32_t numbers[16];

__attribute__((export_name("numbers"))) int32_t *numbers_address(void) { return numbers; }

// Believes the host, which is a mistake.
__attribute__((export_name("average"))) int32_t average(const int32_t *from, int32_t count) {
  const spanduct_span span = spanduct_open(&average_site, spanduct_int(count));
  spanduct_enter(span);
  int32_t sum = 0;
  for (int32_t i = 0; i < count; i++) {
    if (from[i] < 0) spanduct_emit(&negative, spanduct_string("a negative number"), spanduct_int(i));
    sum += from[i];
  }
  spanduct_record(&average_site, span, 1, spanduct_int(sum / count));
  spanduct_exit(span);
  spanduct_close(span);
  return sum / count;
}
