import { type CSSVariablesResolver, createTheme } from "@mantine/core";

/** A token's value in the light and in the dark scheme. */
type Pair = readonly [light: string, dark: string];

/** Every colour on screen; read as `var(--hr-name)`. Text tokens keep a contrast of 4.5 on their surfaces, marks 3. */
const TOKENS: Record<string, Pair> = {
  page: ["#F6F7F9", "#0C0E11"],
  panel: ["#FFFFFF", "#14171B"],
  raised: ["#FFFFFF", "#1B1F25"],
  sunken: ["#F1F3F6", "#101317"],
  hover: ["#F4F6F9", "#1A1E24"],
  chosen: ["#EAEDF2", "#232930"],
  track: ["#ECEFF3", "#262C34"],
  text: ["#14171C", "#ECEFF3"],
  muted: ["#515A67", "#A6AFBB"],
  faint: ["#616A77", "#828C99"],
  line: ["#E4E7EC", "#23282F"],
  "line-2": ["#D3D8DF", "#323943"],
  edge: ["#848C98", "#68717E"],
  ceiling: ["#3B4350", "#C3CAD3"],
  accent: ["#2453CC", "#8AADFF"],
  "accent-tint": ["#EEF3FF", "#16203A"],
  used: ["#2F62E0", "#6D97FF"],
  ok: ["#1B7F4D", "#46BF83"],
  "ok-text": ["#17713F", "#46BF83"],
  "ok-tint": ["#E9F6EF", "#11251B"],
  warning: ["#D46A00", "#F2B13C"],
  "warning-text": ["#A34E00", "#F2B13C"],
  "warning-tint": ["#FFF5E8", "#241D12"],
  "warning-edge": ["#F2C99A", "#57431B"],
  critical: ["#C4122B", "#FF6A69"],
  "critical-text": ["#B01029", "#FF7B79"],
  "critical-tint": ["#FEEFEF", "#2A1617"],
  "critical-edge": ["#F3B5B8", "#6A2B2D"],
  stale: ["#78818D", "#6F7885"],
  opus: ["#5B21B6", "#A874F2"],
  sonnet: ["#0096C7", "#62C8EE"],
  haiku: ["#D9588D", "#DF6F98"],
  fable: ["#857D00", "#D2CE4C"],
  mythos: ["#857D00", "#D2CE4C"],
  other: ["#50575F", "#6B727C"],
  "class-critical": ["#111C36", "#F1F5FD"],
  "class-high": ["#2C4775", "#AEC3E8"],
  "class-normal": ["#4C72B4", "#7793C4"],
  "class-low": ["#8496B0", "#566D95"],
  shadow: ["0 6px 24px rgb(20 23 28 / 14%)", "0 6px 24px rgb(0 0 0 / 55%)"],
};

/** Mantine's own variables, told in tokens. */
const MANTINE: Record<`--mantine-${string}`, string> = {
  "--mantine-color-body": "var(--hr-panel)",
  "--mantine-color-text": "var(--hr-text)",
  "--mantine-color-dimmed": "var(--hr-muted)",
  "--mantine-color-default": "var(--hr-panel)",
  "--mantine-color-default-hover": "var(--hr-hover)",
  "--mantine-color-default-color": "var(--hr-text)",
  "--mantine-color-default-border": "var(--hr-line-2)",
  "--mantine-color-placeholder": "var(--hr-faint)",
  "--mantine-color-error": "var(--hr-critical-text)",
  "--mantine-color-anchor": "var(--hr-accent)",
  "--mantine-color-disabled": "var(--hr-sunken)",
  "--mantine-color-disabled-color": "var(--hr-faint)",
  "--mantine-color-disabled-border": "var(--hr-line-2)",
};

export const theme = createTheme({
  primaryColor: "headroom",
  primaryShade: { light: 7, dark: 6 },
  colors: {
    headroom: [
      "#EEF3FF",
      "#DCE6FF",
      "#B9CCFF",
      "#8FADFF",
      "#6D97FF",
      "#4A78F0",
      "#2F62E0",
      "#2453CC",
      "#1D45AB",
      "#173887",
    ],
  },
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif',
  fontFamilyMonospace: 'ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace',
  fontSizes: { xs: "11px", sm: "13px", md: "14px", lg: "16px", xl: "20px" },
  lineHeights: { xs: "15px", sm: "19px", md: "20px", lg: "22px", xl: "26px" },
  spacing: { xs: "8px", sm: "12px", md: "16px", lg: "24px", xl: "32px" },
  radius: { xs: "4px", sm: "6px", md: "8px", lg: "8px", xl: "8px" },
  defaultRadius: "sm",
  headings: { fontWeight: "600" },
  cursorType: "pointer",
  respectReducedMotion: true,
});

export const cssVariablesResolver: CSSVariablesResolver = () => ({
  variables: {},
  light: schemeVariables(0),
  dark: schemeVariables(1),
});

function schemeVariables(scheme: 0 | 1): Record<`--${string}`, string> {
  const tokens = Object.entries(TOKENS).map(([name, pair]) => [`--hr-${name}`, pair[scheme]]);
  return { ...Object.fromEntries(tokens), ...MANTINE };
}
