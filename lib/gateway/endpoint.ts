/**
 * How an endpoint's use is counted. messages, chat, complete: a model answers, in one of three shapes. batch: makes one,
 * whose use comes with its results. batch_results: brings the use of a whole batch. unread: tokens are billed, but
 * another answer tells them (session events). free: nothing is billed.
 */
export type EndpointKind = "messages" | "chat" | "complete" | "batch" | "batch_results" | "unread" | "free";

/** `isPlain` is false for a path that servers may read as another one than it spells. */
export type Endpoint = { path: string; kind: EndpointKind; isPlain: boolean };

/** Reads a request target: its path without the query, and what kind of endpoint servers will take it for. */
export function readEndpoint(method: string, target: string): Endpoint {
  const query = target.indexOf("?");
  const path = query === -1 ? target : target.slice(0, query);
  const meant = AMBIGUOUS.test(path) ? meantPath(path) : path;
  return { path, kind: kindOf(method, meant), isPlain: meant === path };
}

function kindOf(method: string, path: string): EndpointKind {
  if (method === "POST") return kindOfPost(path);
  return method === "GET" && RESULTS.test(path) ? "batch_results" : "free";
}

const AMBIGUOUS = /[%\\#;]|\/\.|\/\/|\/$/;
/** Unreserved characters (RFC 3986, 2.3) and separators: what some servers decode before they look at a path. */
const DECODED_ANYWAY = /%(?:[46][1-9a-f]|[57][0-9a]|3[0-9]|2[def]|5[cf]|7e)/gi;

/** The path with all spellings undone that a server may undo: escapes, dot segments, doubled and trailing slashes. */
function meantPath(path: string): string {
  const spelt = path
    .replace(DECODED_ANYWAY, (code) => String.fromCharCode(Number.parseInt(code.slice(1), 16)))
    .replace(/[#;].*$/, "")
    .replaceAll("\\", "/");
  const segments: string[] = [];
  for (const segment of spelt.split("/")) {
    if (segment === "..") segments.pop();
    else if (segment !== "." && segment !== "") segments.push(segment);
  }
  return `/${segments.join("/")}`;
}

/** Whether a model answers the call: then its body tells the model, and draws on that model's limits. */
export function isModelCall(kind: EndpointKind): boolean {
  return kind === "messages" || kind === "chat" || kind === "complete";
}

/** Whether the answer is a batch, or a page of batches, which may tell where results are to be had. */
export function answersWithBatch(method: string, path: string): boolean {
  if (!path.startsWith(BATCHES)) return false;
  if (method === "POST") return path === BATCHES || CANCEL.test(path);
  return method === "GET" && (path === BATCHES || ONE.test(path));
}

/** The batch that a path below `/v1/messages/batches/` is about; "" where there is none. */
export function batchIdOf(path: string): string {
  return /^\/v1\/messages\/batches\/([^/]+)/.exec(path)?.[1] ?? "";
}

export const BATCHES = "/v1/messages/batches";
const ONE = /^\/v1\/messages\/batches\/[^/]+$/;
const CANCEL = /^\/v1\/messages\/batches\/[^/]+\/cancel$/;
const RESULTS = /^\/v1\/messages\/batches\/[^/]+\/results$/;

function kindOfPost(path: string): EndpointKind {
  switch (path) {
    case "/v1/messages":
      return "messages";
    case "/v1/chat/completions":
      return "chat";
    case "/v1/complete":
      return "complete";
    case BATCHES:
      return "batch";
  }
  return /^\/v1\/sessions\/[^/]+\/events$/.test(path) ? "unread" : "free";
}
