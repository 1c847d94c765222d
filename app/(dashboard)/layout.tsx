import type { ReactNode } from "react";
import { Shell } from "#components/layout/shell.tsx";
import { LiveProvider } from "#components/live/live-provider.tsx";
import { requireOperatorPage } from "#lib/http.ts";
import { getRuntime } from "#lib/runtime.ts";

export const dynamic = "force-dynamic";

/** Draws the first overview on the server; from then on the page's own line keeps it current. */
export default async function DashboardLayout({ children }: { children: ReactNode }) {
  await requireOperatorPage();
  const runtime = await getRuntime();
  return (
    <LiveProvider first={await runtime.overview.first()}>
      <Shell>{children}</Shell>
    </LiveProvider>
  );
}
