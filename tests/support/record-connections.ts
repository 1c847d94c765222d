import childProcess from "node:child_process";
import dgram from "node:dgram";
import dns from "node:dns";
import { appendFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import net from "node:net";

/**
 * Loaded into a process by `NODE_OPTIONS=--import`, writes every outgoing connection, every look-up of a name and every
 * port that it listens on to the file HEADROOM_TEST_CONNECTIONS, and follows into the processes that it starts. All of
 * Node's HTTP, TLS and fetch ends in the functions that are replaced here.
 */

export type Noted = { kind: "connect" | "lookup" | "datagram" | "listen"; to: string; program: string; pid: number };

const file = process.env.HEADROOM_TEST_CONNECTIONS;
if (file !== undefined) watch(file);

function watch(path: string): void {
  const note = (kind: Noted["kind"], to: string) => {
    const noted: Noted = { kind, to, program: process.argv[1] ?? "", pid: process.pid };
    appendFileSync(path, `${JSON.stringify(noted)}\n`);
  };
  replace(net.Socket.prototype, "connect", (args) => note("connect", targetOf(args)));
  replace(dgram.Socket.prototype, "send", () => note("datagram", "send"));
  replace(dgram.Socket.prototype, "connect", (args) => note("datagram", String(args[0])));
  for (const owner of [dns, dns.promises, dns.Resolver.prototype, dns.promises.Resolver.prototype]) {
    for (const name of Object.keys(owner).concat(Object.getOwnPropertyNames(owner))) {
      if (/^(lookup|resolve|reverse)/.test(name)) replace(owner, name, (args) => note("lookup", String(args[0])));
    }
  }
  replace(net.Server.prototype, "listen", (_, server) => {
    (server as net.Server).once("listening", () => {
      const address = (server as net.Server).address();
      note("listen", typeof address === "object" && address ? `${address.address}:${address.port}` : String(address));
    });
  });
  const { spawn } = childProcess;
  const { NODE_OPTIONS, HEADROOM_TEST_CONNECTIONS } = process.env;
  childProcess.spawn = ((command: string, ...rest: unknown[]) => {
    const args = Array.isArray(rest[0]) ? rest[0] : [];
    const options = (rest.find((part) => typeof part === "object" && part !== null && !Array.isArray(part)) ?? {}) as {
      env?: NodeJS.ProcessEnv;
    };
    const env = { ...(options.env ?? process.env), NODE_OPTIONS, HEADROOM_TEST_CONNECTIONS };
    return spawn(command, args, { ...options, env });
  }) as typeof spawn;
  syncBuiltinESMExports();
}

function replace(owner: object, name: string, before: (args: unknown[], self: unknown) => void): void {
  const holder = owner as Record<string, unknown>;
  const original = holder[name];
  if (typeof original !== "function" || "isWatched" in original) return;
  const watched = function (this: unknown, ...args: unknown[]): unknown {
    before(args, this);
    return original.apply(this, args);
  };
  holder[name] = Object.assign(watched, original, { isWatched: true });
}

/** `net.connect` hands its arguments over as one normalised list. */
function targetOf(args: unknown[]): string {
  const first = Array.isArray(args[0]) ? args[0][0] : args[0];
  if (typeof first !== "object" || first === null)
    return typeof first === "number" ? `${args[1] ?? "localhost"}:${first}` : String(first);
  const { host, port, path } = first as { host?: string; port?: number | string; path?: string };
  return path ?? `${host ?? "localhost"}:${port}`;
}
