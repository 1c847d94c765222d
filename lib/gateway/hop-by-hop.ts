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
