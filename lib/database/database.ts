import { createClient, type SupabaseClient } from "@supabase/supabase-js";
import type { z } from "zod";
import { AppError } from "../kit/errors.ts";

/** The database as the rest of Headroom knows it: SQL functions by name, JSON in, JSON out. */
export type Database = {
  /**
   * Calls a function of `supabase/migrations` and parses its answer. Throws an AppError: `unavailable` when the database
   * cannot be reached or has no such function yet, `conflict` on a unique violation, `invalid_input` on a bad value.
   * Arguments that are written as JSON already go as they stand.
   */
  call<Schema extends z.ZodType>(
    name: string,
    args: Record<string, unknown> | JsonBytes,
    answer: Schema,
  ): Promise<z.infer<Schema>>;
};

/** An object as JSON, in UTF-8. */
export type JsonBytes = Uint8Array<ArrayBuffer>;

/** Where the database is. The secret key bypasses row level security, so it stays in this process. */
export type DatabaseAddress = { url: string; secretKey: string };

const TIMEOUT_MS = 15_000;

/** Over supabase-js, to Supabase or to the embedded owner: both speak PostgREST's rpc. `fetch` is for tests. */
export function createDatabase(address: DatabaseAddress, options: { fetch?: typeof fetch } = {}): Database {
  const send = options.fetch ?? fetch;
  // supabase-js writes bodies by itself, a text of a megabyte character by character; what is written already takes the
  // place of such a body, and is found by the call's signal.
  const written = new WeakMap<AbortSignal, JsonBytes>();
  const client: SupabaseClient = createClient(address.url, address.secretKey, {
    auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
    global: {
      fetch: (input, init) => {
        const body = init?.signal && written.get(init.signal);
        return send(input, body ? { ...init, body } : init);
      },
    },
  });
  return {
    async call(name, args, answer) {
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      const isWritten = args instanceof Uint8Array;
      if (isWritten) written.set(signal, args);
      const { data, error, status } = await client.rpc(name, isWritten ? {} : args).abortSignal(signal);
      if (error) throw translate(name, status, error);
      return answer.parse(data);
    },
  };
}

type RpcError = { code?: string; message: string; details?: string | null; hint?: string | null };

function translate(name: string, status: number, error: RpcError): AppError {
  const text = `database function ${name}: ${error.message}`;
  if (error.code === "23505") return new AppError("conflict", text, { cause: error });
  if (error.code === "PGRST202" || error.code === "42P01") {
    return new AppError("unavailable", `${text}; apply the migrations in supabase/migrations`, { cause: error });
  }
  if (/^(22|23|P0001|PGRST102)/.test(error.code ?? "")) return new AppError("invalid_input", text, { cause: error });
  const unreachable = status === 0 || status >= 500 || /^(57|08|53)/.test(error.code ?? "");
  return new AppError(unreachable ? "unavailable" : "internal", text, { cause: error });
}
