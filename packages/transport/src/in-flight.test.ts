import { controlWord } from "@spanduct/protocol";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Fifo } from "./fifo.ts";
import { InFlight, MAX_IN_FLIGHT_BATCHES } from "./in-flight.ts";

const WORD = controlWord(5, false);

describe("InFlight", () => {
  it("knows what is on its way, whatever is sent and answered", () => {
    const steps = fc.array(fc.oneof(fc.record({ sent: fc.nat({ max: 100 }) }), fc.record({ answered: fc.nat({ max: 10 }) })), {
      maxLength: 200,
    });
    fc.assert(
      fc.property(steps, (list) => {
        const inFlight = new InFlight();
        let model: number[] = [];
        for (const step of list) {
          if ("sent" in step) {
            inFlight.sent(step.sent);
            model.push(step.sent);
          } else {
            inFlight.answered(step.answered, WORD);
            model = model.slice(step.answered);
          }
          expect([inFlight.batches, inFlight.bytes]).toEqual([model.length, model.reduce((sum, size) => sum + size, 0)]);
        }
      }),
    );
  });

  it.each([-1, -1e9])("takes %i answered batches for none", (batches) => {
    const inFlight = new InFlight();
    inFlight.sent(10);
    inFlight.answered(batches, WORD);
    expect([inFlight.batches, inFlight.bytes]).toEqual([1, 10]);
  });

  it("bounds the number of batches, however small they are", () => {
    const inFlight = new InFlight();
    for (let i = 0; i < MAX_IN_FLIGHT_BATCHES; i++) {
      inFlight.check(0);
      inFlight.sent(0);
    }
    expect(() => inFlight.check(0)).toThrow(
      "[transport_failed] 0 bytes refused: 0 of 16777216, in 16384 batches, are on their way",
    );
    inFlight.answered(1, WORD);
    inFlight.check(0);
  });

  it("takes its bound of bytes to the byte, and more than that only when nothing is on its way", () => {
    const inFlight = new InFlight(100);
    inFlight.check(1000);
    inFlight.sent(60);
    inFlight.check(40);
    expect(() => inFlight.check(41)).toThrow("[transport_failed] 41 bytes refused: 60 of 100");
  });
});

describe("Fifo", () => {
  it("gives what came first, whatever is put in and taken out", () => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.nat(), { nil: undefined }), { maxLength: 300 }), (steps) => {
        const fifo = new Fifo<number>();
        const model: number[] = [];
        for (const step of steps) {
          if (step === undefined) {
            expect(fifo.shift()).toBe(model.shift());
          } else {
            fifo.push(step);
            model.push(step);
          }
          expect([fifo.length, fifo.first]).toEqual([model.length, model[0]]);
        }
      }),
    );
  });
});
