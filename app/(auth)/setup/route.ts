import { openDoor, startSession } from "#lib/http.ts";

/** The link printed at the start. It works once; afterwards it leads to the page that says how to sign in. */
export const GET = openDoor(async (runtime, request) => {
  const session = runtime.operators.signIn(new URL(request.url).searchParams.get("token") ?? "");
  const answer = new Response(null, { status: 303, headers: { location: session ? "/" : "/login?used=1" } });
  return session ? startSession(runtime, session, answer) : answer;
});
