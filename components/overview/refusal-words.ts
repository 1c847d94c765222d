import type { Refusal } from "#lib/usage/schema.ts";

type Words = { title: string; short: string; help: string };

const WORDS: Record<Refusal, Words> = {
  requests: {
    title: "Requests/min",
    short: "RPM",
    help: "The limit of requests per minute was reached; waiting helps.",
  },
  input_tokens: {
    title: "Input tokens/min",
    short: "ITPM",
    help: "The limit of counted input was reached; waiting helps.",
  },
  output_tokens: { title: "Output tokens/min", short: "OTPM", help: "The limit of output was reached; waiting helps." },
  tokens: { title: "All tokens/min", short: "TPM", help: "The combined token limit was reached; waiting helps." },
  rate_limit: {
    title: "Rate limit, unnamed",
    short: "rate limit",
    help: "A 429 that did not say which limit it meant.",
  },
  windowless: {
    title: "Rate limit, no window",
    short: "windowless 429",
    help: "A 429 that named neither a limit nor a time; a short wait usually helps.",
  },
  subscription_window: {
    title: "Subscription window",
    short: "window spent",
    help: "A five-hour or weekly window of a claude.ai subscription is spent; it opens again at its reset.",
  },
  acceleration: { title: "Acceleration", short: "acceleration", help: "Use grew too fast; ramp up more slowly." },
  spend_cap: {
    title: "Spend cap",
    short: "spend cap",
    help: "The usage tier's monthly spend limit was reached; it ends on the 1st at 00:00 UTC, or ask for a higher tier.",
  },
  contract_spend_cap: {
    title: "Contract spend cap",
    short: "contract cap",
    help: "The contract's spend limit was reached; only Anthropic can raise it.",
  },
  own_spend_cap: {
    title: "Own spend limit",
    short: "own limit",
    help: "A spend limit that your organisation or workspace set was reached; raise it in the Console.",
  },
  overloaded: {
    title: "Overloaded",
    short: "overloaded",
    help: "The upstream had no capacity (529); retry with back-off.",
  },
  authentication: { title: "Authentication", short: "key refused", help: "The key was not accepted." },
  permission: { title: "Permission", short: "not permitted", help: "The key may not use this model or endpoint." },
  billing: { title: "Billing", short: "billing", help: "The organisation's billing needs attention." },
  invalid: {
    title: "Invalid request",
    short: "invalid",
    help: "The request itself was wrong; retrying does not help.",
  },
  not_found: { title: "Not found", short: "not found", help: "No such model or endpoint." },
  too_large: { title: "Too large", short: "too large", help: "The request was larger than the upstream takes." },
  timeout: { title: "Timeout", short: "timeout", help: "No answer came in time." },
  upstream_fault: {
    title: "Upstream fault",
    short: "upstream fault",
    help: "The upstream failed (5xx) or was unreachable.",
  },
  shed: {
    title: "Shed by Headroom",
    short: "shed",
    help: "Traffic control could not serve it within its deadline, or its queue was full.",
  },
  agent_requests: {
    title: "Agent's cap, requests",
    short: "agent's RPM",
    help: "The agent's own cap of requests a minute was reached; the upstream had no part in it.",
  },
  agent_input_tokens: {
    title: "Agent's cap, input",
    short: "agent's ITPM",
    help: "The agent's own cap of input tokens a minute was reached; the upstream had no part in it.",
  },
  agent_output_tokens: {
    title: "Agent's cap, output",
    short: "agent's OTPM",
    help: "The agent's own cap of output tokens a minute was reached; the upstream had no part in it.",
  },
  agent_budget: {
    title: "Agent's budget",
    short: "agent's budget",
    help: "The agent's own budget for the day or month is spent or held; an operator can raise it.",
  },
  gateway_fault: {
    title: "Headroom fault",
    short: "Headroom fault",
    help: "Headroom itself failed; its log says more.",
  },
};

/** Always listed, that a zero can be seen to be one. */
export const MAIN_REFUSALS = [
  "input_tokens",
  "output_tokens",
  "requests",
  "acceleration",
  "spend_cap",
  "overloaded",
] as const;

export function describeRefusal(refusal: string): Words {
  return (WORDS as Record<string, Words | undefined>)[refusal] ?? { title: refusal, short: refusal, help: "" };
}
