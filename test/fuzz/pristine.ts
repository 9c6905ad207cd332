import { Violation } from "./target.ts";

/** Objects that everything inherits from or goes through. */
const SHARED: readonly (readonly [name: string, object: object])[] = [
  ["Object.prototype", Object.prototype],
  ["Array.prototype", Array.prototype],
  ["Function.prototype", Function.prototype],
  ["String.prototype", String.prototype],
  ["Number.prototype", Number.prototype],
  ["Boolean.prototype", Boolean.prototype],
  ["BigInt.prototype", BigInt.prototype],
  ["Error.prototype", Error.prototype],
  ["Map.prototype", Map.prototype],
  ["Set.prototype", Set.prototype],
  ["Uint8Array.prototype", Uint8Array.prototype],
  ["Object", Object],
];

/** So many checks in a row look at names only. */
const NAMES_ONLY = 64;

/** Notices when a shared object is changed. */
export class Pristine {
  readonly #before = SHARED.map(([, object]) => Object.getOwnPropertyDescriptors(object));
  #checks = 0;

  /** @throws Violation one of them is not what it was when this was made */
  check(): void {
    const deep = this.#checks++ % NAMES_ONLY === 0;
    SHARED.forEach(([name, object], position) => {
      const before = this.#before[position] as PropertyDescriptorMap;
      const keys = Reflect.ownKeys(object);
      if (keys.length !== Reflect.ownKeys(before).length) throw new Violation(`${name} has other properties`);
      if (!deep) return;
      for (const key of keys) {
        const { value, get, set } = Reflect.getOwnPropertyDescriptor(object, key) as PropertyDescriptor;
        const was = before[key as string];
        if (was === undefined || !Object.is(was.value, value) || was.get !== get || was.set !== set) {
          throw new Violation(`${name} has another ${String(key)}`);
        }
      }
    });
  }
}
