import { ManualClock } from "../../lib/kit/clock.ts";
import { type Simulator, type SimulatorOptions, startSimulator } from "../../lib/simulator/simulator.ts";
import { type Door, openDoor } from "./gateway.ts";
import { statusOf, type WireMessage } from "./http-wire.ts";
import { openTap, type WireExchange, type WireTap } from "./wire-tap.ts";

/** How traffic reaches the upstream: straight, or through one of Headroom's doors; "next" is the web one as Next has it. */
export type Way = "straight" | Door | "next";

/** A Headroom that already runs, and the tap that is its upstream. */
export type Standing = { url: string; upstream: WireTap };

export type Run = {
  way: Way;
  /** What the client sent and received. */
  client: WireExchange[];
  /** What the upstream received and sent; the same as above when it is reached straight. */
  upstream: WireExchange[];
  /** What the client's program made of it. */
  value: unknown;
};

/**
 * Header fields that may differ between the two sides of Headroom. All are about one connection (RFC 9110, 7.6.1), or
 * Headroom's own; everything else has to be the same to the byte.
 */
export const EXCEPTIONS = {
  request: [
    // Expectations are met by the next server, and trailers are not passed on.
    ...["connection", "keep-alive", "transfer-encoding", "te", "expect", "trailer"],
    // Names the next server, not this one.
    "host",
    // A collected body goes out with its length, however it came; the length itself is compared with the body.
    "content-length",
  ],
  answer: ["connection", "keep-alive", "transfer-encoding"],
} as const;

/**
 * Next says on every route's answer that pages vary by these, before the route is asked. Of answers that carry it only
 * shared caches are told anything, and they keep none of the API's.
 */
const VARY_OF_NEXT = "rsc, next-router-state-tree, next-router-prefetch, next-router-segment-prefetch";

/** Does the same work against a simulator of its own: the same seed, the same standing clock, so the same answers. */
export async function run(
  way: Exclude<Way, "next">,
  work: (baseUrl: string) => Promise<unknown>,
  options: SimulatorOptions = {},
): Promise<Run> {
  const simulator = await startSimulator({ seed: 7, clock: new ManualClock(), tier: "scale", ...options });
  const upstream = await openTap(simulator.url);
  const door = way === "straight" ? null : await openDoor(way, upstream.url);
  try {
    return await watch(way, work, simulator, upstream, door?.url ?? null);
  } finally {
    await door?.close();
    await upstream.close();
    await simulator.close();
  }
}

/** The same through a Headroom that runs before and after. */
export async function runThrough(
  way: Way,
  { url, upstream }: Standing,
  work: (baseUrl: string) => Promise<unknown>,
): Promise<Run> {
  const simulator = await startSimulator({ seed: 7, clock: new ManualClock(), tier: "scale" });
  await upstream.aim(simulator.url);
  try {
    return await watch(way, work, simulator, upstream, url);
  } finally {
    await simulator.close();
  }
}

async function watch(
  way: Way,
  work: (baseUrl: string) => Promise<unknown>,
  simulator: Simulator,
  upstream: WireTap,
  doorUrl: string | null,
): Promise<Run> {
  const earlier = upstream.exchanges().length;
  const client = doorUrl === null ? upstream : await openTap(doorUrl);
  try {
    const value = await work(client.url);
    await simulator.idle();
    return { way, client: client.exchanges(), upstream: upstream.exchanges().slice(earlier), value };
  } finally {
    if (client !== upstream) await client.close();
  }
}

/** What differs between the two sides of Headroom in one run, exchange by exchange; nothing, if all is well. */
export function differencesInside({ way, client, upstream }: Run): string[] {
  if (client.length !== upstream.length) {
    const targets = (of: WireExchange[]) => of.map(({ request }) => request.startLine).join(", ");
    return [`${targets(client)} came and ${targets(upstream)} went out`];
  }
  const left = [...upstream];
  return client.flatMap((outer) => {
    // Several calls may be open at a time: each is told by what it carries.
    const at = Math.max(
      left.findIndex((inner) => idOf(inner) !== null && idOf(inner) === idOf(outer)),
      0,
    );
    const [inner] = left.splice(at, 1);
    return inner ? compare(outer, inner, way) : [];
  });
}

/** What differs for the client between going straight and through Headroom. */
export function differencesBetween(straight: Run, through: Run): string[] {
  if (straight.client.length !== through.client.length) {
    const targets = (of: Run) => of.client.map(({ request }) => request.startLine).join(", ");
    return [`straight: ${targets(straight)}; ${through.way}: ${targets(through)}`];
  }
  return straight.client.flatMap((before, index) => {
    const after = through.client[index];
    return after ? compare(after, before, through.way) : [];
  });
}

function idOf({ answer }: WireExchange): string | null {
  return answer?.headers.find(([name]) => name.toLowerCase() === "request-id")?.[1] ?? null;
}

function compare(one: WireExchange, other: WireExchange, way: Way): string[] {
  const name = one.request.startLine;
  const found: string[] = [];
  const expectSame = (what: string, a: unknown, b: unknown) => {
    const [left, right] = [show(a), show(b)];
    if (left === right) return;
    let at = 0;
    while (left[at] === right[at]) at += 1;
    const about = (text: string) => text.slice(Math.max(at - 60, 0), at + 120);
    found.push(`${name}: ${what}: ${about(left)} instead of ${about(right)}`);
  };
  const requests = [one.request, other.request].map(maskBoundary);
  // The version is the connection's.
  expectSame("request line", ...pair(requests, ({ startLine }) => asked(startLine, way)));
  expectSame("request headers", ...pair(requests, (message) => fields(message, EXCEPTIONS.request, way)));
  expectSame("request body", ...pair(requests, ({ body }) => body.toString("latin1")));
  const answers = [one.answer, other.answer].map((answer) => answer && maskHost(answer, name));
  expectSame("status", ...pair(answers, (answer) => answer && [statusOf(answer.startLine), reasonOf(answer)]));
  expectSame("answer headers", ...pair(answers, (answer) => answer && fields(answer, EXCEPTIONS.answer, way)));
  expectSame("body", ...pair(answers, (answer) => answer?.body.toString("latin1")));
  expectSame("whole", ...pair(answers, (answer) => answer?.whole));
  expectSame("trailers", ...pair(answers, (answer) => answer?.trailers));
  return found;
}

function pair<Item, Value>(items: Item[], read: (item: Item) => Value): [Value | undefined, Value | undefined] {
  const [one, other] = items.map(read);
  return [one, other];
}

function show(value: unknown): string {
  return JSON.stringify(value) ?? "";
}

/** Next parses a query and writes it anew: fields of one name come together, and a space is a `+`. */
function asked(startLine: string, way: Way): string {
  const [method, target = ""] = startLine.split(" ");
  const [path, ...query] = target.split("?");
  if (way !== "next" || query.length === 0) return `${method} ${target}`;
  const fields = new URLSearchParams(query.join("?"));
  fields.sort();
  return `${method} ${path}?${fields}`;
}

function reasonOf({ startLine }: WireMessage): string {
  return startLine.slice(startLine.indexOf(" ", 9) + 1);
}

/**
 * Fields by name, those of one name in their order. The web door knows names in lower case only, and joins the values
 * of one name, save cookies (Fetch standard).
 */
function fields({ headers }: WireMessage, except: readonly string[], way: Way): string[] {
  const byFetch = way === "web" || way === "next";
  const kept = headers.filter(([name, value]) => {
    const lower = name.toLowerCase();
    if (way === "next" && lower === "vary" && value === VARY_OF_NEXT) return false;
    return !except.includes(lower) && !lower.startsWith("x-headroom-");
  });
  const named = kept.map(([name, value]): [string, string] => [byFetch ? name.toLowerCase() : name, value]);
  const byName = new Map<string, string[]>();
  for (const [name, value] of named) byName.set(name, [...(byName.get(name) ?? []), value]);
  return [...byName].map(([name, values]) => `${name}: ${(byFetch ? [values.join(", ")] : values).join(" | ")}`).sort();
}

/** Each upload has a boundary of its own, drawn at random by the client. */
function maskBoundary(message: WireMessage): WireMessage {
  const boundary = /boundary="?([^";\n]+)/.exec(message.headers.flat().join("\n"))?.[1];
  if (boundary === undefined) return message;
  const mask = (text: string) => text.replaceAll(boundary, "BOUNDARY");
  return {
    ...message,
    headers: message.headers.map(([name, value]) => [name, mask(value)]),
    body: Buffer.from(mask(message.body.toString("latin1")), "latin1"),
  };
}

/** A batch's `results_url` is absolute, and Headroom puts its own address there (`anthropic-api.md`, 6). */
function maskHost(message: WireMessage, requestLine: string): WireMessage {
  if (!requestLine.includes("/v1/messages/batches")) return message;
  const body = message.body.toString("latin1").replace(/("results_url":")http:\/\/127\.0\.0\.1:\d+/g, "$1http://HOST");
  const headers = message.headers.filter(([name]) => name.toLowerCase() !== "content-length");
  return { ...message, headers, body: Buffer.from(body, "latin1") };
}
