import { cookies } from "next/headers";
import { redirect } from "next/navigation";
import { z } from "zod";
import { SESSION_COOKIE, SESSION_SECONDS } from "./access/operators.ts";
import { AppError, type ErrorCode, messageOf } from "./kit/errors.ts";
import { getRuntime, type Runtime } from "./runtime.ts";

const STATUS: Record<ErrorCode, number> = {
  invalid_input: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  payload_too_large: 413,
  unavailable: 503,
  upstream_unreachable: 502,
  upstream_timeout: 504,
  misconfigured: 500,
  internal: 500,
};

const COOKIE = "Path=/; HttpOnly; SameSite=Lax";

type Context = { params: Promise<Record<string, string>> };
type Door = (request: Request, context: Context) => Promise<Response>;

/**
 * A door of `/api`: lets operators in, parses what came (query, JSON body and path parameters into one object), calls
 * the verb and answers its value as JSON. Every fault leaves as `{"error":{"code","message"}}`.
 */
export function operatorDoor<Schema extends z.ZodType>(
  schema: Schema,
  verb: (runtime: Runtime, input: z.infer<Schema>, request: Request) => Promise<unknown> | unknown,
): Door {
  return async (request, context) => {
    try {
      const runtime = await getRuntime();
      requireOperator(runtime, request);
      const value = await verb(runtime, await parseInput(schema, request, context), request);
      return value instanceof Response ? value : json(200, value);
    } catch (error) {
      return fault(error);
    }
  };
}

/** A door that anybody may knock at, such as the one for signing in. */
export function openDoor(verb: (runtime: Runtime, request: Request) => Promise<Response>): Door {
  return async (request) => {
    try {
      const runtime = await getRuntime();
      requireSameSite(request);
      return await verb(runtime, request);
    } catch (error) {
      return fault(error);
    }
  };
}

/** For pages: goes on for an operator, sends anybody else to sign in. */
export async function requireOperatorPage(): Promise<void> {
  const runtime = await getRuntime();
  const cookie = (await cookies()).get(SESSION_COOKIE)?.value;
  if (!cookie || !runtime.operators.isSession(cookie)) redirect("/login");
}

/** Gives the reader of this answer a session. */
export function startSession(runtime: Runtime, session: string, answer: Response): Response {
  const secure = runtime.publicUrl.startsWith("https:") ? "; Secure" : "";
  answer.headers.append("set-cookie", `${SESSION_COOKIE}=${session}; ${COOKIE}; Max-Age=${SESSION_SECONDS}${secure}`);
  return answer;
}

export function endSession(answer: Response): Response {
  answer.headers.append("set-cookie", `${SESSION_COOKIE}=; ${COOKIE}; Max-Age=0`);
  return answer;
}

export function json(status: number, value: unknown): Response {
  return new Response(JSON.stringify(value), {
    status,
    headers: { "content-type": "application/json; charset=utf-8", "cache-control": "no-store" },
  });
}

/** Any thrown value as the one error shape; what is not an AppError says no more than that it happened. */
export function fault(error: unknown): Response {
  if (error instanceof z.ZodError) {
    const message = error.issues.map((issue) => `${issue.path.join(".") || "request"}: ${issue.message}`).join("; ");
    return json(400, { error: { code: "invalid_input", message } });
  }
  // By name, not by class: the bundle and the server each have their own copy of the class.
  if (error instanceof Error && error.name === "AppError") {
    const { code, message } = error as AppError;
    return json(STATUS[code], { error: { code, message } });
  }
  process.stderr.write(`headroom: a request failed: ${messageOf(error)}\n`);
  return json(500, {
    error: { code: "internal", message: "Something went wrong inside Headroom; its log says more." },
  });
}

function requireOperator(runtime: Runtime, request: Request): void {
  const bearer = /^Bearer (.+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
  if (bearer !== undefined) {
    if (runtime.operators.isAdminToken(bearer)) return;
    throw new AppError("unauthenticated", "The bearer token is not the admin token (HEADROOM_ADMIN_TOKEN).");
  }
  const cookie = readCookie(request.headers.get("cookie") ?? "", SESSION_COOKIE);
  if (!cookie || !runtime.operators.isSession(cookie)) {
    throw new AppError("unauthenticated", "Sign in at /login, or send Authorization: Bearer with the admin token.");
  }
  requireSameSite(request);
}

/** A cookie proves who, not what they meant: a write must come from a page of this very origin. */
function requireSameSite(request: Request): void {
  const origin = request.headers.get("origin");
  if (request.method === "GET" || request.method === "HEAD" || origin === null) return;
  if (URL.canParse(origin) && new URL(origin).host === request.headers.get("host")) return;
  throw new AppError("forbidden", `A page of ${origin} may not change anything here.`);
}

function readCookie(header: string, name: string): string | undefined {
  const pair = header.split(/;\s*/).find((part) => part.startsWith(`${name}=`));
  return pair?.slice(name.length + 1);
}

async function parseInput<Schema extends z.ZodType>(
  schema: Schema,
  request: Request,
  context: Context,
): Promise<z.infer<Schema>> {
  const query = Object.fromEntries(new URL(request.url).searchParams);
  return schema.parse({ ...query, ...(await readBody(request)), ...(await context.params) });
}

async function readBody(request: Request): Promise<object> {
  if (request.method === "GET" || request.method === "HEAD") return {};
  const text = await request.text();
  if (text === "") return {};
  try {
    const body: unknown = JSON.parse(text);
    if (typeof body === "object" && body !== null && !Array.isArray(body)) return body;
  } catch {
    // Said below.
  }
  throw new AppError("invalid_input", "The body must be one JSON object.");
}
