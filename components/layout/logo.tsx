import classes from "./shell.module.css";

/** Room left under a ceiling. The same drawing as public/icon.svg, in the colours of the scheme. */
export function Logo({ size = 20 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" className={classes.logo} aria-hidden>
      <path d="M3 6 6 2M9.5 6l3-4M16 6l3-4M22.500 6l3-4" strokeWidth={1.75} fill="none" data-part="ceiling" />
      <rect x={1} y={7.5} width={30} height={2.5} data-part="ceiling" />
      <rect x={3} y={20} width={7} height={11} rx={1.5} data-part="bar" />
      <rect x={12.5} y={16} width={7} height={15} rx={1.5} data-part="bar" />
      <rect x={22} y={12.5} width={7} height={18.5} rx={1.5} data-part="bar" />
    </svg>
  );
}
