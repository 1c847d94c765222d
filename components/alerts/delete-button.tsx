"use client";

import { Button } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import classes from "./alerts.module.css";

/** Asks once more in place, for what is deleted does not come back. */
export function DeleteButton({ onDelete, onDone }: { onDelete: () => Promise<unknown>; onDone: () => void }) {
  const [isAsking, setIsAsking] = useState(false);
  const remove = useMutation({ mutationFn: onDelete, onSuccess: onDone });
  return (
    <>
      <Button
        h={32}
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
