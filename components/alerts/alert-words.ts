import { LIMITER_WORDS } from "#components/overview/limiter-words.ts";
import { formatPercent } from "#components/ui/format.ts";
import type { Rule, RuleScope } from "#lib/alerts/schema.ts";
import { getPool } from "#lib/anthropic/pools.ts";

/** "Opus 5.5, input tokens"; "every limit". */
export function describeScope(scope: RuleScope): string {
  const parts = [
    scope.upstream && `at ${scope.upstream}`,
    scope.pool && getPool(scope.pool).name,
    scope.lane && `${scope.lane} lane`,
    scope.limiter && LIMITER_WORDS[scope.limiter].phrase,
  ].filter(Boolean);
  return parts.length > 0 ? parts.join(", ") : "every limit";
}

/** "at 80 % for 10 s; clears below 70 % for 120 s". */
export function describeCondition(rule: Rule): string {
  const hold = rule.pendingSeconds > 0 ? ` for ${rule.pendingSeconds} s` : "";
  return `at ${formatPercent(rule.threshold)}${hold}; clears below ${formatPercent(rule.recoveryThreshold)} for ${rule.recoverySeconds} s`;
}
