import { readFileSync } from "node:fs";
import ipaddr from "ipaddr.js";
import { z } from "zod";
import { AppError, messageOf } from "../kit/errors.ts";

const httpUrl = z.url({ protocol: /^https?$/, error: "must be an http:// or https:// address" });
const postgresUrl = z.url({
  protocol: /^postgres(ql)?$/,
  error: "must look like postgres://user:password@host/database",
});
const smtpUrl = z.url({ protocol: /^smtps?$/, error: "must look like smtp://user:password@host:587" });
const redisUrl = z.url({ protocol: /^rediss?$/, error: "must look like redis://host:6379" });
const mailAddress = z.string().regex(/^([^<>\r\n]+<)?[^<>@\s]+@[^<>@\s]+>?$/, "must be a mail address");
const port = z
  .string()
  .regex(/^\d{1,5}$/, "must be a port number from 0 to 65535")
  .transform(Number)
  .refine((value) => value <= 65_535, "must be a port number from 0 to 65535");
const cidrs = z
  .string()
  .transform((value) =>
    value
      .split(",")
      .map((part) => part.trim())
      .filter(Boolean),
  )
  .refine((parts) => parts.every(ipaddr.isValidCIDR), "must be networks such as 10.0.0.0/8, separated by commas");

const onOff = z.enum(["on", "off"], { error: "must be on or off" }).transform((value) => value === "on");
const seconds = z
  .string()
  .regex(/^\d{1,6}$/, "must be a number of seconds")
  .transform(Number)
  .refine((value) => value > 0, "must be at least 1");

/** Every variable that Headroom reads; each may also be given as NAME_FILE, the path of a file that holds it. */
const variables = z.object({
  PORT: port.default(3000),
  HOST: z.string().min(1).default("127.0.0.1"),
  HEADROOM_DATA_DIR: z.string().min(1).default(".headroom"),
  HEADROOM_UPSTREAM_URL: httpUrl.default("https://api.anthropic.com"),
  HEADROOM_UPSTREAM_CONNECT_S: seconds.default(10),
  HEADROOM_UPSTREAM_ANSWER_S: seconds.default(3_600),
  HEADROOM_UPSTREAM_STREAM_S: seconds.default(180),
  /** Without it: on where only this machine reaches the server. */
  HEADROOM_PASS_THROUGH: onOff.optional(),
  HEADROOM_BELIEVE_HEADERS: onOff.optional(),
  HEADROOM_ADMIN_TOKEN: z.string().min(16, "needs at least 16 characters").optional(),
  HEADROOM_SECRET_KEY: z.string().min(32, "needs at least 32 characters").optional(),
  HEADROOM_MAIL_FROM: mailAddress.optional(),
  HEADROOM_PUBLIC_URL: httpUrl.optional(),
  HEADROOM_LOG_LEVEL: z.enum(["debug", "info", "warn", "error"]).default("warn"),
  ANTHROPIC_API_KEY: z.string().min(1).optional(),
  ANTHROPIC_ADMIN_KEY: z.string().min(1).optional(),
  SUPABASE_URL: httpUrl.optional(),
  SUPABASE_SECRET_KEY: z.string().min(1).optional(),
  SUPABASE_SERVICE_ROLE_KEY: z.string().min(1).optional(),
  DATABASE_URL: postgresUrl.optional(),
  REDIS_URL: redisUrl.optional(),
  SMTP_URL: smtpUrl.optional(),
  WEBHOOK_ALLOWED_CIDRS: cidrs.default([]),
});

export type Env = z.infer<typeof variables>;

/** The environment, parsed. Throws one `misconfigured` error that lists every fault with what to do about it. */
export function parseEnv(source: Record<string, string | undefined>): Env {
  const faults: string[] = [];
  const values: Record<string, string> = {};
  for (const name of Object.keys(variables.shape)) {
    const value = read(source, name, faults);
    if (value !== undefined && value !== "") values[name] = value;
  }
  const parsed = variables.safeParse(values);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) faults.push(`${issue.path.join(".")}: ${issue.message}`);
  } else {
    faults.push(...contradictions(parsed.data));
  }
  if (faults.length > 0 || !parsed.success) {
    throw new AppError(
      "misconfigured",
      `Headroom cannot start, its settings need mending:\n  - ${faults.join("\n  - ")}`,
    );
  }
  return parsed.data;
}

/** Whether only this machine can reach a server bound to the host. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

function read(source: Record<string, string | undefined>, name: string, faults: string[]): string | undefined {
  const path = source[`${name}_FILE`];
  if (!path) return source[name];
  if (source[name]) faults.push(`${name} and ${name}_FILE are both set: keep one`);
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    faults.push(`${name}_FILE: ${messageOf(error)}`);
    return undefined;
  }
}

function contradictions(env: Env): string[] {
  const faults: string[] = [];
  if (env.SUPABASE_URL && !env.SUPABASE_SECRET_KEY && !env.SUPABASE_SERVICE_ROLE_KEY) {
    faults.push("SUPABASE_URL is set without SUPABASE_SECRET_KEY: add the project's secret key (sb_secret_…)");
  }
  if (env.SUPABASE_URL && env.DATABASE_URL) faults.push("SUPABASE_URL and DATABASE_URL are both set: keep one");
  if (env.SMTP_URL && !env.HEADROOM_MAIL_FROM) {
    faults.push("SMTP_URL is set without HEADROOM_MAIL_FROM: add the address that alerts come from");
  }
  return faults;
}
