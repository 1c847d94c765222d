/** HTTP/1.x messages read back from the raw bytes of a connection, framing taken off: what two runs are compared by. */

export type WireMessage = {
  /** As it came, such as `POST /v1/messages HTTP/1.1` or `HTTP/1.1 200 OK`. */
  startLine: string;
  /** Names and values in the order and spelling of the wire, Latin-1. */
  headers: [string, string][];
  /** Without chunk framing, content-encoding untouched. */
  body: Buffer;
  trailers: [string, string][];
  framing: "none" | "length" | "chunked" | "close";
  /** False when the connection ended before the message did. */
  whole: boolean;
  /** Where in the connection's bytes the message begins. */
  offset: number;
};

/** The messages that a client sent over one connection. */
export function readRequests(bytes: Buffer): WireMessage[] {
  return readAll(bytes, () => ({ bodiless: false, untilClose: false }));
}

/** The messages that came back, interim (1xx) answers included. `methods` are those of the requests, in order. */
export function readAnswers(bytes: Buffer, methods: readonly string[]): WireMessage[] {
  let answered = 0;
  return readAll(bytes, (startLine) => {
    const status = statusOf(startLine);
    if (status >= 100 && status < 200) return { bodiless: true, untilClose: false };
    const method = methods[answered] ?? "";
    answered += 1;
    return { bodiless: method === "HEAD" || status === 204 || status === 304, untilClose: true };
  });
}

export function statusOf(startLine: string): number {
  return Number(/^HTTP\/1\.[01] (\d{3})/.exec(startLine)?.[1] ?? 0);
}

/** All values of a header, in any spelling of its name. */
export function valuesOf(message: WireMessage, name: string): string[] {
  return message.headers.filter(([own]) => own.toLowerCase() === name).map(([, value]) => value);
}

type BodyRule = { bodiless: boolean; untilClose: boolean };

function readAll(bytes: Buffer, ruleOf: (startLine: string) => BodyRule): WireMessage[] {
  const messages: WireMessage[] = [];
  let at = 0;
  while (at < bytes.length) {
    // Empty lines before a start line are to be passed over (RFC 9112, 2.2).
    while (bytes[at] === 13 || bytes[at] === 10) at += 1;
    if (at >= bytes.length) break;
    const read = readOne(bytes, at, ruleOf);
    messages.push(read.message);
    if (!read.message.whole) break;
    at = read.end;
  }
  return messages;
}

function readOne(bytes: Buffer, offset: number, ruleOf: (startLine: string) => BodyRule) {
  const message: WireMessage = {
    startLine: "",
    headers: [],
    body: Buffer.alloc(0),
    trailers: [],
    framing: "none",
    whole: false,
    offset,
  };
  const head = readFields(bytes, offset);
  if (head === null) {
    message.startLine = bytes.toString("latin1", offset);
    return { message, end: bytes.length };
  }
  const [startLine = "", ...fields] = head.lines;
  message.startLine = startLine;
  message.headers = fields.map(toField);
  const rule = ruleOf(startLine);
  const isChunked = valuesOf(message, "transfer-encoding").some((value) => /chunked\s*$/i.test(value));
  const length = valuesOf(message, "content-length")[0];
  if (rule.bodiless) {
    message.whole = true;
    return { message, end: head.end };
  }
  if (isChunked) return readChunks(bytes, head.end, message);
  if (length !== undefined) {
    const end = head.end + Number(length);
    message.framing = "length";
    message.body = bytes.subarray(head.end, Math.min(end, bytes.length));
    message.whole = end <= bytes.length;
    return { message, end };
  }
  message.whole = true;
  if (!rule.untilClose) return { message, end: head.end };
  message.framing = "close";
  message.body = bytes.subarray(head.end);
  return { message, end: bytes.length };
}

function readChunks(bytes: Buffer, from: number, message: WireMessage) {
  message.framing = "chunked";
  const parts: Buffer[] = [];
  let at = from;
  for (;;) {
    const lineEnd = bytes.indexOf("\r\n", at);
    if (lineEnd === -1) break;
    const size = Number.parseInt(bytes.toString("latin1", at, lineEnd), 16);
    if (Number.isNaN(size)) break;
    at = lineEnd + 2;
    if (size === 0) {
      const trailer = bytes.subarray(at, at + 2).equals(CRLF) ? { lines: [], end: at + 2 } : readFields(bytes, at);
      if (trailer === null) break;
      message.trailers = trailer.lines.map(toField);
      message.body = Buffer.concat(parts);
      message.whole = true;
      return { message, end: trailer.end };
    }
    parts.push(bytes.subarray(at, at + size));
    at += size + 2;
    if (at > bytes.length) break;
  }
  message.body = Buffer.concat(parts);
  return { message, end: bytes.length };
}

const CRLF = Buffer.from("\r\n");

function readFields(bytes: Buffer, from: number): { lines: string[]; end: number } | null {
  const end = bytes.indexOf("\r\n\r\n", from);
  if (end === -1) return null;
  return { lines: bytes.toString("latin1", from, end).split("\r\n"), end: end + 4 };
}

function toField(line: string): [string, string] {
  const colon = line.indexOf(":");
  return colon === -1 ? [line, ""] : [line.slice(0, colon), line.slice(colon + 1).trim()];
}
