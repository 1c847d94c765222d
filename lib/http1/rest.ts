/** Long enough to gather what a server writes in one go, too short for anybody to notice. */
export const REST_MS = 1;

type Resting = { wake(): void };

let resting: Resting[] = [];

/** Wakes a reader again after a millisecond, all that rest together. */
export function rest(reader: Resting): void {
  if (resting.length === 0) setTimeout(wakeAll, REST_MS);
  resting.push(reader);
}

function wakeAll(): void {
  const woken = resting;
  resting = [];
  for (const reader of woken) reader.wake();
}
