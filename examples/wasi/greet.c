#include <stdio.h>

#define SPANDUCT_IMPLEMENTATION
#define SPANDUCT_TARGET "greet"
#define SPANDUCT_RING_BYTES 65536 // So that the host knows in which span a line is written.
#include "spanduct.h"

SPANDUCT_SPAN(greet_site, SPANDUCT_INFO, "greet", "name");

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: greet <name> ...\n");
    return 2;
  }
  for (int i = 1; i < argc; i++) {
    const spanduct_span span = spanduct_open(&greet_site, spanduct_string(argv[i]));
    spanduct_enter(span);
    printf("hello, %s\n", argv[i]);
    fflush(stdout);
    spanduct_exit(span);
    spanduct_close(span);
  }
  return 0;
}
