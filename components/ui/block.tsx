import classes from "./block.module.css";

/** A grey block of the size of what will stand here. Shows after 150 ms, so that quick answers do not flicker. */
export function Block({ height, label }: { height: number; label?: string }) {
  return (
    <div className={classes.block} style={{ height }} role={label ? "status" : undefined}>
      {label && <span className={classes.label}>{label}</span>}
    </div>
  );
}
