/** A host that runs executions until its store fails, and exports nothing: `node disk-full-child.ts <address>`. */
import { ScriptedHost, workflow } from "../support/scripted-executions.ts";
import { openAddress } from "./address.ts";

const host = new ScriptedHost(openAddress(process.argv[2] ?? ""), { retry: { attempts: 2 } });
host.exportFailure = new Error("nobody is there");
const script = workflow(2, 20);
for (let finished = 0; ; finished++) {
  try {
    await host.finish(`order ${finished}`, script);
  } catch (error) {
    console.log(JSON.stringify({ finished, code: (error as { code?: string }).code, exported: host.exported.length }));
    break;
  }
}
