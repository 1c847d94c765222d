import type { Metadata } from "next";
import { Message } from "#components/layout/message.tsx";
import { SignInForm } from "#components/layout/sign-in-form.tsx";

export const metadata: Metadata = { title: "Sign in" };

type Props = { searchParams: Promise<{ used?: string }> };

export default async function LoginPage({ searchParams }: Props) {
  const { used } = await searchParams;
  return (
    <Message title="Sign in">
      {used && (
        <p role="alert">
          This link was used already, or Headroom has started anew since. It prints a new one each time.
        </p>
      )}
      <p>Open the link that Headroom printed when it started, or paste the admin token.</p>
      <SignInForm />
    </Message>
  );
}
