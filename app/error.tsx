"use client";

import { Button } from "@mantine/core";
import { Message } from "#components/layout/message.tsx";

export default function ErrorPage({ error, reset }: { error: Error & { digest?: string }; reset: () => void }) {
  return (
    <Message title="This page could not be shown" kind="critical">
      <p>
        The gateway is a part of its own: calls keep flowing and are recorded.{" "}
        {error.digest && `The log has more under ${error.digest}.`}
      </p>
      <Button onClick={reset}>Try again</Button>
    </Message>
  );
}
