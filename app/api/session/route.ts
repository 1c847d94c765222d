import { z } from "zod";
import { endSession, json, openDoor, startSession } from "#lib/http.ts";
import { AppError } from "#lib/kit/errors.ts";

const Body = z.object({ token: z.string().trim().min(1, "paste the admin token") });

export const POST = openDoor(async (runtime, request) => {
  const body = Body.parse(await request.json().catch(() => ({})));
  const session = runtime.operators.signIn(body.token);
  if (!session) throw new AppError("unauthenticated", "This is neither the admin token nor an unused set-up link.");
  return startSession(runtime, session, json(200, { signedIn: true }));
});

export const DELETE = openDoor(async () => endSession(json(200, { signedIn: false })));
