import { z } from "zod";
import { UsageDimension, UsageQuery } from "./schema.ts";

/** A `UsageQuery` as it stands in a URL: `groupBy` is a comma-separated list. */
export const UsageRequest = UsageQuery.extend({
  groupBy: z
    .string()
    .default("")
    .transform((value) => value.split(",").filter((part) => part !== ""))
    .pipe(z.array(UsageDimension).max(4)),
});
