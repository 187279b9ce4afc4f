import type { LogView } from '../index.js'
import { tailOf } from './position.js'
import { messagesOf, type ToMessage } from './shape-message.js'

/** Messages of consecutive records. */
export interface ShapeAnswer {
  /** JSON texts, one behind the other with commas. */
  readonly messages: string
  /** Offset behind the last record. */
  readonly next: number
  /** Nothing durable lay behind `next`. */
  readonly complete: boolean
}

export interface AnswerBounds {
  /** Answers end where offsets are multiples of it. */
  readonly maxRecords: number
  /** And where their messages have come to so many characters. */
  readonly maxLength: number
}

const BLOCK_BYTES = 256 * 1024

/**
 * The messages from `from` on, up to the durable end at most. Where an answer ends depends on the records alone unless that is the end, so answers for
 * the same offset are the same and caches share them: at the first batch of the writer that begins at or behind the next multiple of `maxRecords`, or
 * behind `maxLength`. A batch is never split: a row set shown to users between two answers is one that the writer meant.
 */
export async function readAnswer<T>(view: LogView<T>, from: number, bounds: AnswerBounds, toMessage: ToMessage<T>): Promise<ShapeAnswer> {
  const end = tailOf(view)
  const window = (Math.floor(from / bounds.maxRecords) + 1) * bounds.maxRecords
  const messages: string[] = []
  let length = 0
  if (from < end) {
    for await (const batch of view.batches({ from, to: end, maxBytes: BLOCK_BYTES, reuseBuffers: true })) {
      for (let i = 0; i < batch.length; i++) {
        const offset = batch.offset(i)
        const full = offset >= window || length >= bounds.maxLength
        if (full && batch.batch(i) === offset) return { messages: messages.join(','), next: offset, complete: false }
        for (const message of messagesOf(batch.record(i), toMessage)) {
          messages.push(message)
          length += message.length
        }
      }
    }
  }
  return { messages: messages.join(','), next: Math.max(from, end), complete: true }
}
