"use client";

import { Button, Drawer, TagsInput, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { CodeBlock } from "#components/ui/code-block.tsx";
import { Segments } from "#components/ui/segments.tsx";
import type { ChannelInput } from "#lib/alerts/schema.ts";
import classes from "./alerts.module.css";
import { alertsApi } from "./alerts-api.ts";

const KINDS = [
  { value: "webhook", label: "Webhook" },
  { value: "email", label: "E-mail" },
] as const;

/** Adds a channel. A webhook's signing secret is shown here and never again. */
export function ChannelDrawer({ isOpen, onClose }: { isOpen: boolean; onClose: () => void }) {
  return (
    <Drawer
      opened={isOpen}
      onClose={onClose}
      position="right"
      size={440}
      title="Add a channel"
      transitionProps={{ duration: 120 }}
      closeButtonProps={{ "aria-label": "Close" }}
    >
      {isOpen && <ChannelForm onClose={onClose} />}
    </Drawer>
  );
}

function ChannelForm({ onClose }: { onClose: () => void }) {
  const [kind, setKind] = useState<"webhook" | "email">("webhook");
  const [name, setName] = useState("");
  const [url, setUrl] = useState("");
  const [to, setTo] = useState<string[]>([]);
  const queryClient = useQueryClient();
  const create = useMutation({
    mutationFn: (input: ChannelInput) => alertsApi.createChannel(input),
    onSuccess: async ({ secret }) => {
      await queryClient.invalidateQueries({ queryKey: ["channels"] });
      if (!secret) onClose();
    },
  });
  function submit(event: FormEvent) {
    event.preventDefault();
    create.mutate(
      kind === "webhook"
        ? { kind, name, enabled: true, settings: { url } }
        : { kind, name, enabled: true, settings: { to } },
    );
  }
  if (create.data?.secret) return <Secret secret={create.data.secret} onClose={onClose} />;
  return (
    <form onSubmit={submit} className={classes.form}>
      <Segments label="Kind" data={KINDS} value={kind} onChange={setKind} fullWidth />
      <TextInput
        label="Name"
        value={name}
        onChange={(event) => setName(event.currentTarget.value)}
        placeholder={kind === "webhook" ? "Operations chat" : "On-call mail"}
        maxLength={100}
        required
        withAsterisk={false}
        data-autofocus
      />
      {kind === "webhook" ? (
        <TextInput
          label="Address"
          description="Gets each notice as a signed POST (Standard Webhooks)."
          type="url"
          value={url}
          onChange={(event) => setUrl(event.currentTarget.value)}
          placeholder="https://hooks.example.com/headroom"
          required
          withAsterisk={false}
        />
      ) : (
        <TagsInput
          label="Addresses"
          description="Enter after each. Mail needs SMTP_URL to be set."
          value={to}
          onChange={setTo}
          acceptValueOnBlur
          maxTags={20}
        />
      )}
      {create.isError && (
        <p className={classes.fault} role="alert">
          {create.error.message}
        </p>
      )}
      <div className={classes.actions}>
        <Button type="submit" h={32} loading={create.isPending}>
          Add the channel
        </Button>
      </div>
    </form>
  );
}

function Secret({ secret, onClose }: { secret: string; onClose: () => void }) {
  return (
    <div className={classes.form}>
      <p>
        <b>Keep this signing secret now.</b> The receiver checks each notice with it; it is not shown again.
      </p>
      <CodeBlock code={secret} label="Signing secret" />
      <div className={classes.actions}>
        <Button h={32} onClick={onClose}>
          I have kept it
        </Button>
      </div>
    </div>
  );
}
