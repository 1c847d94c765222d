import type { Demand } from "./gate.ts";
import type { Held, Mirror } from "./mirror.ts";
import type { UpstreamReason } from "./schema.ts";
import type { UpstreamGate } from "./upstream-gate.ts";

/** Headroom that a warm prompt cache outweighs, as a share of the capacity. */
const CACHE_BONUS = 0.25;

export type Candidate = { mirror: Mirror; gate: UpstreamGate };

/** What is asked: where may this call go, if anywhere? `last` is the upstream that has its prompts in the cache. */
export type Question = {
  candidates: readonly Candidate[];
  demand: Demand;
  /** The same where its prompts are in no cache: the whole prompt counts. */
  coldDemand: Demand;
  /** Whose reserves apply, and whose to input alone if another's. */
  gatedAs: Demand["class"];
  inputAs?: Demand["class"];
  standing: number;
  last: string | undefined;
  notBefore: ReadonlyMap<string, number> | null;
  ownCredential: boolean;
};

export type Choice = { to: Candidate; reason: UpstreamReason } | ({ to: null } & Held);

/**
 * Ranks the upstreams by the room they would have left, with a bonus for the one whose prompt cache is warm, and takes
 * the first that lets the call through.
 */
export function chooseUpstream(question: Question, nowS: number): Choice {
  const { candidates } = question;
  const only = candidates.length === 1;
  const ranked = only ? candidates : rank(question);
  let held: Held = { heldBy: { by: "upstream", limiter: null, class: null }, waitS: 1 };
  for (const candidate of ranked) {
    const notBeforeS = question.notBefore?.get(candidate.mirror.upstream) ?? 0;
    if (notBeforeS > nowS) {
      held = { heldBy: { by: "backoff", limiter: null, class: null }, waitS: notBeforeS - nowS };
      continue;
    }
    if (!candidate.gate.allows(nowS, question.ownCredential)) continue;
    const obstacle = candidate.mirror.obstacle(demandAt(candidate, question), question, question.standing, nowS);
    if (obstacle === null)
      return { to: candidate, reason: only ? "only" : reasonFor(candidate, ranked, question, nowS) };
    held = obstacle;
  }
  return { to: null, ...held };
}

function rank(question: Question): readonly Candidate[] {
  const score = (candidate: Candidate) => {
    const { mirror } = candidate;
    return mirror.roomAfter(demandAt(candidate, question)) + (mirror.upstream === question.last ? CACHE_BONUS : 0);
  };
  return question.candidates
    .map((candidate) => ({ candidate, score: score(candidate) }))
    .sort((a, b) => b.score - a.score)
    .map(({ candidate }) => candidate);
}

function demandAt({ mirror }: Candidate, { demand, coldDemand, last }: Question): Demand {
  return last === undefined || mirror.upstream === last ? demand : coldDemand;
}

function reasonFor(
  chosen: Candidate,
  ranked: readonly Candidate[],
  { last, ownCredential }: Question,
  nowS: number,
): UpstreamReason {
  if (chosen.mirror.upstream === last) return "cache";
  const own = ranked.find(({ mirror }) => mirror.upstream === last);
  return own && !own.gate.allows(nowS, ownCredential) ? "failover" : "headroom";
}
