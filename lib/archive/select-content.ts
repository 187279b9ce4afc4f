import { setImmediate } from 'node:timers/promises'

/** Bytes that are looked at together, and the table that counts them. */
const GRAM = 8
const HASH_BITS = 18
/** Bytes that are taken in one go. */
const PIECE = 128
/** Others get their turn after so many bytes. */
const TURN_BYTES = 128 * 1024

/**
 * The content of a dictionary: pieces of the samples that hold what most samples have, each counted once. The samples are cut into as many stretches as there is
 * room for pieces, and the best piece of each stretch is taken; the best ones come last, where zstd finds them cheapest. Gives way to others every now and then.
 */
export async function selectContent(samples: readonly Uint8Array[], limit: number): Promise<Uint8Array> {
  const counts = new Uint32Array(2 ** HASH_BITS)
  const seenIn = new Uint32Array(2 ** HASH_BITS)
  let looked = 0
  const giveWay = async (bytes: number): Promise<void> => {
    looked += bytes
    if (looked < TURN_BYTES) return
    looked = 0
    await setImmediate()
  }
  for (const [i, sample] of samples.entries()) {
    for (let at = 0; at + GRAM <= sample.length; at++) {
      const gram = hash(sample, at)
      if (seenIn[gram] === i + 1) continue
      seenIn[gram] = i + 1
      counts[gram]++
    }
    await giveWay(sample.length)
  }
  const all = Buffer.concat(samples)
  const wanted = Math.floor(Math.min(limit, all.length / 2) / PIECE)
  const stretch = wanted === 0 ? 0 : Math.floor(all.length / wanted)
  const pieces: Array<{ readonly start: number; readonly score: number }> = []
  for (let i = 0; i < wanted; i++) {
    const piece = bestPiece(all, i * stretch, Math.min(all.length, (i + 1) * stretch), counts)
    // What hardly any other sample has is of no use.
    if (piece.score > 2 * PIECE) pieces.push(piece)
    for (let at = piece.start; at < piece.start + PIECE - GRAM; at++) counts[hash(all, at)] = 0
    await giveWay(stretch)
  }
  pieces.sort((a, b) => a.score - b.score)
  return Buffer.concat(pieces.map(({ start }) => all.subarray(start, start + PIECE)))
}

function bestPiece(bytes: Uint8Array, from: number, to: number, counts: Uint32Array): { start: number; score: number } {
  const last = Math.max(from, to - PIECE)
  let score = 0
  for (let at = from; at < Math.min(from + PIECE, bytes.length) - GRAM; at++) score += counts[hash(bytes, at)]
  let best = { start: from, score }
  for (let start = from + 1; start <= last; start++) {
    score += counts[hash(bytes, start + PIECE - GRAM - 1)] - counts[hash(bytes, start - 1)]
    if (score > best.score) best = { start, score }
  }
  return best
}

function hash(bytes: Uint8Array, at: number): number {
  const low = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)
  const high = bytes[at + 4] | (bytes[at + 5] << 8) | (bytes[at + 6] << 16) | (bytes[at + 7] << 24)
  return (Math.imul(low, 0x9e3779b1) ^ Math.imul(high, 0x85ebca6b)) >>> (32 - HASH_BITS)
}
