import { bufferOf } from './keys.js'

/** A change of one key, or of all. */
export interface Write {
  /** The encoded key, not shared with anybody. */
  readonly key: Uint8Array
  /** The same as text of one character per byte. */
  readonly text: string
  readonly kind: 'put' | 'delete' | 'clear'
}

/** An accepted record that is not committed yet. */
export interface PendingWrite extends Write {
  readonly offset: number
}

export function writeOf(key: Uint8Array, kind: Write['kind']): Write {
  return { key, text: textOf(key), kind }
}

/** What was accepted and is not committed, in order of offsets: what a delete must know, and what the index takes over when it counts. */
export class PendingWrites {
  #writes: PendingWrite[] = []
  #head = 0
  /** The last write of a key, by the bytes of the key; older than no clear. */
  readonly #last = new Map<string, PendingWrite>()
  #lastClear: PendingWrite | undefined

  get count(): number {
    return this.#writes.length - this.#head
  }

  add(offset: number, { key, text, kind }: Write): void {
    const write = { offset, key, text, kind }
    this.#writes.push(write)
    this.#note(write)
  }

  /** The write that decides what the key will be; undefined when nothing that waits does. */
  last(key: Uint8Array): PendingWrite | undefined {
    return this.count === 0 ? undefined : (this.#last.get(textOf(key)) ?? this.#lastClear)
  }

  /** The write accepted last. */
  get newest(): PendingWrite | undefined {
    return this.count === 0 ? undefined : this.#writes[this.#writes.length - 1]
  }

  /** Gives the writes below `end` to `apply`, in order, and forgets them. */
  take(end: number, apply: (write: PendingWrite) => void): void {
    const writes = this.#writes
    let head = this.#head
    for (; head < writes.length && writes[head].offset < end; head++) {
      const write = writes[head]
      apply(write)
      if (write.kind === 'clear') {
        if (this.#lastClear === write) this.#lastClear = undefined
      } else if (this.#last.get(write.text) === write) {
        this.#last.delete(write.text)
      }
    }
    if (head === writes.length) {
      writes.length = 0
      head = 0
    } else if (head > 4096 && head * 2 > writes.length) {
      writes.splice(0, head)
      head = 0
    }
    this.#head = head
  }

  /** Forgets the writes from `end` on: they were refused. Their offsets are given out again. */
  dropFrom(end: number): void {
    if (this.count === 0 || this.#writes[this.#writes.length - 1].offset < end) return
    const kept = this.#writes.slice(this.#head).filter((write) => write.offset < end)
    this.#writes = []
    this.#head = 0
    this.#last.clear()
    this.#lastClear = undefined
    for (const write of kept) this.add(write.offset, write)
  }

  #note(write: PendingWrite): void {
    if (write.kind === 'clear') {
      this.#last.clear()
      this.#lastClear = write
    } else {
      this.#last.set(write.text, write)
    }
  }
}

function textOf(key: Uint8Array): string {
  return bufferOf(key).toString('latin1')
}
