import { LogError } from '../errors.js'
import type { LogView } from '../index.js'
import type { ChunkForm } from '../options.js'

/** The bytes of consecutive records in one of the forms of sealed chunks. */
export interface RenderedRange {
  readonly body: Buffer
  /** Offset behind the last record. */
  readonly end: number
}

const INITIAL_BYTES = 16 * 1024
/** Smaller blocks would read the same bytes several times. */
const MIN_BLOCK_BYTES = 64 * 1024
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = Buffer.from(']')
const COMMA = Buffer.from(',')
const LINE_FEED = Buffer.from('\n')
const NULL = Buffer.from('null')

/** The form that answers of a log have: that of its chunks, where there are none the one that fits its codec. */
export function answerForm(view: LogView<unknown>): ChunkForm {
  if (view.form !== 'none') return view.form
  return view.codec === 'json' ? 'json' : 'raw'
}

export function emptyBody(form: ChunkForm): Buffer {
  return Buffer.from(form === 'json' ? '[]' : '')
}

/**
 * Renders the records `from` … `to` as a sealed chunk would have them. Ends early, in front of the batch of the writer that would bring the body beyond
 * `maxBytes`, but never before one batch is complete. Throws the errors of reading; ERR_SEALOG_CLOSED when the log is closed meanwhile.
 */
export async function renderRange(view: LogView<unknown>, form: ChunkForm, from: number, to: number, maxBytes: number): Promise<RenderedRange> {
  const content = new Content(form)
  let completeBatches = -1
  let currentBatch = -1
  let batchStart = 0
  let batchOffset = from
  for await (const batch of view.batches({ from, to, maxBytes: Math.max(maxBytes, MIN_BLOCK_BYTES), reuseBuffers: true })) {
    for (let i = 0; i < batch.length; i++) {
      const first = batch.batch(i)
      if (first !== currentBatch) {
        currentBatch = first
        completeBatches++
        batchStart = content.length
        batchOffset = batch.offset(i)
      }
      content.add(batch.tombstone(i) ? undefined : batch.bytes(i))
      if (completeBatches > 0 && content.length > maxBytes) return { body: content.take(batchStart), end: batchOffset }
    }
  }
  if (view.closed) throw new LogError('ERR_SEALOG_CLOSED', `${view.directory} is closed`)
  return { body: content.take(content.length), end: to }
}

/** A growing buffer of elements, separated as their form has it. */
class Content {
  readonly #form: ChunkForm
  #bytes = Buffer.allocUnsafeSlow(INITIAL_BYTES)
  #length = 0

  constructor(form: ChunkForm) {
    this.#form = form
    if (form === 'json') this.#bytes[this.#length++] = OPEN_BRACKET
  }

  get length(): number {
    return this.#length
  }

  /** `undefined`: a tombstone. */
  add(value: Uint8Array | undefined): void {
    if (this.#form === 'raw') {
      if (value !== undefined) this.#write(value)
      return
    }
    if (this.#form === 'json' && this.#length > 1) this.#write(COMMA)
    this.#write(value ?? NULL)
    if (this.#form === 'ndjson') this.#write(LINE_FEED)
  }

  /** The first `length` bytes as a body of their own; nothing may be added afterwards. */
  take(length: number): Buffer {
    this.#length = length
    if (this.#form === 'json') this.#write(CLOSE_BRACKET)
    return Buffer.from(this.#bytes.subarray(0, this.#length))
  }

  #write(bytes: Uint8Array): void {
    const end = this.#length + bytes.length
    if (end > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(end, this.#bytes.length * 2))
      this.#bytes.copy(grown, 0, 0, this.#length)
      this.#bytes = grown
    }
    this.#bytes.set(bytes, this.#length)
    this.#length = end
  }
}
