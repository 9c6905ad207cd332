import { describe, expect, it } from "vitest";
import { parseCase, printCase } from "./case-text.ts";
import { Campaign, corpus, makeCase } from "./fuzz.ts";
import { failureOf, kindOf, minimize } from "./minimize.ts";
import { Pristine } from "./pristine.ts";
import { same, type Target } from "./target.ts";
import { allTargets } from "./targets.ts";

const EVENTS = 100_000;
/** Milliseconds that machines which have other things to do may take for a part of that. */
const PATIENCE = 120_000;

const targets = allTargets();
const seed = String(Date.now());

describe(`fuzz, seed ${seed}`, () => {
  it.each(targets.map((target) => [target.name, target.what, target] as const))(
    "%s: %s",
    (_, __, target) => {
      const campaign = new Campaign(target, seed);
      while (campaign.events < EVENTS / targets.length) {
        const finding = campaign.next();
        if (finding !== undefined) throw new Error(finding.command, { cause: finding.failure });
      }
    },
    PATIENCE,
  );
});

describe("corpus", () => {
  it.each(corpus().map(({ file, target, items }) => [file, target, items] as const))("%s", (_, name, items) => {
    const target = targets.find((one) => one.name === name);
    if (target === undefined) throw new Error(`there is no target ${name}`);
    expect(target.run(items)).toBeGreaterThan(0);
  });
});

describe("the fuzzer", () => {
  it.each(targets.map((target) => [target.name, target] as const))(
    "makes the same case of %s of the same seed",
    (_, target) => {
      expect(printCase(makeCase(target, "1", 2))).toBe(printCase(makeCase(target, "1", 2)));
      expect(printCase(makeCase(target, "1", 2))).not.toBe(printCase(makeCase(target, "1", 3)));
    },
    PATIENCE,
  );

  it.each(targets.map((target) => [target.name, target] as const))(
    "runs a case of %s that was kept as text",
    (_, target) => {
      for (let number = 0; number < 20; number++) {
        const items = makeCase(target, "kept", number);
        const text = printCase(items);
        expect(printCase(parseCase(text))).toBe(text);
        expect(target.run(parseCase(text))).toBe(target.run(items));
      }
    },
    PATIENCE,
  );

  it("finds what is wrong, and makes it small", () => {
    // Wrong with two items of which the second is longer.
    const broken: Target<{ readonly bytes: Uint8Array }> = {
      name: "broken",
      what: "",
      make: (random) => Array.from({ length: 10 }, () => ({ bytes: new Uint8Array(random.below(50)) })),
      run(items) {
        items.forEach(({ bytes }, at) => {
          if (bytes.length < (items[at + 1]?.bytes.length ?? 0))
            throw new Error(`${bytes.length} before ${items[at + 1]?.bytes.length}`);
        });
        return items.length;
      },
    };
    const campaign = new Campaign(broken as Target, "1");
    const finding = campaign.next();
    if (finding === undefined) throw new Error("nothing was found");
    expect(kindOf(finding.failure)).toBe("Error: N before N");
    expect(failureOf(finding.target, finding.items)).toBeInstanceOf(Error);
    expect(minimize(finding.target, finding.items)).toEqual([{ bytes: new Uint8Array() }, { bytes: new Uint8Array(1) }]);
    expect(campaign.next()).toBeUndefined();
    expect(campaign.findings).toHaveLength(2);
  });

  it("notices changes of what everything inherits from", () => {
    const pristine = new Pristine();
    pristine.check();
    const prototype = Object.prototype as { polluted?: number };
    prototype.polluted = 1;
    expect(() => pristine.check()).toThrow("Object.prototype has other properties");
    delete prototype.polluted;
    const { at } = Array.prototype;
    Array.prototype.at = () => 1;
    expect(() => {
      for (let i = 0; i < 64; i++) pristine.check();
    }).toThrow("Array.prototype has another at");
    Array.prototype.at = at;
    pristine.check();
  });

  it("knows data apart that differ in what JSON has no word for", () => {
    for (const [one, other] of [
      [0, -0],
      [1, 1n],
      [Number.NaN, null],
      [Number.POSITIVE_INFINITY, "Infinity"],
    ]) {
      expect(() => same("it", [one], [other])).toThrow("it differs");
    }
  });
});
