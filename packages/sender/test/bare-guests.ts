import { resolve } from "node:path";
import { createContext, runInContext } from "node:vm";
import { type BuildOptions, build } from "esbuild";
import { newQuickJSWASMModuleFromVariant, type QuickJSWASMModule } from "quickjs-emscripten-core";

const SENDER = resolve(import.meta.dirname, "..");

/**
 * One script of a module and everything it imports; what it exports becomes the global `guest`. Imports are resolved as those of
 * `@spanduct/sender` are.
 */
export async function bundle(source: string, options: BuildOptions = {}): Promise<string> {
  const { outputFiles, metafile } = await build({
    stdin: { contents: source, resolveDir: SENDER, sourcefile: "guest.ts", loader: "ts" },
    bundle: true,
    format: "iife",
    globalName: "guest",
    target: "es2022",
    platform: "neutral",
    mainFields: ["module", "main"],
    absWorkingDir: SENDER,
    logLevel: "silent",
    ...options,
    write: false,
    metafile: true,
  });
  const imports = Object.values(metafile.outputs).flatMap((output) => output.imports.map(({ path }) => path));
  if (imports.length > 0) throw new Error(`the bundle imports ${imports.join(", ")}`);
  return outputFiles[0]?.text ?? "";
}

/** A realm with nothing in it but the language and the global function `send`. */
export interface BareGuest extends Disposable {
  /** Run a script, then what it left to promises. @returns its value, a primitive */
  run(script: string): unknown;
}

/** What is behind the guest's `send`. The bytes are the guest's own memory. */
export type HostSend = (batch: Uint8Array) => number | undefined;

/** An empty context of `node:vm`. @param globals what it has nevertheless */
export function vmGuest(send: HostSend, globals: Record<string, unknown> = {}): BareGuest {
  const realm = Object.assign(Object.create(null), globals, { send }) as Record<string, unknown>;
  const context = createContext(realm, { microtaskMode: "afterEvaluate" });
  return {
    run: (script) => runInContext(script, context) as unknown,
    [Symbol.dispose]: () => undefined,
  };
}

let quickJS: Promise<QuickJSWASMModule> | undefined;

/** A QuickJS virtual machine: no timers, no encoders, no console. */
export async function quickJSGuest(send: HostSend): Promise<BareGuest> {
  quickJS ??= newQuickJSWASMModuleFromVariant(import("@jitl/quickjs-wasmfile-release-sync"));
  const runtime = (await quickJS).newRuntime();
  const context = runtime.newContext();
  context
    .newFunction("sendBuffer", (buffer) => {
      const bytes = context.getArrayBuffer(buffer);
      const word = send(bytes.value);
      bytes.dispose();
      return word === undefined ? context.undefined : context.newNumber(word);
    })
    .consume((sendBuffer) => context.setProp(context.global, "sendBuffer", sendBuffer));
  const guest: BareGuest = {
    run(script) {
      const value = context.unwrapResult(context.evalCode(script)).consume(context.dump) as unknown;
      context.unwrapResult(runtime.executePendingJobs());
      return value;
    },
    [Symbol.dispose]() {
      context.dispose();
      runtime.dispose();
    },
  };
  guest.run("globalThis.send = (batch) => sendBuffer(batch.slice().buffer); undefined");
  return guest;
}
