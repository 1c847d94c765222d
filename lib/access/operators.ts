import { randomBytes } from "node:crypto";
import type { Clock } from "../kit/clock.ts";
import { equalSecret, type SecretBox } from "../kit/secret-box.ts";

export const SESSION_COOKIE = "headroom_session";
export const SESSION_SECONDS = 30 * 24 * 3600;
const PURPOSE = "session";

/**
 * Who may see the dashboard and use `/api`: whoever holds the admin token, or a session cookie that was given for it.
 * The cookie is sealed, not stored, and ends after 30 days; a new admin token ends all of them.
 */
export class Operators {
  readonly #adminToken: string;
  readonly #box: SecretBox;
  readonly #clock: Clock;
  #setupToken: string | null = randomBytes(24).toString("base64url");

  constructor(options: { adminToken: string; box: SecretBox; clock: Clock }) {
    this.#adminToken = options.adminToken;
    this.#box = options.box;
    this.#clock = options.clock;
  }

  /** For the link that is printed at the start; it opens one session and is then worth nothing. */
  get setupToken(): string | null {
    return this.#setupToken;
  }

  /** A session for the admin token or the set-up token; null for anything else. */
  signIn(token: string): string | null {
    const isSetup = this.#setupToken !== null && equalSecret(token, this.#setupToken);
    if (!isSetup && !this.isAdminToken(token)) return null;
    if (isSetup) this.#setupToken = null;
    const session = { until: this.#clock.now() + SESSION_SECONDS * 1000, token: this.#tokenMark() };
    return this.#box.seal(JSON.stringify(session), PURPOSE);
  }

  isAdminToken(token: string): boolean {
    return equalSecret(token, this.#adminToken);
  }

  isSession(cookie: string): boolean {
    try {
      const session: unknown = JSON.parse(this.#box.open(cookie, PURPOSE));
      if (typeof session !== "object" || session === null || !("until" in session) || !("token" in session))
        return false;
      return Number(session.until) > this.#clock.now() && session.token === this.#tokenMark();
    } catch {
      return false;
    }
  }

  #tokenMark(): string {
    return this.#box.hash(this.#adminToken, PURPOSE).slice(0, 16);
  }
}
