import { ManualClock } from "../../lib/kit/clock.ts";
import { type SimulatorOptions, startSimulator } from "../../lib/simulator/simulator.ts";
import { type Door, openDoor } from "./gateway.ts";
import { statusOf, type WireMessage } from "./http-wire.ts";
import { openTap, type WireExchange } from "./wire-tap.ts";

/** How traffic reaches the upstream: straight, or through one of Headroom's doors. */
export type Way = "straight" | Door;

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

/** Does the same work against a simulator of its own: the same seed, the same standing clock, so the same answers. */
export async function run(
  way: Way,
  work: (baseUrl: string) => Promise<unknown>,
  options: SimulatorOptions = {},
): Promise<Run> {
  const simulator = await startSimulator({ seed: 7, clock: new ManualClock(), tier: "scale", ...options });
  const upstreamTap = await openTap(simulator.url);
  const door = way === "straight" ? null : await openDoor(way, upstreamTap.url);
  const clientTap = door ? await openTap(door.url) : upstreamTap;
  try {
    const value = await work(clientTap.url);
    await simulator.idle();
    return { way, client: clientTap.exchanges(), upstream: upstreamTap.exchanges(), value };
  } finally {
    if (door) await clientTap.close();
    await door?.close();
    await upstreamTap.close();
    await simulator.close();
  }
}

/** What differs between the two sides of Headroom in one run, exchange by exchange; nothing, if all is well. */
export function differencesInside({ way, client, upstream }: Run): string[] {
  if (client.length !== upstream.length) return [`${client.length} calls came and ${upstream.length} went out`];
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
  expectSame("request line", ...pair(requests, ({ startLine }) => startLine.replace(/ HTTP\/1\.[01]$/, "")));
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

function reasonOf({ startLine }: WireMessage): string {
  return startLine.slice(startLine.indexOf(" ", 9) + 1);
}

/**
 * Fields by name, those of one name in their order. The web door knows names in lower case only, and joins the values
 * of one name, save cookies (Fetch standard).
 */
function fields({ headers }: WireMessage, except: readonly string[], way: Way): string[] {
  const kept = headers.filter(([name]) => {
    const lower = name.toLowerCase();
    return !except.includes(lower) && !lower.startsWith("x-headroom-");
  });
  const named = kept.map(([name, value]): [string, string] => [way === "web" ? name.toLowerCase() : name, value]);
  const byName = new Map<string, string[]>();
  for (const [name, value] of named) byName.set(name, [...(byName.get(name) ?? []), value]);
  return [...byName]
    .map(([name, values]) => `${name}: ${(way === "web" ? [values.join(", ")] : values).join(" | ")}`)
    .sort();
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
