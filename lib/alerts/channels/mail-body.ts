import { describe, type Wording } from "../wording.ts";
import type { Notice } from "./channel.ts";

/** The mail as text: complete in itself, for it is what terminals, watches and screen readers show. */
export function mailText(notice: Notice): string {
  const { headline, facts, agents, advice } = flatten(describe(notice));
  const width = Math.max(...facts.map(({ label }) => label.length), 0) + 2;
  const parts = [headline, facts.map(({ label, value }) => `  ${label.padEnd(width)}${value}`).join("\n")];
  if (agents.length > 0) {
    const column = Math.max(...agents.map(({ agent }) => agent.length)) + 2;
    const lines = agents.map(({ agent, share }) => `  ${agent.padEnd(column)}${share}`);
    parts.push(`Who used it in the minute before:\n${lines.join("\n")}`);
  }
  if (notice.alert && advice.length > 0) {
    parts.push(`What to do:\n${advice.map((line) => `  - ${line}`).join("\n")}`);
  } else if (advice.length > 0) parts.push(advice.join("\n"));
  parts.push(`${notice.alert ? "See it in Headroom" : "Headroom"}: ${notice.url}`);
  return `${parts.join("\n\n")}\n`;
}

/** The same in plain HTML: no images, no tracking, no colours of its own but for one line, so that dark mode works. */
export function mailHtml(notice: Notice): string {
  const { headline, facts, agents, advice } = flatten(describe(notice));
  const rows = facts.map(({ label, value }) => row(label, value)).join("");
  const users = agents.map(({ agent, share }) => row(agent, share)).join("");
  const list = advice.map((line) => `<li>${escapeHtml(line)}</li>`).join("");
  return [
    '<!doctype html><html lang="en"><head><meta charset="utf-8">',
    '<meta name="color-scheme" content="light dark"><meta name="supported-color-schemes" content="light dark"></head>',
    '<body style="font-family:system-ui,-apple-system,Segoe UI,sans-serif;font-size:15px;line-height:1.5">',
    `<p style="font-size:18px;font-weight:600">${escapeHtml(headline)}</p>`,
    `<table role="presentation" cellpadding="0" cellspacing="0">${rows}</table>`,
    users
      ? `<p style="font-weight:600">Who used it in the minute before</p><table role="presentation">${users}</table>`
      : "",
    list ? `<p style="font-weight:600">${notice.alert ? "What to do" : ""}</p><ul>${list}</ul>` : "",
    `<p><a href="${escapeHtml(notice.url)}">${notice.alert ? "See it in Headroom" : "Open Headroom"}</a></p>`,
    "</body></html>",
  ].join("");
}

function row(label: string, value: string): string {
  return `<tr><td style="padding:2px 16px 2px 0;opacity:.7">${escapeHtml(label)}</td><td style="padding:2px 0">${escapeHtml(value)}</td></tr>`;
}

/** Names come from callers: one with line breaks could otherwise write lines that look like ours. */
function flatten(wording: Wording): Wording {
  const line = (text: string) => text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ").trim();
  return {
    headline: line(wording.headline),
    facts: wording.facts.map(({ label, value }) => ({ label, value: line(value) })),
    agents: wording.agents.map(({ agent, share }) => ({ agent: line(agent), share })),
    advice: wording.advice,
  };
}

function escapeHtml(text: string): string {
  const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? character);
}
