import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
  timingSafeEqual,
} from "node:crypto";

/**
 * Keeps secrets at rest: AES-256-GCM for what must be read again, HMAC-SHA256 for what must only be recognised. One
 * master key, one derived key per use, so that a value sealed for one purpose opens for no other.
 */
export class SecretBox {
  readonly #master: Buffer;
  /** Deriving costs ten times what using a key does, and agents' keys are hashed with every call. */
  readonly #keys = new Map<string, KeyObject>();

  constructor(master: Buffer) {
    if (master.length < 32) throw new RangeError("the master key needs at least 32 bytes");
    this.#master = master;
  }

  #derive(purpose: string): KeyObject {
    let key = this.#keys.get(purpose);
    if (!key) {
      key = createSecretKey(Buffer.from(hkdfSync("sha256", this.#master, "headroom", purpose, 32)));
      this.#keys.set(purpose, key);
    }
    return key;
  }

  /** `v1.` and base64url of nonce, tag and ciphertext. */
  seal(plain: string, purpose: string): string {
    const nonce = randomBytes(12);
    const cipher = createCipheriv("aes-256-gcm", this.#derive(purpose), nonce);
    const body = Buffer.concat([cipher.update(plain, "utf8"), cipher.final()]);
    return `v1.${Buffer.concat([nonce, cipher.getAuthTag(), body]).toString("base64url")}`;
  }

  /** Throws when the value was changed, sealed under another master key, or for another purpose. */
  open(sealed: string, purpose: string): string {
    const bytes = Buffer.from(sealed.replace(/^v1\./, ""), "base64url");
    const decipher = createDecipheriv("aes-256-gcm", this.#derive(purpose), bytes.subarray(0, 12));
    decipher.setAuthTag(bytes.subarray(12, 28));
    return Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString("utf8");
  }

  /** A keyed hash, hex: the same value always gives the same hash, and the hash gives nothing back. */
  hash(value: string, purpose: string): string {
    return createHmac("sha256", this.#derive(purpose)).update(value).digest("hex");
  }
}

/** Compares in constant time, whatever the lengths. */
export function equalSecret(a: string, b: string): boolean {
  const digest = (value: string) => createHmac("sha256", "compare").update(value).digest();
  return timingSafeEqual(digest(a), digest(b));
}
