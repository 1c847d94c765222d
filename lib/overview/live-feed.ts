import type { OverviewHub } from "./overview-hub.ts";

/** Behind this many unread events a reader is gone or asleep: it is cut off, and comes again when it wakes. */
const MAX_UNREAD = 30;

/** The overview as server-sent events, `event: overview`, one a second until the reader leaves. */
export function liveFeed(hub: OverviewHub, signal: AbortSignal): Response {
  const encoder = new TextEncoder();
  let stop = () => {};
  const stream = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const end = () => {
          stop();
          try {
            controller.close();
          } catch {
            // The reader was faster.
          }
        };
        stop = hub.watch((overviewJson) => {
          if ((controller.desiredSize ?? 0) < -MAX_UNREAD) return end();
          controller.enqueue(encoder.encode(`event: overview\ndata: ${overviewJson}\n\n`));
        });
        signal.addEventListener("abort", end, { once: true });
      },
      cancel: () => stop(),
    },
    new CountQueuingStrategy({ highWaterMark: 1 }),
  );
  return new Response(stream, {
    headers: {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store, no-transform",
      "x-accel-buffering": "no",
    },
  });
}
