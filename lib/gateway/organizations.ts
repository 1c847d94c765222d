import { LRUCache } from "lru-cache";

const MAX_CREDENTIALS = 10_000;
const SHOWN = 8;

/**
 * Whose limits a credential draws on. Keys of one organisation share its limits, those of another do not; an answer says
 * which it was. The first organisation seen goes by the configured upstream's name, so that most know only that one.
 */
export class Organizations {
  readonly #upstreamName: string;
  /** By the credential itself, in memory alone: hashing each call's would cost more than all else here. */
  readonly #names = new LRUCache<string, string>({ max: MAX_CREDENTIALS });
  #first: string | null = null;

  constructor(upstreamName: string) {
    this.#upstreamName = upstreamName;
  }

  nameOf(credential: string): string {
    return this.#names.get(credential) ?? this.#upstreamName;
  }

  /** `organizationId` as in the header `anthropic-organization-id`; without one nothing is learned. */
  learn(credential: string, organizationId: string | null): string {
    if (organizationId !== null) {
      this.#first ??= organizationId;
      const isFirst = organizationId === this.#first;
      this.#names.set(credential, isFirst ? this.#upstreamName : `org ${organizationId.slice(0, SHOWN)}`);
    }
    return this.nameOf(credential);
  }
}
