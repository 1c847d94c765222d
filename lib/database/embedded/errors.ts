/** An error as PostgREST answers it. */
export type RpcFault = {
  status: number;
  code: string;
  message: string;
  details: string | null;
  hint: string | null;
};

/** PostgREST's own way from SQLSTATE to status (docs: references/errors): the longest prefix that matches decides. */
const STATUS: readonly (readonly [prefix: string, status: number])[] = [
  ["23503", 409],
  ["23505", 409],
  ["25006", 405],
  ["42501", 403],
  ["42883", 404],
  ["42P01", 404],
  ["42P17", 500],
  ["57P01", 503],
  ["53400", 500],
  ["P0001", 400],
  ["08", 503],
  ["53", 503],
  ["0L", 403],
  ["0P", 403],
  ["28", 403],
  ["09", 500],
  ["25", 500],
  ["2D", 500],
  ["38", 500],
  ["39", 500],
  ["3B", 500],
  ["40", 500],
  ["54", 500],
  ["55", 500],
  ["57", 500],
  ["58", 500],
  ["F0", 500],
  ["HV", 500],
  ["P0", 500],
  ["XX", 500],
];

/** Translates what an engine threw. Something without an SQLSTATE is a lost connection: 503. */
export function faultOf(error: unknown): RpcFault {
  const fields: Record<string, unknown> = typeof error === "object" && error !== null ? { ...error } : {};
  const message = error instanceof Error ? error.message : String(error);
  const code = textOf(fields.code);
  if (!code || !/^[0-9A-Z]{5}$/.test(code)) {
    return {
      status: 503,
      code: "PGRST000",
      message: "Database connection error. Retrying the connection.",
      details: message,
      hint: null,
    };
  }
  const status = STATUS.find(([prefix]) => code.startsWith(prefix))?.[1] ?? 400;
  return { status, code, message, details: textOf(fields.detail), hint: textOf(fields.hint) };
}

function textOf(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}
