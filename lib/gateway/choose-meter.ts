import { CompatibleMeter, CompatibleStreamMeter } from "./compatible-meter.ts";
import type { EndpointKind } from "./endpoint.ts";
import { ErrorMeter, MessageMeter, type Meter, NO_METER, StreamMeter } from "./meter.ts";

/** What reads a copy of the answer. `resultsMeter` makes the one for a batch's results. */
export function chooseMeter(
  answer: { method: string; kind: EndpointKind; status: number; isEventStream: boolean },
  resultsMeter: () => Meter,
): Meter {
  if (answer.method === "HEAD") return NO_METER;
  if (answer.status >= 400) return new ErrorMeter();
  switch (answer.kind) {
    case "messages":
      return answer.isEventStream ? new StreamMeter() : new MessageMeter();
    case "chat":
    case "complete":
      return answer.isEventStream ? new CompatibleStreamMeter() : new CompatibleMeter();
    case "batch_results":
      return resultsMeter();
    default:
      return NO_METER;
  }
}
