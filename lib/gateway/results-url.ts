import { findElements, findTopLevelValues, parseValue } from "../anthropic/json-scan.ts";
import type { Arrival } from "./sink.ts";

/** No page of batches is longer. */
const MAX_BATCHES = 1_000;
const RESULTS_URL = /^https?:\/\/[^/?#]+.*?(\/v1\/messages\/batches\/[^/?#]+\/results(?:[?#].*)?)$/;

/**
 * A batch, or a page of batches, whose `results_url` leads to `origin` instead of the upstream: it is absolute, and
 * clients fetch it as it stands, past the gateway. All other bytes stay as they are. Null when there is nothing to
 * change.
 */
export function rewriteResultsUrls(body: Buffer, origin: string): Buffer | null {
  const top = findTopLevelValues(body, ["results_url", "data"]);
  const values = [top.get("results_url")];
  for (const batch of findElements(top.get("data"), MAX_BATCHES)) {
    values.push(findTopLevelValues(batch, ["results_url"]).get("results_url"));
  }
  const parts: Buffer[] = [];
  let done = 0;
  for (const value of values.filter((found) => found !== undefined).sort((a, b) => a.byteOffset - b.byteOffset)) {
    const url = parseValue(value, 4096);
    const path = typeof url === "string" ? RESULTS_URL.exec(url)?.[1] : undefined;
    if (path === undefined) continue;
    const start = value.byteOffset - body.byteOffset;
    parts.push(body.subarray(done, start), Buffer.from(JSON.stringify(origin + path)));
    done = start + value.length;
  }
  return parts.length === 0 ? null : Buffer.concat([...parts, body.subarray(done)]);
}

/**
 * Where a client reaches this gateway: the configured address, else the host that the client itself named. Null where
 * neither is known. A proxy in front that ends TLS says so in `x-forwarded-proto`.
 */
export function originFor({ rawHeaders, scheme }: Arrival, publicUrl: string | null): string | null {
  if (publicUrl !== null) return publicUrl.replace(/\/+$/, "");
  const host = headerOf(rawHeaders, "host");
  if (host === null || !/^[\w.:[\]-]{1,255}$/.test(host)) return null;
  const said = headerOf(rawHeaders, "x-forwarded-proto")?.split(",")[0]?.trim().toLowerCase();
  return `${said === "https" || said === "http" ? said : (scheme ?? "http")}://${host}`;
}

/** A header's first value. Names and values in turn. */
export function headerOf(rawHeaders: readonly string[], name: string): string | null {
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    if (rawHeaders[at]?.toLowerCase() === name) return rawHeaders[at + 1] ?? null;
  }
  return null;
}
