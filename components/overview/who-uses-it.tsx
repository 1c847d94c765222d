import { formatPercent, formatUsed } from "#components/ui/format.ts";
import { ShareBar } from "#components/ui/share-bar.tsx";
import { toneOf } from "#components/ui/tone.ts";
import type { AgentUse } from "#lib/overview/schema.ts";
import type { Chosen } from "./choose-limiter.ts";
import classes from "./hero.module.css";
import { limiterShares, utilisationWithout } from "./limiter-shares.ts";

/** From this share on, an agent is worth a sentence of its own. */
const CULPRIT_FROM = 0.2;

/** The limiter's users of the last 60 s; the largest takes the colour of the limiter's state. */
export function WhoUsesIt({ chosen, agents }: { chosen: Chosen; agents: readonly AgentUse[] }) {
  const shares = limiterShares(chosen, agents);
  const top = shares[0];
  const most = Math.max(...shares.map((use) => use.share), 0.01);
  return (
    <div className={classes.who}>
      <div className={classes.whoHead}>
        <h2>Who uses it</h2> <span>last 60 s</span>
      </div>
      {shares.length === 0 && <p className={classes.nobody}>Nobody in the last minute.</p>}
      <ol className={classes.whoList}>
        {shares.map((use, index) => (
          <li key={use.name} data-kind={use.kind} title={use.kind === "outside" ? OUTSIDE : undefined}>
            <span className={classes.whoName}>{use.name}</span>
            <span className={classes.whoUsed}>{formatUsed(use.used)}</span>
            <span className={classes.whoShare}>{formatPercent(use.share)}</span>
            <div className={classes.whoBar}>
              <ShareBar
                share={use.share / most}
                tone={use.kind === "outside" ? "outside" : index === 0 ? toneOf(chosen.limiter.utilisation) : "used"}
              />
            </div>
          </li>
        ))}
      </ol>
      {top?.kind === "agent" && top.share >= CULPRIT_FROM && shares.length > 1 && (
        <p className={classes.without}>
          Without {top.name} this limit would be at <b>{formatPercent(utilisationWithout(chosen, top))}</b>.
        </p>
      )}
    </div>
  );
}

const OUTSIDE =
  "The answers' headers show more use than passed through Headroom: someone uses the same organisation directly.";
