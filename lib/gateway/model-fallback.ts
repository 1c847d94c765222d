import { fitsModel } from "../access/model-pattern.ts";
import type { GatewaySettings } from "../access/schema.ts";
import type { RefusalCause } from "../anthropic/error-detail.ts";
import { findTopLevelValues } from "../anthropic/json-scan.ts";
import type { UpstreamRefusal } from "../traffic/refusal-action.ts";
import { CollectedBody } from "./collected-body.ts";
import type { RequestHeaders } from "./request-headers.ts";

export type Fallback = GatewaySettings["fallbacks"][number];

/** What a model's id is made of; anything else could not be said in a header. */
const MODEL = /^[\w.:@/-]{1,200}$/;
/** Thoughts are signed for their model, and another would not take them. Within a prompt's text quotes are escaped. */
const SIGNED = ['"signature"', '"redacted_thinking"'] as const;

/**
 * The operator's rule for a call that its model has no room for; null where there is none, where the caller does not
 * want it (`x-headroom-fallback: off`), or where the conversation is bound to its model.
 */
export function findFallback(of: {
  rules: readonly Fallback[];
  model: string | null;
  headers: RequestHeaders;
  text: CollectedBody | null;
}): Fallback | null {
  const { rules, model, headers, text } = of;
  if (rules.length === 0 || model === null || text === null || !MODEL.test(model)) return null;
  if (headers.contentEncoding !== null || headers.fallback?.trim().toLowerCase() === "off") return null;
  const rule = rules.find((one) => one.to !== model && fitsModel(one.model, model));
  return rule === undefined || SIGNED.some((member) => text.includes(member)) ? null : rule;
}

/** Whether another model can be expected to do better: it has limits and servers of its own, but the same account. */
export function helpsAgainst({ status, cause }: UpstreamRefusal): boolean {
  if (status === 429) return cause !== null && !OF_THE_ACCOUNT.has(cause);
  return status !== null && status >= 500;
}

const OF_THE_ACCOUNT: ReadonlySet<RefusalCause> = new Set([
  "spend_cap",
  "contract_spend_cap",
  "own_spend_cap",
  "billing",
  "subscription_window",
]);

/** The body with another model, all else byte for byte as it was. */
export function withModel(text: CollectedBody, model: string): CollectedBody | null {
  const body = text.whole();
  const value = findTopLevelValues(body, ["model"]).get("model");
  if (value === undefined) return null;
  const start = value.byteOffset - body.byteOffset;
  const parts = [body.subarray(0, start), Buffer.from(JSON.stringify(model)), body.subarray(start + value.length)];
  return new CollectedBody([Buffer.concat(parts)]);
}
