import type { Relay } from "@spanduct/receiver";

/** The same relay, which never learns how its attempt ends: what it holds back stays held for ever, its open spans can be saved. */
export function muted<Span>(relay: Relay<Span>): Relay<Span> {
  return new Proxy(relay, {
    get(relay, key) {
      if (key === "commit" || key === "rollback") return undefined;
      const member: unknown = Reflect.get(relay, key, relay);
      return typeof member === "function" ? member.bind(relay) : member;
    },
  });
}
