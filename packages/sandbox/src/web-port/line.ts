import { batches, type SendBatch, type SenderOutput } from "@spanduct/sender";
import { messagePortSender } from "@spanduct/transport/message-port";
import type { GuestTunnel } from "./guest-end.ts";
import { type Note, typeOf, type Welcome } from "./messages.ts";

/** What a line is made with. */
export interface LineOptions {
  /** Hand the other end of a new channel to the host. @param again whether there was one before, which the host may not have got */
  offer(port: MessagePort, again: boolean): void;
  /**
   * Told what the host says first. With it, all that was sent is kept until then, because nobody may have been there to take the
   * first port.
   */
  readonly onWelcome?: (welcome: Welcome) => void;
}

/** Batches through a port. The guest can use its end at once: before the host has the other, and without ever yielding. */
export class Line implements GuestTunnel {
  readonly output: SenderOutput = batches((batch) => this.#deliver(batch));
  readonly #options: LineOptions;
  #port: MessagePort;
  #send: SendBatch;
  /** What was sent while nobody has said that they listen. */
  #unheard: (ArrayBuffer | Note)[] | undefined;
  #hurries = false;

  constructor(options: LineOptions) {
    this.#options = options;
    this.#unheard = options.onWelcome === undefined ? undefined : [];
    this.#port = this.#open(false);
    this.#send = messagePortSender(this.#port).send;
  }

  lastWords(): void {
    this.#hurries = true;
  }

  note(note: Note): void {
    this.#post(note);
  }

  /** The host has come: offer another port, of the two it takes one. */
  offerAgain(): void {
    if (this.#unheard !== undefined) this.#open(true);
  }

  #deliver(batch: Uint8Array): ReturnType<SendBatch> {
    if (this.#hurries) return this.#post(batch.slice().buffer);
    const answer = this.#send(batch);
    this.#unheard?.push(batch.slice().buffer);
    return answer;
  }

  #post(message: ArrayBuffer | Note): void {
    this.#port.postMessage(message);
    this.#unheard?.push(message);
  }

  #open(again: boolean): MessagePort {
    const { port1, port2 } = new MessageChannel();
    const { offer, onWelcome } = this.#options;
    if (onWelcome !== undefined) {
      port1.addEventListener("message", ({ data }) => {
        if (this.#unheard === undefined || typeOf(data) !== "welcome") return;
        this.#use(port1, this.#unheard);
        onWelcome(data as Welcome);
      });
      port1.start();
    }
    offer(port2, again);
    return port1;
  }

  #use(port: MessagePort, unheard: readonly (ArrayBuffer | Note)[]): void {
    this.#unheard = undefined;
    if (port === this.#port) return;
    this.#port.close();
    this.#port = port;
    this.#send = messagePortSender(port).send;
    for (const message of unheard) port.postMessage(message);
  }
}
