import { randomInt } from 'node:crypto'

const EPOCH_MS = Date.UTC(2024, 9, 9)
const INTERVAL_MS = 20_000
const MAX_JITTER_MS = 3_600_000

/**
 * The cursor of a live answer: the number of the present interval of 20 s since 2024-10-09. Clients send it back, so that the URL, and with it the key
 * in shared caches, changes as time goes by. To a client whose cursor is not older than the present one a larger one is given, by a random
 * part of an hour, so that no client ever circles within cached answers.
 */
export function nextCursor(clientCursor: number | undefined, now = Date.now()): number {
  const current = Math.floor((now - EPOCH_MS) / INTERVAL_MS)
  if (clientCursor === undefined || clientCursor < current) return current
  return clientCursor + randomInt(1, MAX_JITTER_MS / INTERVAL_MS + 1)
}
