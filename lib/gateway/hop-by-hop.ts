/** Fields that are about one connection and are not passed on (RFC 9110, 7.6.1), besides those that Connection names. */
export const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "transfer-encoding",
  "upgrade",
]);

/** Trailers without fields that frame a message, which no trailer may hold (RFC 9110, 6.5.1). Names and values in turn. */
export function withoutFraming(rawTrailers: string[]): string[] {
  if (rawTrailers.length === 0) return rawTrailers;
  const kept: string[] = [];
  for (let at = 0; at + 1 < rawTrailers.length; at += 2) {
    const name = (rawTrailers[at] ?? "").toLowerCase();
    if (!HOP_BY_HOP.has(name) && name !== "content-length" && name !== "trailer") {
      kept.push(rawTrailers[at] ?? "", rawTrailers[at + 1] ?? "");
    }
  }
  return kept;
}

/** Takes out the fields that a Connection header names. Names and values in turn. */
export function removeNominated(rawHeaders: string[], connection: string): string[] {
  if (connection === "keep-alive" || connection === "close") return rawHeaders;
  const names = connection
    .toLowerCase()
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "" && name !== "close" && name !== "keep-alive" && !HOP_BY_HOP.has(name));
  if (names.length === 0) return rawHeaders;
  const kept: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? "";
    if (!names.includes(name.toLowerCase())) kept.push(name, rawHeaders[at + 1] ?? "");
  }
  return kept;
}
