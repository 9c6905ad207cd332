import { workerData } from "node:worker_threads";
import { connect } from "@spanduct/sandbox/worker";
import * as api from "@spanduct/sender";

new Function("spanduct", (workerData as { readonly code: string }).code)({ ...api, tracing: connect({ captureConsole: true }) });
