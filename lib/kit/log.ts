import { pino } from "pino";

export type Log = {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
};

/** JSON lines on standard error. Names that may carry a credential are cut out whatever the caller passes. */
export function createLog(level: string): Log {
  const secret = ["authorization", "x-api-key", "apikey", "password", "secret", "token", "key", "cookie", "headers"];
  return pino(
    { level, base: null, redact: { paths: [...secret, ...secret.map((name) => `*.${name}`)], remove: true } },
    pino.destination({ dest: 2, sync: false }),
  );
}

export const silentLog: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
