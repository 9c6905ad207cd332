import { connect, disconnect } from "@spanduct/sandbox/web-worker";
import * as api from "@spanduct/sender";

// What it does is in its URL. It finds `spanduct`, `connect` and `disconnect`.
const code = decodeURIComponent(new URL(import.meta.url).search.slice(1));
const spanduct = { ...api, tracing: connect({ captureConsole: true }) };
new Function("spanduct", "connect", "disconnect", code)(spanduct, connect, disconnect);
