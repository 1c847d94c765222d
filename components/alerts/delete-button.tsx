"use client";

import { Button } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import classes from "./alerts.module.css";

type DeleteButtonProps = {
  /** What is deleted, for those who do not see what stands beside the button. */
  label: string;
  onDelete: () => Promise<unknown>;
  onDone: () => void;
  compact?: boolean;
};

/** Asks once more in place, for what is deleted does not come back. */
export function DeleteButton({ label, onDelete, onDone, compact }: DeleteButtonProps) {
  const [isAsking, setIsAsking] = useState(false);
  const remove = useMutation({ mutationFn: onDelete, onSuccess: onDone });
  return (
    <>
      <Button
        {...(compact ? { size: "compact-sm" } : { h: 32 })}
        aria-label={`${isAsking ? "Really delete" : "Delete"} ${label}`}
        variant="default"
        className={classes.delete}
        loading={remove.isPending}
        onClick={() => (isAsking ? remove.mutate() : setIsAsking(true))}
        onBlur={() => setIsAsking(false)}
      >
        {isAsking ? "Really delete" : "Delete"}
      </Button>
      {remove.isError && (
        <p className={classes.fault} role="alert">
          {remove.error.message}
        </p>
      )}
    </>
  );
}
