import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { AppError, messageOf } from "../kit/errors.ts";
import { formatUsd, NANO_USD_PER_USD } from "../kit/money.ts";
import { parseEnv } from "../settings/env.ts";
import { CLASSES } from "../traffic/schema.ts";
import { Agent, type AgentChange, AgentUse } from "./schema.ts";

export const HELP = `Agents and their keys, on a Headroom that runs.

npm run agents -- list
npm run agents -- create NAME [settings]
npm run agents -- update NAME [--rename NAME] [settings]
npm run agents -- rotate NAME [--overlap-hours H]     a new key; the old one stays valid for H hours (default 24; 0: none)
npm run agents -- revoke NAME                         ends the agent and all its keys

NAME is an agent's name or id. Settings ("none" takes one away again):

  --models LIST          the models it may use, ids or beginnings such as claude-haiku-*, separated by commas
  --rpm N                requests a minute
  --input-tpm N          counted input tokens a minute
  --output-tpm N         output tokens a minute
  --daily-budget USD     dollars a UTC day
  --monthly-budget USD   dollars a UTC month
  --cache SECONDS        answer calls that repeat one of temperature 0 from memory, for so long after it
  --class CLASS          class of calls that ask for none: ${CLASSES.join(", ")}
  --max-class CLASS      highest class that its calls may ask for
  --max-wait SECONDS     the longest that its calls wait for room, whatever they ask for
  --disable, --enable    refuse its calls for a while, and take them again

  --url URL              where Headroom listens (default from HOST and PORT)
  --json                 print the server's answer
  --help                 this text

The admin token comes from HEADROOM_ADMIN_TOKEN, or from the data folder.
`;

const Listed = Agent.extend({ use: AgentUse });
const Created = z.object({ agent: Agent, secret: z.string() });
const Fault = z.object({ error: z.object({ message: z.string() }) });

type Values = ReturnType<typeof read>["values"];
type Send = <Schema extends z.ZodType>(
  method: string,
  path: string,
  body: object | null,
  answer: Schema,
) => Promise<z.infer<Schema>>;

/** Runs one command and gives what to print. Throws an AppError that says what to do. */
export async function runAgentsCommand(
  args: readonly string[],
  environment: Record<string, string | undefined>,
): Promise<string> {
  const { values, positionals } = read(args);
  const [verb = "help", name = ""] = positionals;
  if (values.help || verb === "help") return HELP;
  if (positionals.length > 2) throw wrong(`${positionals[2]} is too much: put names with spaces into quotes.`);
  if (verb !== "list" && name === "") throw wrong(`${verb} needs the agent's name.`);
  const { url, send } = connect(values.url, environment);
  const print = (answer: unknown, text: string) => (values.json ? `${JSON.stringify(answer, null, 2)}\n` : text);

  switch (verb) {
    case "list": {
      const answer = await send("GET", "/api/agents", null, z.object({ agents: z.array(Listed) }));
      return print(answer, table(answer.agents.filter((agent) => agent.revokedAt === null)));
    }
    case "create": {
      const answer = await send("POST", "/api/agents", { name, ...settingsOf(values) }, Created);
      return print(answer, keyText(`Agent ${answer.agent.name} is made.`, url, answer.secret));
    }
    case "update": {
      const change = { ...settingsOf(values), ...(values.rename === undefined ? {} : { name: values.rename }) };
      if (Object.keys(change).length === 0) throw wrong("update needs something to change.");
      const path = `/api/agents/${await findAgent(send, name)}`;
      const answer = await send("PATCH", path, change, z.object({ agent: Agent }));
      return print(answer, `Agent ${answer.agent.name} is changed.\n`);
    }
    case "rotate": {
      const overlapHours = numberOf("overlap-hours", values["overlap-hours"] ?? "24");
      const path = `/api/agents/${await findAgent(send, name)}/rotate`;
      const answer = await send("POST", path, { overlapHours }, Created);
      const old = overlapHours === 0 ? "ended at once" : `stays valid for ${overlapHours} h`;
      return print(
        answer,
        keyText(`Agent ${answer.agent.name} has a new key; the old one ${old}.`, url, answer.secret),
      );
    }
    case "revoke": {
      const path = `/api/agents/${await findAgent(send, name)}`;
      const answer = await send("DELETE", path, null, z.object({ revoked: z.boolean() }));
      return print(answer, `Agent ${name} is revoked; its calls are refused from now on.\n`);
    }
    default:
      throw wrong(`There is no command ${verb}.`);
  }
}

function read(args: readonly string[]) {
  const text = { type: "string" } as const;
  const flag = { type: "boolean" } as const;
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        ...{ rename: text, models: text, rpm: text, "input-tpm": text, "output-tpm": text },
        ...{ "daily-budget": text, "monthly-budget": text, class: text, "max-class": text, "overlap-hours": text },
        ...{ cache: text, "max-wait": text },
        ...{ disable: flag, enable: flag, json: flag, help: { ...flag, short: "h" }, url: text },
      },
    });
  } catch (error) {
    throw wrong(`${messageOf(error).split(". ")[0]}.`);
  }
}

/** Names and numbers go to the server as they are read; it judges them. */
function settingsOf(values: Values): Omit<AgentChange, "name"> {
  const given: Record<string, unknown> = {};
  const take = (field: string, text: string | undefined, parse: (text: string) => unknown) => {
    if (text !== undefined) given[field] = text === "none" ? null : parse(text);
  };
  take("allowedModels", values.models, (text) => text.split(",").map((model) => model.trim()));
  take("requestsPerMinute", values.rpm, (text) => numberOf("rpm", text));
  take("inputTokensPerMinute", values["input-tpm"], (text) => numberOf("input-tpm", text));
  take("outputTokensPerMinute", values["output-tpm"], (text) => numberOf("output-tpm", text));
  take("dailyBudgetNanoUsd", values["daily-budget"], (text) => nanoOf("daily-budget", text));
  take("monthlyBudgetNanoUsd", values["monthly-budget"], (text) => nanoOf("monthly-budget", text));
  take("responseCacheS", values.cache, (text) => numberOf("cache", text));
  take("maxWaitS", values["max-wait"], (text) => numberOf("max-wait", text));
  take("defaultClass", values.class, (text) => text);
  take("maxClass", values["max-class"], (text) => text);
  if (values.disable && values.enable) throw wrong("--disable and --enable exclude each other.");
  if (values.disable || values.enable) given.enabled = values.enable === true;
  return given;
}

function numberOf(flag: string, text: string): number {
  const value = Number(text.replaceAll(/[_,]/g, ""));
  if (text.trim() === "" || !Number.isFinite(value)) throw wrong(`--${flag} ${text}: must be a number, or none.`);
  return value;
}

function nanoOf(flag: string, text: string): number {
  return Math.round(numberOf(flag, text.replace(/^\$/, "")) * NANO_USD_PER_USD);
}

function connect(url: string | undefined, environment: Record<string, string | undefined>) {
  const env = parseEnv(environment);
  const host = env.HOST === "0.0.0.0" || env.HOST === "::" ? "127.0.0.1" : env.HOST;
  const base = (url ?? `http://${host.includes(":") ? `[${host}]` : host}:${env.PORT}`).replace(/\/+$/, "");
  const token = env.HEADROOM_ADMIN_TOKEN ?? readToken(env.HEADROOM_DATA_DIR);
  const send: Send = async (method, path, body, answer) => {
    const response = await fetch(`${base}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      ...(body === null ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    }).catch((error: unknown) => {
      throw new AppError("unavailable", `No Headroom answers at ${base}: start it, or say where it is with --url.`, {
        cause: error,
      });
    });
    const value: unknown = await response.json().catch(() => null);
    if (response.ok) return answer.parse(value);
    const fault = Fault.safeParse(value);
    throw new AppError(
      "invalid_input",
      fault.success ? fault.data.error.message : `${base} answered ${response.status}.`,
    );
  };
  return { url: base, send };
}

/** Relative folders are meant from the project's folder, as the server takes them. */
function readToken(dataDir: string): string {
  const path = join(resolve(import.meta.dirname, "../..", dataDir), "admin-token");
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    throw new AppError("misconfigured", `There is no admin token in ${path}: set HEADROOM_ADMIN_TOKEN.`);
  }
}

async function findAgent(send: Send, name: string): Promise<string> {
  const { agents } = await send("GET", "/api/agents", null, z.object({ agents: z.array(Listed) }));
  const found = agents.find((agent) => agent.revokedAt === null && (agent.name === name || agent.id === name));
  if (found) return found.id;
  throw new AppError("not_found", `There is no agent named ${name}: "npm run agents -- list" shows all.`);
}

function keyText(what: string, url: string, secret: string): string {
  return `${what}

  Key   ${secret}   (shown this once)

  ANTHROPIC_BASE_URL=${url} ANTHROPIC_AUTH_TOKEN=${secret} claude

`;
}

function table(agents: readonly z.infer<typeof Listed>[]): string {
  if (agents.length === 0) return 'There are no agents yet: "npm run agents -- create NAME" makes one.\n';
  const rows = agents.map(({ name, keys, settings, lastUsedAt, use }) => [
    name,
    settings.enabled ? "on" : "off",
    keys.map((key) => `${key.prefix}…`).join(" "),
    spentOf(use.spentTodayNanoUsd, settings.dailyBudgetNanoUsd),
    spentOf(use.spentThisMonthNanoUsd, settings.monthlyBudgetNanoUsd),
    settings.allowedModels?.join(",") ?? "all",
    lastUsedAt ?? "never",
  ]);
  const lines = [["NAME", "STATE", "KEYS", "TODAY", "THIS MONTH", "MODELS", "LAST USED"], ...rows];
  const widths = lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0))) ?? [];
  return lines
    .map(
      (line) =>
        `${line
          .map((cell, at) => cell.padEnd(widths[at] ?? 0))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
}

function spentOf(spent: number, budget: number | null): string {
  return budget === null ? formatUsd(spent) : `${formatUsd(spent)} of ${formatUsd(budget)}`;
}

function wrong(message: string): AppError {
  return new AppError("invalid_input", `${message} "npm run agents -- --help" shows how.`);
}
