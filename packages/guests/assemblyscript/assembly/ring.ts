// A ring in the module's memory, as proto/README.md#ring describes it. Guest and host take turns, so plain loads and stores will do.

const HEADER: usize = 192;
// Offsets of its words.
const WRITTEN: usize = 64;
const READ: usize = 128;
const CONTROL: usize = 132;
const ANNOUNCE: usize = 136;
const CLOSED: usize = 140;

/** A power of two. */
const CAPACITY: u32 = 64 * 1024;

/** 0: no host has asked for it. */
let address: usize = 0;
/** Where the newest record begins and ends. */
let start: u32 = 0;
let end: u32 = 0;
/** How much of the batch at hand is in that record; 0: nothing, the record is an earlier batch. */
let length: u32 = 0;
/** Requests to announce that were passed on. */
let announced: u32 = 0;

/**
 * The ring that events go into from now on, for the host to read: export it as `spanduct_ring`. What the guest traced is in the
 * trace then whatever ends it, and leaves the module when a run ends or the ring is full.
 */
export function ring(): usize {
  if (address == 0) {
    address = heap.alloc(HEADER + CAPACITY);
    memory.fill(address, 0, HEADER + CAPACITY);
    store<u32>(address, 0x31525053);
    store<u32>(address, CAPACITY, 4);
  }
  return address;
}

function wordOf(record: u32): usize {
  return address + HEADER + (record & (CAPACITY - 1));
}

/** Whether events go into a ring. */
export function isOpen(): bool {
  return address != 0;
}

/** Let the host see the batch at hand up to `size`. False: there is no room. */
export function publish(batch: usize, size: u32): bool {
  if (size > CAPACITY - 4 || load<u32>(address, CLOSED) != 0) return false;
  const record = length == 0 ? end : start;
  const next = record + 4 + ((size + 3) & ~3);
  if (next - load<u32>(address, READ) > CAPACITY) return false;
  const at = (record + 4 + length) & (CAPACITY - 1);
  const first = min(size - length, CAPACITY - at);
  memory.copy(address + HEADER + at, batch + length, first);
  memory.copy(address + HEADER, batch + length + first, size - length - first);
  store<u32>(wordOf(record), size);
  if (length == 0) store<u32>(address, next, WRITTEN);
  start = record;
  end = next;
  length = size;
  return true;
}

/** Whether the beginning of the batch at hand is in the ring. */
export function holds(): bool {
  return length != 0;
}

/** Whether the host has taken that, so that nothing can be added. */
export function isTaken(): bool {
  return length != 0 && load<u32>(wordOf(start)) != length;
}

/** The batch at hand ends. @returns whether it is in the ring */
export function release(): bool {
  const held = length != 0;
  length = 0;
  return held;
}

/** The host's control word as of now; 0 where there is none. */
export function control(): i32 {
  if (address == 0) return 0;
  const word = load<i32>(address, CONTROL);
  const announce = load<u32>(address, ANNOUNCE);
  if (announce == announced) return word;
  announced = announce;
  return word | 8;
}
