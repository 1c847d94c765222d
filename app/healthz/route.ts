export const dynamic = "force-dynamic";

/** The process is alive and answers. */
export function GET(): Response {
  return new Response("ok\n", { headers: { "cache-control": "no-store" } });
}
