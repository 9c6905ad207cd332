// A guest without a library: what the host gives it goes to the imports as it is.
@external("spanduct", "send")
declare function send(pointer: usize, length: i32): i32;

/** In the style of guests that are built with the genuine Rust crate. */
@external("tracing", "send_event")
declare function sendEvent(pointer: usize, length: usize): void;

// In the start function, when no host can know the memory.
send(8, 16);

export function allocate(size: usize): usize {
  return heap.alloc(size);
}

export function sendBatch(pointer: usize, length: i32): i32 {
  return send(pointer, length);
}

export function replay(pointer: usize, length: usize): void {
  sendEvent(pointer, length);
}

export function grow(pages: i32): i32 {
  return memory.grow(pages);
}

export function trap(): void {
  unreachable();
}
