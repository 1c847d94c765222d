import { createElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { expect, test } from "vitest";
import { CallsPanel } from "#components/overview/calls-panel.tsx";
import { callRecord } from "../support/call-record.ts";

/** The words of the status cells, top to bottom. */
function statuses(calls: Parameters<typeof CallsPanel>[0]["calls"]): string[] {
  const html = renderToStaticMarkup(createElement(CallsPanel, { calls }));
  const rows = [...html.matchAll(/<tr>.*?<\/tr>/gs)].slice(1);
  return rows.map(([row]) => [...row.matchAll(/<td.*?<\/td>/gs)][3]?.[0].replace(/<[^>]*>/g, "") ?? "");
}

test("a call that was answered from memory says so, and a plain success says nothing more than its status", () => {
  const cut = callRecord({ outcome: "partial", cacheHit: true });
  expect(statuses([callRecord({ cacheHit: true }), callRecord(), cut])).toEqual(["200 cached", "200", "200 cut short"]);
});
