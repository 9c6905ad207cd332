/** What is left of a line of the harness protocol when two runs are compared. Numbers are their digits, as text. */
interface Line {
  in?: string;
  during: string;
  call?: string;
  id?: string;
  metadata?: string;
  follows_from?: string;
  data?: unknown;
  parent?: "contextual" | { explicit: string };
}

/** The genuine crate knows nothing of an error's type, stack and length of chain. */
function withoutErrorDetails(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || !("message" in value && "source" in value)) return value;
  return { message: value.message, source: value.source };
}

function parse(line: string): Line {
  const quoted = line.replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g, (token) => (token.startsWith('"') ? token : `"${token}"`));
  return JSON.parse(quoted, withoutErrorDetails) as Line;
}

/** Exits, then closes, when a receiver ends: their order among themselves says nothing. */
function isUnordered({ during, call }: Line): boolean {
  return during !== "event" && (call === "exit" || call === "try_close");
}

function sortGroups(lines: readonly Line[]): string[] {
  const sorted: string[] = [];
  let group: string[] = [];
  let groupCall: string | undefined;
  for (const line of lines) {
    const text = JSON.stringify(line);
    const call = isUnordered(line) ? line.call : undefined;
    if (call !== groupCall) {
      sorted.push(...group.sort());
      group = [];
      groupCall = call;
    }
    if (call === undefined) sorted.push(text);
    else group.push(text);
  }
  return [...sorted, ...group.sort()];
}

/** Lines of one run, fit for comparison with the same run elsewhere. */
export function comparable(lines: readonly string[]): string[] {
  return sortGroups(lines.map(parse));
}

/**
 * What a run dispatched after it restored a state, fit for comparison with a run that restored it at another line, in another
 * process: spans by order of appearance, call sites by what they are.
 */
export function afterRestore(lines: readonly string[]): string[] {
  const callSites = new Map<string, unknown>();
  const spans = new Map<string, string>();
  const span = (id: string): string => {
    if (!spans.has(id)) spans.set(id, `span ${spans.size + 1}`);
    return spans.get(id) as string;
  };
  const rest: Line[] = [];
  let restored = false;
  for (const line of lines.map(parse)) {
    if (line.call === "register_callsite") callSites.set(line.metadata as string, line.data);
    if ("restored" in line) restored = true;
    else if (restored && line.call !== "register_callsite") rest.push(line);
  }
  return sortGroups(
    rest.map(({ in: _, metadata, id, follows_from, parent, ...line }) => ({
      ...line,
      ...(metadata !== undefined && { data: callSites.get(metadata) }),
      ...(id !== undefined && { id: line.call === undefined ? id : span(id) }),
      ...(follows_from !== undefined && { follows_from: span(follows_from) }),
      ...(parent !== undefined && { parent: parent === "contextual" ? parent : { explicit: span(parent.explicit) } }),
    })),
  );
}
