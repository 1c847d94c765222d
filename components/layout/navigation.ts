import { IconBell, IconLayoutDashboard } from "@tabler/icons-react";

/** The pages there are. A new page adds its line here. */
export const PAGES = [
  { href: "/", label: "Overview", icon: IconLayoutDashboard },
  { href: "/alerts", label: "Alerts", icon: IconBell },
] as const;

export function isCurrent(href: string, pathname: string): boolean {
  return href === "/" ? pathname === "/" : pathname === href || pathname.startsWith(`${href}/`);
}
