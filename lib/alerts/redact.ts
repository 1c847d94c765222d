const MARK = "[redacted]";

/** What looks like a credential wherever it stands: signing secrets, API keys, agent keys, authorisation, URL passwords. */
const PATTERNS = [
  /whsec_[A-Za-z0-9+/=_-]{8,}/g,
  /sk-ant-[A-Za-z0-9_-]{8,}/g,
  /sb_secret_[A-Za-z0-9_-]{8,}/g,
  /\bhr_[A-Za-z0-9_-]{8,}/g,
  /\b(?:Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}/gi,
  /(?<=:\/\/)[^/\s:@]*:[^/\s@]+(?=@)/g,
];

/** The first kilobyte of what a receiver answered, fit to be stored and shown: one line of text, secrets out. */
export function tidyAnswer(text: string, secrets: readonly string[] = []): string {
  let clean = text.slice(0, 4_096);
  for (const secret of secrets) if (secret.length >= 4) clean = clean.replaceAll(secret, MARK);
  for (const pattern of PATTERNS) clean = clean.replace(pattern, MARK);
  // Control characters, bidirectional overrides and the replacement character have no place in a log.
  clean = clean.replace(/[\p{Cc}\p{Cf}\uFFFD]+/gu, " ").trim();
  return clean.slice(0, 1_024).toWellFormed();
}
