import { connect, connected, disconnect } from "@spanduct/sandbox/iframe";
import * as api from "@spanduct/sender";

// What it does, and for whom, is in its URL. The code finds `spanduct`, `connect`, `connected` and `disconnect`.
const { code, hostOrigin, opened } = JSON.parse(decodeURIComponent(location.search.slice(1))) as {
  readonly code: string;
  readonly hostOrigin: string;
  readonly opened: boolean;
};
const tracing = connect({ hostOrigin, captureConsole: true, ...(opened && { host: opener as Window }) });
const names = ["spanduct", "connect", "connected", "disconnect"];
new Function(...names, code)({ ...api, tracing }, connect, connected, disconnect);
