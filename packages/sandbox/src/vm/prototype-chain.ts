import { types } from "node:util";

/** An object and its prototypes up to the first proxy. Runs no code of the guest's. */
export function* prototypeChain(object: object): Generator<object> {
  for (let holder: object | null = object; holder !== null && !types.isProxy(holder); holder = Reflect.getPrototypeOf(holder)) {
    yield holder;
  }
}
