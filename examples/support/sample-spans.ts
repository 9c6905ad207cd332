import {
  type Attributes,
  type Context,
  type HrTime,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  type TimeInput,
  trace,
} from "@opentelemetry/api";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import fc from "fast-check";

/** A span to be made by the SDK. Times in nanoseconds since `EPOCH`. */
export interface SampleSpan {
  readonly name: string;
  readonly begin: number;
  readonly end: number;
  readonly scope?: string;
  readonly kind?: SpanKind;
  readonly attributes?: Attributes;
  readonly events?: readonly { readonly name: string; readonly time: number; readonly attributes?: Attributes }[];
  readonly error?: string;
  /** Whether it gets a link to its parent too. */
  readonly linked?: boolean;
  readonly children?: readonly SampleSpan[];
}

const EPOCH_SECONDS = 1_795_000_000;

function hrTime(nanos: number): HrTime {
  const whole = Math.floor(nanos / 1e9);
  return [EPOCH_SECONDS + whole, nanos - whole * 1e9];
}

/** The spans as the SDK hands them to an exporter. */
export function sampleSpans(samples: readonly SampleSpan[], service = "sample"): ReadableSpan[] {
  const exporter = new InMemorySpanExporter();
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ "service.name": service, "process.pid": 7 }),
    spanProcessors: [new SimpleSpanProcessor({ exporter })],
  });
  const make = (sample: SampleSpan, context: Context): void => {
    const { name, begin, end, scope = "host", kind = SpanKind.INTERNAL, attributes = {}, events = [], error, linked } = sample;
    const parent = trace.getSpanContext(context);
    const links = linked === true && parent !== undefined ? [{ context: parent, attributes: { why: "because" } }] : [];
    const options = { kind, attributes, links, startTime: hrTime(begin) as TimeInput };
    const span = provider.getTracer(scope, "1.2.3").startSpan(name, options, context);
    for (const event of events) span.addEvent(event.name, event.attributes ?? {}, hrTime(event.time));
    for (const child of sample.children ?? []) make(child, trace.setSpan(context, span));
    if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: error });
    span.end(hrTime(end));
  };
  for (const sample of samples) make(sample, ROOT_CONTEXT);
  return exporter.getFinishedSpans();
}

const attributes: fc.Arbitrary<Attributes> = fc.dictionary(
  fc.string({ minLength: 1, maxLength: 8 }),
  fc.oneof(
    fc.string(),
    fc.boolean(),
    fc.integer(),
    fc.maxSafeInteger(),
    // The SDK takes whole numbers of any size for integers of 64 bits.
    fc.double({ noNaN: true, noDefaultInfinity: true, noInteger: true }),
    fc.array(fc.string(), { maxLength: 3 }),
    fc.array(fc.integer(), { maxLength: 3 }),
  ),
  { maxKeys: 4 },
);

const { tree } = fc.letrec<{ tree: SampleSpan }>((tie) => ({
  tree: fc
    .record({
      name: fc.string({ unit: "binary", maxLength: 8 }),
      begin: fc.nat(5000),
      length: fc.nat(3000),
      scope: fc.constantFrom("host", "a", "b"),
      kind: fc.constantFrom(SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER),
      attributes,
      events: fc.array(fc.record({ name: fc.string({ maxLength: 8 }), time: fc.nat(9000), attributes }), { maxLength: 2 }),
      error: fc.option(fc.string(), { nil: undefined }),
      linked: fc.boolean(),
      children: fc.oneof({ maxDepth: 3 }, fc.constant([]), fc.array(tie("tree"), { maxLength: 4 })),
    })
    .map(({ length, error, ...rest }) => ({ ...rest, end: rest.begin + length, ...(error !== undefined && { error }) })),
}));

/** Spans of all sorts: asynchronous, of several scopes, outside of their parents' time. */
export const anySpans: fc.Arbitrary<SampleSpan[]> = fc.array(tree, { maxLength: 4 });
