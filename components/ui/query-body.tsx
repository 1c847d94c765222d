import { Button } from "@mantine/core";
import type { UseQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Badge } from "./badge.tsx";
import { Block } from "./block.tsx";
import classes from "./query-body.module.css";

type QueryBodyProps<Row> = {
  query: UseQueryResult<Row[]>;
  /** Why there is nothing, and what to do about it. */
  empty: ReactNode;
  children: (rows: Row[]) => ReactNode;
};

/** A fetched list in each of its states. A refresh that fails leaves the old rows and says so above them. */
export function QueryBody<Row>({ query, empty, children }: QueryBodyProps<Row>) {
  return (
    <>
      {query.isError && (
        <div className={classes.fault} role="alert">
          <Badge kind="critical">Not loaded</Badge>
          <span>{query.error.message}</span>
          <Button size="compact-sm" variant="default" onClick={() => void query.refetch()}>
            Try again
          </Button>
        </div>
      )}
      {query.isPending && (
        <div className={classes.loading}>
          <Block height={72} label="Loading" />
        </div>
      )}
      {query.data && (query.data.length === 0 ? <div className={classes.empty}>{empty}</div> : children(query.data))}
    </>
  );
}
