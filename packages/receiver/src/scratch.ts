import { type BatchDecoder, type Codec, DEFAULT_LIMITS, type Limits, SecretSource, TracedValues } from "@spanduct/protocol";
import { NamedValues } from "./named-values.ts";

/** What a receiver works with while it takes in events; nothing of an execution is left in it afterwards. */
export class Scratch<Span> {
  /** Values of the event at hand, by name. */
  readonly named: NamedValues = new NamedValues();
  /** The same where they are of a shape. */
  readonly shaped: NamedValues = new NamedValues();
  readonly declared: TracedValues = new TracedValues();
  readonly parent: { span: Span | undefined; explicit: boolean } = { span: undefined, explicit: false };
  #decoder: BatchDecoder | undefined;
  #codec: Codec | undefined;
  #limits: Limits | undefined;

  /** Made again only where receivers of one arena differ in codec or limits. */
  decoder(codec: Codec, limits: Limits): BatchDecoder {
    if (this.#decoder === undefined || this.#codec !== codec || this.#limits !== limits) {
      this.#decoder = codec.createDecoder(limits);
      this.#codec = codec;
      this.#limits = limits;
    }
    return this.#decoder;
  }

  /** Forget the values. */
  clear(): void {
    this.named.clear();
    this.shaped.giveBack();
    this.declared.clear();
    this.parent.span = undefined;
  }
}

/** Secrets drawn at a time. */
const SECRETS = 32;

/**
 * What the receivers of one arena share, because they need it one after the other: a host has very many executions, of which nearly
 * all wait. While one works with a scratch, others get another one; one that is not given back, because the host's work was cut off
 * in its middle, is not used again.
 */
export class ScratchPool {
  /** For the maps of all receivers. */
  readonly secrets: SecretSource = new SecretSource(SECRETS);
  readonly #free: Scratch<unknown>[] = [];
  #limits: Limits = DEFAULT_LIMITS;

  take<Span>(): Scratch<Span> {
    return (this.#free.pop() as Scratch<Span> | undefined) ?? new Scratch();
  }

  giveBack(scratch: Scratch<unknown>): void {
    scratch.clear();
    this.#free.push(scratch);
  }

  /** All limits, one object for those that are equal to the last. */
  limits(changes: Partial<Limits> | undefined): Limits {
    const limits: Limits = { ...DEFAULT_LIMITS, ...changes };
    const names = Object.keys(limits) as (keyof Limits)[];
    if (!names.every((name) => limits[name] === this.#limits[name])) this.#limits = limits;
    return this.#limits;
  }
}
