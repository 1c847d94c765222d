"use client";

import { Button, Drawer, MultiSelect, NumberInput, Select, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { LIMITER_WORDS } from "#components/overview/limiter-words.ts";
import type { Channel, Rule, RuleInput, Severity } from "#lib/alerts/schema.ts";
import { LIMITERS } from "#lib/anthropic/pools.ts";
import type { PoolState } from "#lib/limits/schema.ts";
import classes from "./alerts.module.css";
import { alertsApi } from "./alerts-api.ts";
import { DeleteButton } from "./delete-button.tsx";

const NEW_RULE: RuleInput = {
  name: "",
  kind: "utilisation",
  enabled: true,
  scope: {},
  severity: "warning",
  threshold: 0.8,
  pendingSeconds: 10,
  recoveryThreshold: 0.7,
  recoverySeconds: 120,
  channelIds: null,
};

type RuleDrawerProps = {
  open: Rule | "new" | null;
  pools: readonly PoolState[];
  channels: readonly Channel[];
  onClose: () => void;
};

/** Makes a rule or changes one. */
export function RuleDrawer({ open, pools, channels, onClose }: RuleDrawerProps) {
  const known = open === "new" ? null : open;
  return (
    <Drawer
      opened={open !== null}
      onClose={onClose}
      position="right"
      size={440}
      title={known ? "Edit the rule" : "Add a rule"}
      transitionProps={{ duration: 120 }}
      closeButtonProps={{ "aria-label": "Close" }}
    >
      {open && <RuleForm {...{ known, pools, channels, onClose }} />}
    </Drawer>
  );
}

type RuleFormProps = Omit<RuleDrawerProps, "open"> & { known: Rule | null };

function RuleForm({ known, pools, channels, onClose }: RuleFormProps) {
  const [rule, setRule] = useState<RuleInput>(known ?? NEW_RULE);
  const set = (change: Partial<RuleInput>) => setRule((before) => ({ ...before, ...change }));
  const queryClient = useQueryClient();
  const save = useMutation({
    mutationFn: () => (known ? alertsApi.updateRule(known.id, inputOf(rule)) : alertsApi.createRule(inputOf(rule))),
    onSuccess: async () => {
      await queryClient.invalidateQueries({ queryKey: ["rules"] });
      onClose();
    },
  });
  const poolNames = new Map(pools.map((pool) => [pool.pool, pool.name]));
  function submit(event: FormEvent) {
    event.preventDefault();
    save.mutate();
  }
  return (
    <form onSubmit={submit} className={classes.form}>
      <TextInput
        label="Name"
        value={rule.name}
        onChange={(event) => set({ name: event.currentTarget.value })}
        placeholder="Headroom over 80 %"
        maxLength={100}
        required
        withAsterisk={false}
        data-autofocus
      />
      <div className={classes.pair}>
        <Select
          label="Model class"
          placeholder="any"
          clearable
          data={[...poolNames].map(([value, label]) => ({ value, label }))}
          value={rule.scope.pool ?? null}
          onChange={(pool) => set({ scope: { ...rule.scope, pool: pool ?? undefined } })}
        />
        <Select
          label="Limit"
          placeholder="any"
          clearable
          data={LIMITERS.map((value) => ({ value, label: LIMITER_WORDS[value].title }))}
          value={rule.scope.limiter ?? null}
          onChange={(limiter) => set({ scope: { ...rule.scope, limiter: limiter ?? undefined } })}
        />
      </div>
      <div className={classes.pair}>
        <PercentInput label="Fires at" value={rule.threshold} onChange={(threshold) => set({ threshold })} />
        <SecondsInput
          label="when held for"
          value={rule.pendingSeconds}
          onChange={(pendingSeconds) => set({ pendingSeconds })}
        />
      </div>
      <div className={classes.pair}>
        <PercentInput
          label="Clears below"
          value={rule.recoveryThreshold}
          onChange={(recoveryThreshold) => set({ recoveryThreshold })}
        />
        <SecondsInput
          label="when held for"
          value={rule.recoverySeconds}
          onChange={(recoverySeconds) => set({ recoverySeconds })}
        />
      </div>
      <Select<Severity>
        label="Severity"
        allowDeselect={false}
        data={[
          { value: "warning", label: "Warning" },
          { value: "critical", label: "Critical" },
        ]}
        value={rule.severity}
        onChange={(severity) => severity && set({ severity })}
      />
      <MultiSelect
        label="Tells"
        description="None chosen tells every channel."
        data={channels.map((channel) => ({ value: channel.id, label: channel.name }))}
        value={rule.channelIds ?? []}
        onChange={(ids) => set({ channelIds: ids.length > 0 ? ids : null })}
      />
      {save.isError && (
        <p className={classes.fault} role="alert">
          {save.error.message}
        </p>
      )}
      <div className={classes.actions}>
        {known && (
          <DeleteButton
            label="this rule"
            onDelete={() => alertsApi.deleteRule(known.id)}
            onDone={() => {
              void queryClient.invalidateQueries({ queryKey: ["rules"] });
              onClose();
            }}
          />
        )}
        <Button type="submit" h={32} loading={save.isPending}>
          {known ? "Save" : "Add the rule"}
        </Button>
      </div>
    </form>
  );
}

type ValueInputProps = { label: string; value: number; onChange: (value: number) => void };

function PercentInput({ label, value, onChange }: ValueInputProps) {
  return (
    <NumberInput
      label={label}
      suffix={"\u202f%"}
      min={1}
      max={200}
      value={Math.round(value * 1_000) / 10}
      onChange={(next) => typeof next === "number" && onChange(next / 100)}
    />
  );
}

function SecondsInput({ label, value, onChange }: ValueInputProps) {
  return (
    <NumberInput
      label={label}
      suffix=" s"
      min={0}
      max={3_600}
      value={value}
      onChange={(next) => typeof next === "number" && onChange(next)}
    />
  );
}

/** A stored rule carries more than a door takes. */
function inputOf({ name, kind, enabled, scope, severity, threshold, ...rest }: RuleInput): RuleInput {
  const { pendingSeconds, recoveryThreshold, recoverySeconds, channelIds } = rest;
  return {
    name,
    kind,
    enabled,
    scope,
    severity,
    threshold,
    pendingSeconds,
    recoveryThreshold,
    recoverySeconds,
    channelIds,
  };
}
