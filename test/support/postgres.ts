import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, chownSync, constants, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import pg from "pg";

/** A PostgreSQL server of the test's own: an empty cluster behind a unix socket, gone when it is stopped. */
export interface PostgresServer {
  /** Of the database `postgres`, as a superuser without password. */
  readonly address: string;
  readonly version: string;
  /** Run a statement. */
  query(text: string, values?: unknown[]): Promise<unknown[]>;
  stop(): Promise<void>;
}

/** Where Debian puts the programs of a version of PostgreSQL. */
const DEBIAN = "/usr/lib/postgresql";
/** As whom the server runs where the tests run as root, which it refuses. */
const UNPRIVILEGED = "postgres";

/** Why there can be no server on this machine; `undefined` when there can. */
export function missingPostgres(): string | undefined {
  if (programs() === undefined) return `no initdb in the PATH or in ${DEBIAN}`;
  if (!isRoot()) return undefined;
  if (userId() === undefined) return `there is no user ${UNPRIVILEGED} for the server to run as`;
  return isExecutable("/usr/bin/setpriv") ? undefined : "there is no setpriv to run the server as another user";
}

/** @param settings of the server, beyond those of a new cluster: `{ fsync: "off" }` */
export async function startPostgres(settings: { readonly [name: string]: string } = {}): Promise<PostgresServer> {
  const folder = programs();
  const reason = missingPostgres();
  if (folder === undefined || reason !== undefined) throw new Error(reason);
  const data = mkdtempSync(join(tmpdir(), "pg-"));
  const uid = isRoot() ? userId() : undefined;
  if (uid !== undefined) chownSync(data, uid, uid);
  // The server goes when this process does, however that ends.
  const as =
    uid === undefined ? [] : ["/usr/bin/setpriv", `--reuid=${UNPRIVILEGED}`, `--regid=${UNPRIVILEGED}`, "--clear-groups"];
  const run = (...command: string[]): [string, string[]] => [command[0] as string, command.slice(1)];
  const cluster = join(data, "data");
  execFileSync(
    ...run(
      ...as,
      join(folder, "initdb"),
      "-D",
      cluster,
      "-U",
      "spanduct",
      "--auth=trust",
      "--no-sync",
      "--encoding=UTF8",
      "--locale=C",
    ),
    { cwd: data, stdio: "pipe" },
  );
  const given = Object.entries({ listen_addresses: "", unix_socket_directories: data, max_connections: "50", ...settings });
  const server = spawn(
    ...run(
      ...as,
      ...(as.length > 0 ? ["--pdeathsig=INT"] : []),
      join(folder, "postgres"),
      "-D",
      cluster,
      ...given.flatMap(([name, value]) => ["-c", `${name}=${value}`]),
    ),
    { cwd: data, stdio: ["ignore", "ignore", "pipe"] },
  );
  await ready(server);
  const address = `postgresql://spanduct@localhost/postgres?host=${encodeURIComponent(data)}`;
  const pool = new pg.Pool({ connectionString: address, max: 1 });
  pool.on("error", () => undefined);
  const query = async (text: string, values?: unknown[]): Promise<unknown[]> => (await pool.query(text, values)).rows;
  const [version] = (await query("show server_version")) as { server_version: string }[];
  return {
    address,
    version: version?.server_version ?? "",
    query,
    async stop() {
      await pool.end();
      const closed = once(server, "close");
      server.kill("SIGINT");
      await closed;
      rmSync(data, { recursive: true });
    },
  };
}

async function ready(server: ChildProcess): Promise<void> {
  const said: string[] = [];
  for await (const line of createInterface({ input: server.stderr as NonNullable<ChildProcess["stderr"]> })) {
    said.push(line);
    if (line.includes("ready to accept connections")) {
      // What it says from here on is of no use, but has to be read.
      server.stderr?.resume();
      return;
    }
  }
  throw new Error(`PostgreSQL did not start:\n${said.join("\n")}`);
}

function programs(): string | undefined {
  const installed = isDirectory(DEBIAN) ? readdirSync(DEBIAN).sort((a, b) => Number(b) - Number(a)) : [];
  const folders = [...installed.map((version) => join(DEBIAN, version, "bin")), ...(process.env["PATH"] ?? "").split(delimiter)];
  return folders.find((folder) => isExecutable(join(folder, "initdb")) && isExecutable(join(folder, "postgres")));
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}

function userId(): number | undefined {
  try {
    return Number(execFileSync("id", ["-u", UNPRIVILEGED], { stdio: "pipe", encoding: "utf8" }));
  } catch {
    return undefined;
  }
}

function isDirectory(path: string): boolean {
  return isAccessible(path, constants.R_OK);
}

function isExecutable(path: string): boolean {
  return isAccessible(path, constants.X_OK);
}

function isAccessible(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}
