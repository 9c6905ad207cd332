import type { Attributes } from "@opentelemetry/api";
import type { Resource } from "./sdk.ts";

/** What is said of a host that says nothing of itself. */
export function defaultResource(): Resource {
  return plainResource({ "service.name": "unknown_service" });
}

function plainResource(attributes: Attributes): Resource {
  return {
    attributes,
    merge: (other) => (other === null ? plainResource(attributes) : plainResource({ ...attributes, ...other.attributes })),
    getRawAttributes: () => Object.entries(attributes),
  };
}
