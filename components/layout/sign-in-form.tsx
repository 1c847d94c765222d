"use client";

import { Button, PasswordInput } from "@mantine/core";
import { type FormEvent, useState } from "react";

/** Posts the token; the answer's cookie is the session. */
export function SignInForm() {
  const [token, setToken] = useState("");
  const [fault, setFault] = useState<string | null>(null);
  const [isSending, setIsSending] = useState(false);

  async function signIn(event: FormEvent) {
    event.preventDefault();
    setIsSending(true);
    setFault(await postToken(token));
    setIsSending(false);
  }

  return (
    <form onSubmit={signIn}>
      <PasswordInput
        label="Admin token"
        description="HEADROOM_ADMIN_TOKEN, or the one in Headroom's data folder"
        value={token}
        onChange={(event) => setToken(event.currentTarget.value)}
        error={fault}
        autoComplete="current-password"
        autoFocus
        required
        withAsterisk={false}
        visibilityToggleButtonProps={{ "aria-label": "Show the token" }}
      />
      <Button type="submit" mt={16} h={32} fullWidth loading={isSending}>
        Sign in
      </Button>
    </form>
  );
}

/** Goes to the overview and answers null, or answers what is wrong. */
async function postToken(token: string): Promise<string | null> {
  try {
    const answer = await fetch("/api/session", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ token }),
    });
    if (answer.ok) {
      window.location.assign("/");
      return null;
    }
    const body: { error?: { message?: string } } = await answer.json();
    return body.error?.message ?? "Headroom did not accept this token.";
  } catch {
    return "Headroom could not be reached. Is it running?";
  }
}
