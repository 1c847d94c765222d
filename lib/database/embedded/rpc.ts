import { equalSecret } from "../../kit/secret-box.ts";
import type { Engine, Session } from "./engine.ts";
import { faultOf, type RpcFault } from "./errors.ts";

export type RpcRequest = { method: string; path: string; key: string | null; body: string };
export type RpcResponse = { status: number; body: string };
export type RpcHandler = (request: RpcRequest) => Promise<RpcResponse>;

/** As PostgREST's `max_rows`, which hosted Supabase sets: a SETOF answer is silently cut here, so none of ours is one. */
const MAX_ROWS = 1000;

/**
 * The part of PostgREST that Headroom uses: `POST /rest/v1/rpc/<function>` with named arguments, everything else is
 * refused. Calls run as `service_role`, never as the engine's own superuser, or a missing GRANT would be found only on
 * hosted Supabase. The statement is PostgREST's own: the body is one JSON value that Postgres takes apart and casts, so
 * that a bad value fails there and as there.
 */
export function createRpcHandler(options: { engine: Engine; secretKey: string }): RpcHandler {
  const signatures = new Map<string, Signature>();

  return async ({ method, path, key, body }) => {
    if (!key || !equalSecret(key, options.secretKey)) {
      return refuse(401, "PGRST301", key ? "Invalid API key" : "No API key found in request");
    }
    const name = /^\/rest\/v1\/rpc\/([a-z_][a-z0-9_]{0,62})$/.exec(path)?.[1];
    if (!name) return refuse(404, "PGRST125", `Only functions are served here, at /rest/v1/rpc/<name>; not ${path}`);
    if (method !== "POST") return refuse(405, "PGRST117", `Functions are called with POST here, not ${method}`);
    const names = argumentNames(body);
    if (!names) return refuse(400, "PGRST102", "Empty or invalid json");
    try {
      return await options.engine.transaction(async (session) => {
        await session.script("set local role service_role; set local statement_timeout = '8s'");
        const signature = signatures.get(name) ?? (await findSignature(session, name));
        if (!signature || !accepts(signature, names)) return missing(name, names);
        signatures.set(name, signature);
        return call(session, name, signature, names, body);
      });
    } catch (error) {
      return answer(faultOf(error));
    }
  };
}

type Argument = { name: string; type: string; optional: boolean };
type Signature = { arguments: Argument[]; isSet: boolean; isVoid: boolean };

async function findSignature(session: Session, name: string): Promise<Signature | null> {
  const rows = await session.query(
    `select json_build_object(
       'isSet', p.proretset,
       'isVoid', p.prorettype = 'void'::regtype,
       'arguments', coalesce((
         select json_agg(json_build_object(
           'name', p.proargnames[a.n],
           'type', format_type(a.type, null),
           'optional', a.n > p.pronargs - p.pronargdefaults) order by a.n)
         from unnest(p.proargtypes) with ordinality as a(type, n)), '[]'))::text as signature
     from pg_proc p
     where p.pronamespace = 'public'::regnamespace and p.proname = $1::text and p.prokind = 'f'`,
    [name],
  );
  const text = rows[0]?.signature;
  // The text was made three lines above, by a statement of ours.
  return typeof text === "string" ? (JSON.parse(text) as Signature) : null;
}

function accepts(signature: Signature, names: readonly string[]): boolean {
  const known = signature.arguments;
  return (
    names.every((name) => known.some((argument) => argument.name === name)) &&
    known.every((argument) => argument.optional || names.includes(argument.name))
  );
}

async function call(
  session: Session,
  name: string,
  signature: Signature,
  names: readonly string[],
  body: string,
): Promise<RpcResponse> {
  const given = signature.arguments.filter((argument) => names.includes(argument.name));
  const columns = given.map((argument) => `${quote(argument.name)} ${argument.type}`).join(", ");
  const named = given.map((argument) => `${quote(argument.name)} => a.${quote(argument.name)}`).join(", ");
  const source = given.length > 0 ? `json_to_record($1::text::json) as a(${columns})` : "(select $1::text) as a";
  const calls = `(select public.${quote(name)}(${named}) as value from ${source}${signature.isSet ? ` limit ${MAX_ROWS}` : ""}) as r`;
  const text = signature.isSet
    ? `select coalesce(json_agg(r.value), '[]')::text as answer from ${calls}`
    : `select to_json(r.value)::text as answer from ${calls}`;
  if (signature.isVoid) {
    await session.query(`select public.${quote(name)}(${named}) from ${source}`, [body]);
    return { status: 204, body: "" };
  }
  const [row] = await session.query(text, [body]);
  return { status: 200, body: typeof row?.answer === "string" ? row.answer : "null" };
}

/** The names of the arguments, or null when the body is no JSON object. An empty body has none. */
function argumentNames(body: string): string[] | null {
  if (body === "") return [];
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? Object.keys(value) : null;
  } catch {
    return null;
  }
}

function missing(name: string, names: readonly string[]): RpcResponse {
  const list = [...names].sort().join(", ");
  return answer({
    status: 404,
    code: "PGRST202",
    message: `Could not find the function public.${name}${list ? `(${list})` : ""} in the schema cache`,
    details: `Searched for the function public.${name} with ${list ? `parameters ${list}` : "no parameters"}, but no matches were found in the schema cache.`,
    hint: null,
  });
}

function refuse(status: number, code: string, message: string): RpcResponse {
  return answer({ status, code, message, details: null, hint: null });
}

function answer({ status, code, message, details, hint }: RpcFault): RpcResponse {
  return { status, body: JSON.stringify({ code, message, details, hint }) };
}

function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
