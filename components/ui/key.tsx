import classes from "./key.module.css";

/** The name of a key, as printed on it. */
export function Key({ children }: { children: string }) {
  return <kbd className={classes.key}>{children}</kbd>;
}
