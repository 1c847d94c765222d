import type { Overview } from "#lib/overview/schema.ts";

/** connecting: no event yet. live: events arrive. blind: they ceased; `since` is when the last one came. */
export type LiveStatus = { kind: "connecting" } | { kind: "live" } | { kind: "blind"; since: number };

type Listener = { onEvent(overview: Overview): void; onStatus(status: LiveStatus): void };

const RETRY_MS = [1_000, 2_000, 4_000, 8_000, 15_000];
/** Events come once a second: silence of this length means that the line is dead, whatever the socket says. */
const SILENCE_MS = 5_000;

/**
 * The line to `/api/live`. Reconnects by itself, waiting longer after each failure; a status of its own tells the page.
 * EventSource would reconnect too, but neither after an HTTP error nor when a connection is open and silent.
 */
export class LiveConnection {
  #url: string;
  #listener: Listener;
  #source: EventSource | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #lastEventAt: number | null = null;

  constructor(url: string, listener: Listener) {
    this.#url = url;
    this.#listener = listener;
  }

  /** Opens the line, or does nothing when it is open. The first event afterwards is a whole one. */
  open(): void {
    if (this.#source) return;
    clearTimeout(this.#timer);
    const source = new EventSource(this.#url);
    this.#source = source;
    this.#watch();
    source.addEventListener("overview", (event) => {
      const overview: Overview = JSON.parse(event.data);
      this.#failures = 0;
      this.#lastEventAt = Date.now();
      this.#watch();
      this.#listener.onEvent(overview);
      this.#listener.onStatus({ kind: "live" });
    });
    source.addEventListener("error", () => this.#lost(source.readyState === EventSource.CLOSED));
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  #watch(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lost(false), SILENCE_MS);
  }

  #lost(answered: boolean): void {
    this.close();
    this.#lastEventAt ??= Date.now();
    this.#listener.onStatus({ kind: "blind", since: this.#lastEventAt });
    const waitMs = RETRY_MS[Math.min(this.#failures, RETRY_MS.length - 1)] ?? 15_000;
    this.#failures += 1;
    this.#timer = setTimeout(() => this.open(), waitMs);
    if (answered) void leaveWhenSignedOut();
  }
}

/** An HTTP answer that is no event stream may mean that the session ended: the page itself then redirects. */
async function leaveWhenSignedOut(): Promise<void> {
  try {
    const page = await fetch(window.location.href, { redirect: "manual", cache: "no-store" });
    if (page.type === "opaqueredirect") window.location.assign("/login");
  } catch {
    // The gateway itself is away; the retries go on.
  }
}
