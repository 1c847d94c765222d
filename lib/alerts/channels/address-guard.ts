import dns from "node:dns";
import type { LookupFunction } from "node:net";
import ipaddr from "ipaddr.js";

/**
 * Which addresses a webhook may go to. An operator types its URL, so without this the gateway could be made to call
 * services that trust their own network: cloud metadata, databases, itself.
 *
 * Two doors, both needed: `checkUrl` for literal addresses, for which no lookup is ever made; `lookup` for names, inside
 * the connection, so that the address that was checked is the one connected to, whatever the name resolves to next.
 */
export type AddressGuard = {
  /** Null when a request to the URL may be tried, else one sentence on why not. */
  checkUrl(url: string): string | null;
  /** For `net.connect`: resolves, refuses when any answer is forbidden, and hands out what it checked. */
  lookup: LookupFunction;
};

export type AddressGuardOptions = {
  /** In-house networks that webhooks may reach, such as 10.1.0.0/16. */
  allowedCidrs?: readonly string[];
  /** Whether this machine itself may be called: only where nobody but its user can add a webhook. */
  allowLoopback?: boolean;
  /** Resolves a name to all its addresses; for tests. */
  resolve?: (hostname: string) => Promise<readonly string[]>;
};

export function createAddressGuard(options: AddressGuardOptions = {}): AddressGuard {
  const cidrs = (options.allowedCidrs ?? []).map((cidr) => ipaddr.parseCIDR(cidr));
  const resolve = options.resolve ?? resolveAll;

  const isAllowed = (text: string): boolean => {
    if (!ipaddr.isValid(text)) return false;
    const address = ipaddr.process(text);
    if (cidrs.some(([network, bits]) => network.kind() === address.kind() && address.match(network, bits))) return true;
    if (address.range() === "loopback") return options.allowLoopback ?? false;
    return isPublic(address);
  };

  const refusal = (host: string) =>
    `${host} is not a public address; to allow a service of your own network, add it to WEBHOOK_ALLOWED_CIDRS`;

  return {
    checkUrl(text) {
      if (!URL.canParse(text)) return "the URL cannot be read; write it as https://host/path";
      // The parser turns odd spellings (0x7f.1, 2130706433, full-width digits) into plain addresses.
      const url = new URL(text);
      if (url.protocol !== "https:" && url.protocol !== "http:") return "the URL must begin with https:// or http://";
      if (url.username || url.password) return "the URL must not carry a user name or password";
      const name = url.hostname.replace(/^\[|\]$/g, "");
      // Not every resolver knows it with a dot, or below it; RFC 6761 says what they all mean.
      const host = /(^|\.)localhost\.?$/.test(name) ? "127.0.0.1" : name;
      return ipaddr.isValid(host) && !isAllowed(host) ? refusal(name) : null;
    },
    lookup(hostname, lookupOptions, callback) {
      resolve(hostname).then(
        (addresses) => {
          const answers = addresses.map((address) => ({ address, family: ipaddr.IPv6.isValid(address) ? 6 : 4 }));
          const [first] = answers;
          if (!first) return callback(new Error(`${hostname} has no address`), "", 0);
          const forbidden = answers.find(({ address }) => !isAllowed(address));
          if (forbidden) {
            return callback(new ForbiddenAddressError(refusal(`${hostname} (${forbidden.address})`)), "", 0);
          }
          return lookupOptions.all ? callback(null, answers) : callback(null, first.address, first.family);
        },
        (error: Error) => callback(error, "", 0),
      );
    },
  };
}

/** A name that leads to an address webhooks may not reach. */
export class ForbiddenAddressError extends Error {}

function isPublic(address: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  if (address.range() !== "unicast") return false;
  // Of IPv6 only 2000::/3 is given out: what else ipaddr.js calls unicast includes ::/96, which old stacks take as IPv4.
  if (address.kind() === "ipv6") return address.match(GLOBAL_UNICAST, 3);
  return address.toString() !== AZURE_HOST;
}

const GLOBAL_UNICAST = ipaddr.parse("2000::");
/** The virtual host of every Azure machine, at a public address. */
const AZURE_HOST = "168.63.129.16";

async function resolveAll(hostname: string): Promise<string[]> {
  const answers = await dns.promises.lookup(hostname, { all: true });
  return answers.map(({ address }) => address);
}
