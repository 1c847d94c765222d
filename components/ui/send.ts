/** Asks a door of `/api`. Throws an Error with the gateway's own sentence. */
export async function send<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
  const answer = await reach(path, {
    method,
    cache: "no-store",
    ...(body === undefined ? {} : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
  });
  const value: Answer & { error?: { message: string } } = await answer.json();
  if (!answer.ok) throw new Error(value.error?.message ?? `Headroom answered ${answer.status}.`);
  return value;
}

async function reach(path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(path, init);
  } catch (cause) {
    throw new Error("Headroom could not be reached. Is it running?", { cause });
  }
}
