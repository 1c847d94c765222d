import type { Metadata } from "next";
import { OverviewPage } from "#components/overview/overview-page.tsx";
import { requireOperatorPage } from "#lib/http.ts";

export const metadata: Metadata = { title: "Overview" };

export default async function Page() {
  await requireOperatorPage();
  return <OverviewPage />;
}
