import { types } from "node:util";

/** A guest can make a chain as long as its memory. */
const MAX_LENGTH = 100;

/** An object and its prototypes, a hundred at most, up to the first proxy. Runs no code of the guest's. */
export function* prototypeChain(object: object): Generator<object> {
  let holder: object | null = object;
  for (let length = 0; holder !== null && !types.isProxy(holder) && length < MAX_LENGTH; length++) {
    yield holder;
    holder = Reflect.getPrototypeOf(holder);
  }
}
