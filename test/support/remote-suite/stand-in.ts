/**
 * Stands in for `vitest` in suites that run where vitest does not: in a page, in Bun, in Deno. Has what our suites use, under the same
 * names, and vitest's own `expect`. Tests are only gathered; `run` runs one.
 */
import {
  ASYMMETRIC_MATCHERS_OBJECT,
  chai,
  type ExpectStatic,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
  setState,
} from "@vitest/expect";

/** A test, as it can be told to the process that vitest runs in. */
export interface RemoteTest {
  /** The `describe` blocks around it, outermost first. */
  readonly path: readonly string[];
  readonly title: string;
  readonly skipped: boolean;
  readonly timeoutMs: number | undefined;
}

/** How a test went: what it failed with, if it did. */
export interface RemoteResult {
  readonly failure?: { readonly name: string; readonly message: string; readonly stack: string };
}

interface Options {
  readonly timeout?: number;
}

type Body = () => unknown;

interface Suite {
  readonly tests: RemoteTest[];
  readonly bodies: (Body | undefined)[];
  readonly path: string[];
  readonly cleanups: Body[];
}

const suite: Suite = { tests: [], bodies: [], path: [], cleanups: [] };

function add(title: string, body: Body | undefined, { timeout }: Options): void {
  suite.tests.push({ path: [...suite.path], title, skipped: body === undefined, timeoutMs: timeout });
  suite.bodies.push(body);
}

export function describe(title: string, ...rest: readonly [Body] | readonly [Options, Body]): void {
  const body = rest.length === 1 ? rest[0] : rest[1];
  suite.path.push(title);
  body();
  suite.path.pop();
}

export function it(title: string, ...rest: readonly [Body] | readonly [Options, Body]): void {
  const [options, body] = rest.length === 1 ? [{}, rest[0]] : rest;
  add(title, body, options);
}
it.skip = (title: string): void => add(title, undefined, {});
it.each =
  <Row extends readonly unknown[]>(rows: readonly Row[]) =>
  (title: string, body: (...row: Row) => unknown): void => {
    for (const row of rows) {
      let at = 0;
      add(
        title.replaceAll("%s", () => String(row[at++])),
        () => body(...row),
        {},
      );
    }
  };

export function onTestFinished(cleanup: Body): void {
  suite.cleanups.push(cleanup);
}

for (const plugin of [JestExtend, JestChaiExpect, JestAsymmetricMatchers]) chai.use(plugin);
const matchers = (globalThis as unknown as { readonly [key: symbol]: object })[ASYMMETRIC_MATCHERS_OBJECT];
export const expect = Object.assign(
  (value: unknown, message?: string) => chai.expect(value, message),
  chai.expect,
  matchers,
) as unknown as ExpectStatic;
setState({ assertionCalls: 0 }, expect);

/** All tests, in their order. */
export function tests(): readonly RemoteTest[] {
  return suite.tests;
}

/** Run one test. */
export async function run(index: number): Promise<RemoteResult> {
  try {
    const body = suite.bodies[index];
    if (body === undefined) throw new Error(`test ${index} is not the same here as where the tests were gathered`);
    await body();
    return {};
  } catch (error) {
    const { name, message, stack = "" } = error instanceof Error ? error : new Error(String(error));
    return { failure: { name, message, stack } };
  } finally {
    for (const cleanup of suite.cleanups.splice(0).reverse()) await cleanup();
  }
}
