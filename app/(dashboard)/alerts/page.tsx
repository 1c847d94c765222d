import type { Metadata } from "next";
import { AlertsPage } from "#components/alerts/alerts-page.tsx";
import { requireOperatorPage } from "#lib/http.ts";

export const metadata: Metadata = { title: "Alerts" };

export default async function Page() {
  await requireOperatorPage();
  return <AlertsPage />;
}
