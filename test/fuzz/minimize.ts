import type { Target } from "./target.ts";

/** What a target throws for `items`; `undefined` when all is well. */
export function failureOf(target: Target, items: readonly unknown[]): unknown {
  try {
    target.run(items);
    return undefined;
  } catch (error) {
    return error ?? new Error("nothing was thrown");
  }
}

/** The first line of what was thrown, without the data in it: what makes two findings the same. */
export function kindOf(failure: unknown): string {
  const text = failure instanceof Error ? `${failure.name}: ${failure.message}` : String(failure);
  return (text.split("\n")[0] as string).replace(/-?\d[\d.]*n?/g, "N").slice(0, 200);
}

/**
 * A smaller input that fails in the same way: items, calls and bytes are left out as long as it does.
 *
 * @param milliseconds stop after so long
 */
export function minimize(target: Target, items: readonly unknown[], milliseconds = 20_000): readonly unknown[] {
  const kind = kindOf(failureOf(target, items));
  const end = performance.now() + milliseconds;
  const fails = (candidate: readonly unknown[]): boolean =>
    performance.now() < end && failureOf(target, candidate) !== undefined && kindOf(failureOf(target, candidate)) === kind;

  let result = items;
  for (let before = -1; before !== sizeOf(result) && performance.now() < end; ) {
    before = sizeOf(result);
    result = shrinkList(result, fails);
    result.forEach((item, position) => {
      for (const [key, value] of Object.entries(item as object)) {
        const withPart = (part: unknown): unknown[] => result.with(position, { ...(result[position] as object), [key]: part });
        if (Array.isArray(value)) {
          result = withPart(shrinkList(value, (part) => fails(withPart(part))));
        } else if (value instanceof Uint8Array) {
          result = withPart(Uint8Array.from(shrinkList([...value], (part) => fails(withPart(Uint8Array.from(part))))));
        } else if (typeof value === "object" && value !== null) {
          const entries = shrinkList(Object.entries(value), (part) => fails(withPart(Object.fromEntries(part))));
          result = withPart(Object.fromEntries(entries));
        }
      }
    });
  }
  return result;
}

/** Without as many of its items as can be left out, in ever smaller pieces. */
function shrinkList<T>(list: readonly T[], fails: (candidate: readonly T[]) => boolean): readonly T[] {
  let result = list;
  for (let size = Math.ceil(result.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < result.length; ) {
      const candidate = result.toSpliced(at, size);
      if (fails(candidate)) result = candidate;
      else at += size;
    }
  }
  return result;
}

function sizeOf(data: unknown): number {
  if (data instanceof Uint8Array) return data.length;
  if (typeof data !== "object" || data === null) return 1;
  return 1 + Object.values(data).reduce((sum: number, item) => sum + sizeOf(item), 0);
}
