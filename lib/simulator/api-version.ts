import { invalidRequest } from "./api-error.ts";

export type ApiVersion = "2023-06-01" | "2026-10-21";

/** `anthropic-version`: required, and one of two. */
export function parseVersion(header: string | undefined): ApiVersion {
  if (header === undefined) throw invalidRequest("anthropic-version: header is required");
  if (header === "2023-06-01" || header === "2026-10-21") return header;
  throw invalidRequest(`anthropic-version: "${header}" is not a valid version`);
}

/** `anthropic-beta`: names ending in a date, comma separated. */
export function parseBetas(header: string | undefined): string[] {
  const betas = (header ?? "")
    .split(",")
    .map((beta) => beta.trim())
    .filter(Boolean);
  const unknown = betas.filter((beta) => !/^[a-z0-9][a-z0-9-]*-\d{4}-?\d{2}-?\d{2}$/.test(beta));
  if (unknown.length > 0) {
    const names = unknown.map((beta) => `\`${beta}\``).join(", ");
    throw invalidRequest(
      `Unexpected value(s) ${names} for the \`anthropic-beta\` header. Please consult our documentation at docs.claude.com or try again without the header.`,
    );
  }
  return betas;
}
