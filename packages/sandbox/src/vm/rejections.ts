import { prototypeChain } from "./prototype-chain.ts";

/**
 * Sees to rejections that nobody handles. For one of those Node ends the process, also where the promise belongs to a context of
 * `node:vm`. With this, those of traced contexts become events `exception` of their guests; for others Node's default stays,
 * and listeners of the host's are called as ever.
 *
 * One for a process, made before guests run, and given to each `traceVm`. Guests that tamper with the prototypes of their promises
 * escape it.
 */
export class VmRejections implements Disposable {
  readonly #process: Pick<NodeJS.Process, "on" | "off" | "listenerCount">;
  readonly #guests: WeakMap<object, (reason: unknown) => void> = new WeakMap();

  /** @param process the global one; listened to until this is disposed of */
  constructor(process: Pick<NodeJS.Process, "on" | "off" | "listenerCount">) {
    this.#process = process;
    process.on("unhandledRejection", this.#onRejection);
  }

  /** @internal @param promises `Promise.prototype` of the guest's realm */
  add(promises: object, onRejection: (reason: unknown) => void): void {
    this.#guests.set(promises, onRejection);
  }

  [Symbol.dispose](): void {
    this.#process.off("unhandledRejection", this.#onRejection);
  }

  readonly #onRejection = (reason: unknown, promise: Promise<unknown>): void => {
    for (const object of prototypeChain(promise)) {
      const onRejection = this.#guests.get(object);
      if (onRejection !== undefined) return onRejection(reason);
    }
    // As if nobody listened.
    if (this.#process.listenerCount("unhandledRejection") === 1) throw reason;
  };
}
