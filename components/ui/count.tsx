import { formatCount, UNKNOWN } from "./format.ts";
import classes from "./table.module.css";

/** A count in a table: zero is faint, unknown a dash. */
export function Count({ value }: { value: number | null }) {
  if (value === null) return <span className={classes.faint}>{UNKNOWN}</span>;
  return value === 0 ? <span className={classes.faint}>0</span> : formatCount(value);
}
