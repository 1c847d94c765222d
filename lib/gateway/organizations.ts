import { LRUCache } from "lru-cache";

const MAX_CREDENTIALS = 10_000;
const SHOWN = 8;

/**
 * Whose limits a credential draws on. Keys of one organisation share its limits, those of another do not; an answer says
 * which it was. An organisation goes by the name of the upstream through which it was first met, so that most know only
 * that one; of credentials that callers bring, the first organisation counts as the environment's.
 */
export class Organizations {
  readonly #environment: string;
  /** By the credential itself, in memory alone: hashing each call's would cost more than all else here. */
  readonly #names = new LRUCache<string, string>({ max: MAX_CREDENTIALS });
  readonly #byId = new LRUCache<string, string>({ max: MAX_CREDENTIALS });
  readonly #taken = new Map<string, string>();

  constructor(environment: string) {
    this.#environment = environment;
  }

  /** `configured` is the name of the upstream whose credential it is; null for a caller's own. */
  nameOf(credential: string, configured: string | null): string {
    return this.#names.get(credential) ?? configured ?? this.#environment;
  }

  /** Whether an answer has told whose the credential is. */
  isKnown(credential: string): boolean {
    return this.#names.has(credential);
  }

  /** `organizationId` as in the header `anthropic-organization-id`; without one nothing is learned. */
  learn(credential: string, organizationId: string | null, configured: string | null): string {
    if (organizationId === null) return this.nameOf(credential, configured);
    let name = this.#byId.get(organizationId);
    if (name === undefined) {
      name = this.#newName(configured ?? this.#environment, organizationId);
      this.#byId.set(organizationId, name);
    }
    this.#names.set(credential, name);
    return name;
  }

  #newName(wanted: string, organizationId: string): string {
    const holder = this.#taken.get(wanted) ?? organizationId;
    if (holder !== organizationId) return `org ${organizationId.slice(0, SHOWN)}`;
    this.#taken.set(wanted, organizationId);
    return wanted;
  }
}
