import { fault, json } from "#lib/http.ts";
import { getRuntime } from "#lib/runtime.ts";

export const dynamic = "force-dynamic";

/** Whether this process does its whole work: 200, or 503 with what is wrong. */
export async function GET(): Promise<Response> {
  try {
    const readiness = await (await getRuntime()).readiness();
    return json(readiness.ready ? 200 : 503, readiness);
  } catch (error) {
    return fault(error);
  }
}
