import { describe, expect, test } from "vitest";
import { POOLS } from "../../lib/anthropic/pools.ts";
import { findPrice } from "../../lib/anthropic/price-list.ts";
import { priceUsage } from "../../lib/anthropic/prices.ts";
import { billedTokens, mergeUsage, NO_USAGE, tokensByPool, type Usage } from "../../lib/anthropic/usage.ts";

const NOW = Date.parse("2026-11-23T12:00:00Z");
const USD = 1_000_000_000;

function price(model: string, usage: object, atMs = NOW) {
  return priceUsage({ model, usage: mergeUsage(NO_USAGE, usage), atMs });
}

describe("invoices worked out by hand", () => {
  test.each<[string, string, object, number]>([
    [
      "the four columns of Opus 5.5: $4 + $20 + $5 + $8 + $0.20 a million",
      "claude-opus-5-5",
      {
        input_tokens: 1_000_000,
        output_tokens: 1_000_000,
        cache_creation_input_tokens: 2_000_000,
        cache_creation: { ephemeral_5m_input_tokens: 1_000_000, ephemeral_1h_input_tokens: 1_000_000 },
        cache_read_input_tokens: 1_000_000,
      },
      37.2 * USD,
    ],
    [
      "a 1-hour cache write costs twice the input, not 1.25 times",
      "claude-sonnet-4-6",
      { cache_creation_input_tokens: 1000, cache_creation: { ephemeral_1h_input_tokens: 1000 } },
      6_000_000,
    ],
    [
      "a write without a split is a 5-minute one",
      "claude-sonnet-4-6",
      { cache_creation_input_tokens: 1000 },
      3_750_000,
    ],
    ["one cache-read token of Haiku 5.5 costs 10 nano-dollars", "claude-haiku-5-5", { cache_read_input_tokens: 1 }, 10],
    [
      "a prompt of 100,000 is in Haiku's low band",
      "claude-haiku-5-5",
      { input_tokens: 100_000, output_tokens: 10 },
      10_005_000,
    ],
    [
      "a prompt of 100,001 pays the high band for all of it, output too",
      "claude-haiku-5-5",
      { input_tokens: 1, cache_read_input_tokens: 60_000, cache_creation_input_tokens: 40_000, output_tokens: 10 },
      500 + 60_000 * 50 + 40_000 * 625 + 10 * 2500,
    ],
    [
      "fast mode has prices of its own",
      "claude-opus-5-5",
      { input_tokens: 10, output_tokens: 10, speed: "fast" },
      480_000,
    ],
    [
      "cache multipliers apply to the fast input price",
      "claude-fable-5-2",
      { cache_creation_input_tokens: 10, cache_read_input_tokens: 10, speed: "fast" },
      10 * 20_000 + 10 * 400,
    ],
    ["US geography costs 1.1 times", "claude-opus-5-5", { input_tokens: 1000, inference_geo: "us" }, 4_400_000],
    ["but not before Claude 4.6", "claude-sonnet-4-5", { input_tokens: 1000, inference_geo: "us" }, 3_000_000],
    [
      "half a nano-dollar is rounded up, once, over the whole call: (125 + 3 × 10) × 1.1 = 170.5",
      "claude-haiku-5-5",
      { cache_creation_input_tokens: 1, cache_read_input_tokens: 3, inference_geo: "us" },
      171,
    ],
    [
      "batch costs half",
      "claude-opus-4-7",
      { input_tokens: 100, output_tokens: 100, service_tier: "batch" },
      1_500_000,
    ],
    [
      "web searches cost $10 a thousand, whatever the geography",
      "claude-opus-5-5",
      { input_tokens: 1, server_tool_use: { web_search_requests: 3 }, inference_geo: "us" },
      4_400 + 30_000_000,
    ],
    ["a dated id is its model", "claude-opus-4-5-20251101", { output_tokens: 4 }, 100_000],
  ])("%s", (_, model, usage, nanoUsd) => {
    expect(price(model, usage)).toBe(nanoUsd);
  });
});

test("a price holds from its date on: Sonnet 5.5 halved cache reads on 2026-10-07", () => {
  const usage = { cache_read_input_tokens: 1000 };
  expect(price("claude-sonnet-5-5", usage, Date.parse("2026-10-06T23:59:59.999Z"))).toBe(200_000);
  expect(price("claude-sonnet-5-5", usage, Date.parse("2026-10-07T00:00:00Z"))).toBe(100_000);
});

test("fast mode of Opus 4.8 has no price once it is gone", () => {
  const usage = { input_tokens: 1000, speed: "fast" };
  expect(price("claude-opus-4-8", usage)).toBe(10_000_000);
  expect(price("claude-opus-4-8", usage, Date.parse("2026-11-30T00:00:00Z"))).toBeNull();
});

test("each iteration is priced by its own model, those that the totals leave out too", () => {
  const usage = {
    input_tokens: 1000,
    output_tokens: 100,
    iterations: [
      { type: "message", input_tokens: 1000, output_tokens: 100, model: null },
      { type: "advisor_message", input_tokens: 500, output_tokens: 50, model: "claude-fable-5-2" },
      { type: "compaction", input_tokens: 2000, output_tokens: 20 },
    ],
  };
  const own = 3000 * 4_000 + 120 * 20_000;
  const advisor = 500 * 8_000 + 50 * 40_000;
  expect(price("claude-opus-5-5", usage)).toBe(own + advisor);
  expect(
    price("claude-sonnet-5", { ...usage, iterations: [...usage.iterations, { model: "claude-new-1" }] }),
  ).toBeNull();
});

test("what other models did in a fast call costs their standard rates, whether or not they have fast ones", () => {
  const usage = {
    ...{ input_tokens: 1000, output_tokens: 100, speed: "fast", inference_geo: "us" },
    iterations: [
      { type: "message", input_tokens: 1000, output_tokens: 100, cache_read_input_tokens: 500 },
      { type: "message", model: "claude-opus-5-5", input_tokens: 10, output_tokens: 1 },
      // Has no fast mode.
      { type: "advisor_message", model: "claude-sonnet-5", input_tokens: 300, output_tokens: 30 },
      // Has one that nobody asked for.
      { type: "advisor_message", model: "claude-fable-5-2", input_tokens: 200, output_tokens: 20 },
      // From before geography had a price.
      { type: "advisor_message", model: "claude-haiku-4-5-20251001", input_tokens: 100, output_tokens: 10 },
    ],
  };
  // By hand, in dollars per million: Opus 5.5 fast 8 / 40 / 0.40, Sonnet 5 2 / 10, Fable 5.2 8 / 40, Haiku 4.5 1 / 5.
  // 1,010 × 8,000 + 500 × 400 + 101 × 40,000 = 12,320,000;  300 × 2,000 + 30 × 10,000 = 900,000;
  // 200 × 8,000 + 20 × 40,000 = 2,400,000;  these three × 1.1 = 17,182,000;  100 × 1,000 + 10 × 5,000 = 150,000.
  expect(price("claude-opus-5-5", usage)).toBe(17_332_000);
  const dated = { speed: "fast", iterations: [{ model: "claude-opus-5-20260724", input_tokens: 1000 }] };
  expect(price("claude-opus-5", dated)).toBe(10_000_000);
});

describe("a model that declined before any output", () => {
  const attempt = (type: string, model: string, input_tokens: number, output_tokens: number) => ({
    ...{ type, model, input_tokens, output_tokens },
    cache_read_input_tokens: 100,
  });
  const chain = (...iterations: object[]) => mergeUsage(NO_USAGE, { input_tokens: 1, output_tokens: 1, iterations });
  const refused = (usage: Usage) => priceUsage({ model: "claude-fable-5-2", usage, atMs: NOW, refusal: "midway" });
  const invoice = (usage: Usage) => priceUsage({ model: "claude-opus-4-8", usage, atMs: NOW });
  const declined = attempt("message", "claude-fable-5-2", 1000, 0);
  const served = attempt("fallback_message", "claude-opus-4-8", 1300, 40);
  const ofServed = 1300 * 5_000 + 100 * 500 + 40 * 25_000;

  test("costs nothing: the model that served pays for its own attempt alone", () => {
    const usage = chain(declined, served);
    expect(invoice(usage)).toBe(ofServed);
    expect(billedTokens(usage)).toMatchObject({ inputTokens: 1300, cacheReadTokens: 100, outputTokens: 40 });
  });

  test("costs nothing at any hop, while one that declined midway is charged for what it produced", () => {
    const midway = attempt("message", "claude-sonnet-5", 2000, 7);
    expect(invoice(chain(declined, midway, served))).toBe(2000 * 2_000 + 100 * 200 + 7 * 10_000 + ofServed);
    expect(invoice(chain(midway, attempt("message", "claude-haiku-4-5", 10, 0), served))).toBe(
      2000 * 2_000 + 100 * 200 + 7 * 10_000 + ofServed,
    );
  });

  test("costs nothing where no other served, but the compaction before it does", () => {
    const usage = chain(declined, attempt("message", "claude-opus-4-8", 1300, 0));
    expect(refused(usage)).toBe(0);
    const compaction = { type: "compaction", input_tokens: 9000, output_tokens: 300 };
    expect(refused(chain(compaction, declined))).toBe(9000 * 8_000 + 300 * 40_000);
  });

  test("counts against the limits of its own pool, and what served against those of its own", () => {
    const compaction = { type: "compaction", input_tokens: 9000, output_tokens: 300 };
    const counted = tokensByPool(chain(compaction, declined, served), "fable-5.2");
    expect([...counted]).toMatchObject([
      ["fable-5.2", { inputTokens: 10_000, cacheReadTokens: 100, outputTokens: 300 }],
      ["opus-4.x", { inputTokens: 1300, cacheReadTokens: 100, outputTokens: 40 }],
    ]);
  });

  test("is told from a prompt that was sent only to be cached", () => {
    const iterations = [{ type: "message", model: "claude-opus-5-5", cache_creation_input_tokens: 1000 }];
    expect(price("claude-opus-5-5", { output_tokens: 0, iterations })).toBe(5_000_000);
  });
});

test("a model without a known price is not free", () => {
  expect(price("claude-mythos-preview", { input_tokens: 1 })).toBeNull();
  expect(priceUsage({ model: null, usage: { ...NO_USAGE, inputTokens: 1 }, atMs: NOW })).toBeNull();
});

test("a refusal before any output is not charged", () => {
  const usage = mergeUsage(NO_USAGE, { input_tokens: 5000, output_tokens: 1 });
  expect(priceUsage({ model: "claude-opus-5-5", usage, atMs: NOW, refusal: "before_output" })).toBe(0);
});

test("every model that is served today has a price", () => {
  const models = POOLS.filter((pool) => pool.id !== "haiku-3.5").flatMap((pool) => pool.models);
  expect(models.filter((model) => findPrice(model, NOW) === null)).toEqual([]);
});
