import type { Log } from "../kit/log.ts";
import { Organizations } from "./organizations.ts";
import type { TrafficDesk } from "./traffic-desk.ts";
import { UpstreamClient, type UpstreamTimeouts } from "./upstream-client.ts";

/** Where calls can be sent, and the credential that agent keys' calls go out with. */
export type UpstreamOption = { name: string; baseUrl: string; apiKey: string | null };

/** The configured upstreams that have a credential; another array whenever something has changed. */
export type ConfiguredUpstreams = { readonly callable: readonly (UpstreamOption & { apiKey: string })[] };

/** One way out: where to, and with which credential. */
export type Sender = {
  readonly client: UpstreamClient;
  /** Credential headers, names and values in turn. */
  readonly headers: readonly string[];
  readonly secret: string;
  /** The configured upstream's name; null for a caller's own credential. */
  readonly configured: string | null;
};

/** A caller's credential as it came. */
export type OwnCredential = { headers: readonly string[]; secret: string };

/** How a call may go out. */
export type Route = {
  /** What traffic control knows the upstreams by that may serve it. */
  readonly group: string;
  readonly ownCredential: boolean;
  /** By the upstream that traffic control chose; null where it was not asked. Null when there is none any more. */
  choose(upstream: string | null): Sender | null;
};

/** The group of several upstreams. No upstream can have this name. */
const SEVERAL = "*";

/**
 * The upstreams that calls can go to, kept in step with what is configured. Upstreams of one organisation share its
 * limits, so they are one to traffic control: the first of them is used, and another when that one is taken away.
 */
export class UpstreamSet {
  readonly #environment: UpstreamOption;
  readonly #configured: ConfiguredUpstreams;
  readonly #timeouts: UpstreamTimeouts;
  readonly #traffic: TrafficDesk | null;
  readonly #log: Log;
  readonly #organizations: Organizations;
  /** By address: keys for one host share its connections. */
  readonly #clients = new Map<string, UpstreamClient>();
  readonly #retired = new Set<UpstreamClient>();
  #seen: ConfiguredUpstreams["callable"] | null = null;
  #members: readonly Sender[] = [];
  #group: string;

  constructor(options: {
    environment: UpstreamOption;
    configured: ConfiguredUpstreams | null;
    timeouts: UpstreamTimeouts;
    traffic: TrafficDesk | null;
    log: Log;
  }) {
    const { environment } = options;
    this.#environment = environment;
    this.#configured = options.configured ?? { callable: onlyOwn(environment) };
    this.#timeouts = options.timeouts;
    this.#traffic = options.traffic;
    this.#log = options.log;
    this.#organizations = new Organizations(environment.name);
    this.#group = environment.name;
    this.#sync();
  }

  /** Whether calls with agent keys can go anywhere. */
  get isConfigured(): boolean {
    this.#sync();
    return this.#members.length > 0;
  }

  get hasSeveral(): boolean {
    this.#sync();
    return this.#members.length > 1;
  }

  /** The way of a call with its caller's own credential, which only the environment's upstream is told. */
  ownRoute(own: OwnCredential): Route {
    const sender: Sender = { client: this.#client(this.#environment.baseUrl), ...own, configured: null };
    return { group: this.nameOf(sender), ownCredential: true, choose: () => sender };
  }

  /** The way of an agent key's call to any upstream that has room. */
  sharedRoute(): Route {
    this.#sync();
    const choose = (upstream: string | null) => {
      const named = this.#members.find((member) => this.nameOf(member) === upstream);
      // It was taken away or got another name while the call waited: any that serves agent keys will do.
      return named ?? this.#members.find((member) => this.#isWell(member)) ?? this.#home;
    };
    return { group: this.#group, ownCredential: false, choose };
  }

  /** The way of an agent key's call that is about what lies at the first upstream, such as its files. */
  homeRoute(): Route {
    this.#sync();
    const home = this.#home;
    return { group: this.#homeName, ownCredential: false, choose: () => home };
  }

  /** The upstream that a call is recorded under until it is sent: a caller's own, or the first of agent keys'. */
  nameFor(own: OwnCredential | null): string {
    return own === null ? this.#homeName : this.#organizations.nameOf(own.secret, null);
  }

  /** Whose limits a way out draws on, as far as is known. */
  nameOf({ secret, configured }: Sender): string {
    return this.#organizations.nameOf(secret, configured);
  }

  /** Whether it is known, and not only assumed, whose limits a way out draws on. */
  isKnown({ secret, configured }: Sender): boolean {
    return configured !== null || this.#organizations.isKnown(secret);
  }

  /** An answer has told its organisation: whose limits its credential draws on. */
  learn(sender: Sender, organizationId: string | null): string {
    const before = this.nameOf(sender);
    const name = this.#organizations.learn(sender.secret, organizationId, sender.configured);
    if (sender.configured !== null && name !== before) {
      const { configured } = sender;
      this.#log.warn({ upstream: configured, sharesLimitsOf: name }, "two upstreams are of one organisation");
      this.#regroup();
    }
    return name;
  }

  /** Ends every connection, used or not. */
  async close(): Promise<void> {
    await Promise.all([...this.#clients.values(), ...this.#retired].map((client) => client.close()));
  }

  get #home(): Sender | null {
    return this.#members[0] ?? null;
  }

  get #homeName(): string {
    return this.#home === null ? this.#environment.name : this.nameOf(this.#home);
  }

  #isWell(member: Sender): boolean {
    return this.#traffic === null || this.#traffic.controller.isWell(this.nameOf(member));
  }

  #sync(): void {
    const { callable } = this.#configured;
    if (callable === this.#seen) return;
    this.#seen = callable;
    this.#members = callable.map(({ name, baseUrl, apiKey }) => ({
      client: this.#client(baseUrl),
      headers: ["x-api-key", apiKey],
      secret: apiKey,
      configured: name,
    }));
    const used = new Set([this.#environment.baseUrl, ...callable.map(({ baseUrl }) => baseUrl)]);
    for (const [baseUrl, client] of this.#clients) {
      if (used.has(baseUrl)) continue;
      this.#clients.delete(baseUrl);
      this.#retired.add(client);
      void client.retire().then(() => this.#retired.delete(client));
    }
    this.#regroup();
  }

  #regroup(): void {
    const names = [...new Set(this.#members.map((member) => this.nameOf(member)))];
    this.#group = names.length > 1 ? SEVERAL : this.#homeName;
    // Calls may wait there still though one is left.
    if (names.length > 0) this.#traffic?.setGroup(SEVERAL, names);
  }

  #client(baseUrl: string): UpstreamClient {
    let client = this.#clients.get(baseUrl);
    if (!client) {
      const setting = baseUrl === this.#environment.baseUrl ? "HEADROOM_UPSTREAM_URL" : "the upstream's address";
      client = new UpstreamClient(baseUrl, this.#timeouts, setting);
      this.#clients.set(baseUrl, client);
    }
    return client;
  }
}

function onlyOwn({ name, baseUrl, apiKey }: UpstreamOption): ConfiguredUpstreams["callable"] {
  return apiKey === null ? [] : [{ name, baseUrl, apiKey }];
}
