// What is used of the peer, which is too heavy to be a development dependency here. `runtimes/temporal` has the real one.
declare module "@temporalio/workflow" {
  /** Whether this code runs in a workflow. */
  export function inWorkflowContext(): boolean;
  export function workflowInfo(): { readonly runId: string; readonly memo?: { readonly [name: string]: unknown } };
  export function proxySinks<Sinks>(): Sinks;
}
