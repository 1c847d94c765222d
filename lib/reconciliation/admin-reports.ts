import { request } from "undici";
import { z } from "zod";
import { AppError, messageOf } from "../kit/errors.ts";
import { centsToNanoUsd } from "../kit/money.ts";
import { NO_SUMS, undated } from "./day-sums.ts";
import type { DaySums, ReportedDay } from "./schema.ts";

const DAY_MS = 86_400_000;
const TIMEOUT_MS = 30_000;
/** The API's own default. */
const PAGE_DAYS = 7;
/** No range that is asked for has so many. */
const MAX_PAGES = 100;

const count = z.int().min(0);
const UsageRow = z.object({
  model: z.string().nullable(),
  uncached_input_tokens: count,
  cache_read_input_tokens: count,
  cache_creation: z.object({ ephemeral_5m_input_tokens: count, ephemeral_1h_input_tokens: count }),
  output_tokens: count,
  server_tool_use: z.object({ web_search_requests: count }).nullish(),
});
const CostRow = z.object({ model: z.string().nullish(), amount: z.string(), currency: z.literal("USD") });

const pageOf = <Row extends z.ZodType>(row: Row) =>
  z.object({
    data: z.array(z.object({ starting_at: z.string(), results: z.array(row) })),
    has_more: z.boolean(),
    next_page: z.string().nullish(),
  });

export type AdminReports = {
  /** Every UTC day from the first time up to the second, both midnights. Throws an AppError that says what to mend. */
  read(fromMs: number, toMs: number, signal: AbortSignal): Promise<Omit<ReportedDay, "readAt">[]>;
};

/**
 * Anthropic's usage and cost reports, read with an Admin key. Redirects are not followed, so that the key goes to no
 * other host, and faults never repeat what was sent. Costs name a model only where they are grouped by description.
 */
export function createAdminReports(options: { baseUrl: string; adminKey: string }): AdminReports {
  return {
    async read(fromMs, toMs, signal) {
      const range = { starting_at: iso(fromMs), ending_at: iso(toMs), bucket_width: "1d", limit: String(PAGE_DAYS) };
      const usage = await readPages(
        options,
        "usage_report/messages",
        { ...range, "group_by[]": "model" },
        UsageRow,
        signal,
      );
      const costs = await readPages(options, "cost_report", { ...range, "group_by[]": "description" }, CostRow, signal);
      const days = new Map<number, Map<string | null, DaySums>>();
      for (let dayMs = fromMs; dayMs < toMs; dayMs += DAY_MS) days.set(dayMs, new Map());
      const sumsOf = (startingAt: string, model: string | null): DaySums => {
        const models = days.get(Date.parse(startingAt));
        if (!models) throw new AppError("upstream_unreachable", `The reports have a day that was not asked for.`);
        const name = undated(model);
        const sums = models.get(name) ?? { ...NO_SUMS };
        models.set(name, sums);
        return sums;
      };
      for (const { at, row } of usage) {
        const sums = sumsOf(at, row.model);
        sums.inputTokens += row.uncached_input_tokens;
        sums.cacheWrite5mTokens += row.cache_creation.ephemeral_5m_input_tokens;
        sums.cacheWrite1hTokens += row.cache_creation.ephemeral_1h_input_tokens;
        sums.cacheReadTokens += row.cache_read_input_tokens;
        sums.outputTokens += row.output_tokens;
        sums.webSearchRequests += row.server_tool_use?.web_search_requests ?? 0;
      }
      for (const { at, row } of costs) sumsOf(at, row.model ?? null).costNanoUsd += centsToNanoUsd(row.amount);
      return [...days].map(([dayMs, models]) => ({
        day: iso(dayMs),
        models: [...models].map(([model, sums]) => ({ model, ...sums })),
      }));
    },
  };
}

async function readPages<Row extends z.ZodType>(
  { baseUrl, adminKey }: { baseUrl: string; adminKey: string },
  report: string,
  query: Record<string, string>,
  row: Row,
  signal: AbortSignal,
): Promise<{ at: string; row: z.infer<Row> }[]> {
  const rows: { at: string; row: z.infer<Row> }[] = [];
  const host = new URL(baseUrl).host;
  let page: string | null = null;
  for (let turn = 0; turn < MAX_PAGES; turn++) {
    const search = new URLSearchParams({ ...query, ...(page === null ? {} : { page }) });
    const { status, value } = await get(`${baseUrl.replace(/\/+$/, "")}/v1/organizations/${report}?${search}`, {
      headers: { "x-api-key": adminKey, "anthropic-version": "2023-06-01" },
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    }).catch((error: unknown) => {
      throw new AppError("upstream_unreachable", `${host} cannot be reached for its ${report}: ${whyOf(error)}.`);
    });
    if (status !== 200) throw new AppError("upstream_unreachable", refusal(host, report, status));
    const parsed = pageOf(row).safeParse(value);
    if (!parsed.success) {
      const where = parsed.error.issues[0]?.path.join(".");
      throw new AppError("upstream_unreachable", `The ${report} of ${host} is not as it is documented (${where}).`);
    }
    const { data, has_more, next_page } = parsed.data;
    for (const { starting_at, results } of data) {
      for (const entry of results) rows.push({ at: starting_at, row: entry as z.infer<Row> });
    }
    if (!has_more) return rows;
    if (!next_page || next_page === page) break;
    page = next_page;
  }
  throw new AppError("upstream_unreachable", `The pages of the ${report} of ${host} do not come to an end.`);
}

async function get(url: string, options: { headers: Record<string, string>; signal: AbortSignal }) {
  const { statusCode, body } = await request(url, options);
  return { status: statusCode, value: await body.json().catch(() => null) };
}

function whyOf(error: unknown): string {
  if (error instanceof Error && error.name === "TimeoutError") return `no answer within ${TIMEOUT_MS / 1000} s`;
  return error instanceof Error && "code" in error ? String(error.code) : messageOf(error);
}

function refusal(host: string, report: string, status: number): string {
  if (status === 401)
    return `${host} does not accept ANTHROPIC_ADMIN_KEY (401): it takes an Admin key (sk-ant-admin…).`;
  if (status === 403) return `${host} does not let ANTHROPIC_ADMIN_KEY read its ${report} (403).`;
  return `${host} answered ${status} to its ${report}.`;
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
