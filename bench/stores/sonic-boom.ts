import { once } from 'node:events'
import { fdatasync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { loadPeer } from '../harness/contenders.js'
import { LinesStore } from './lines.js'
import type { StoreKind } from './store.js'

interface Sonic {
  readonly fd: number
  write(data: Buffer): boolean
  once(event: string, listener: () => void): unknown
  flush(): void
  end(): void
}

const BUFFER_BYTES = 1024 * 1024

/** The file writer below the logger pino: lines, gathered up to 1 MiB, asynchronously, as its documentation has it for throughput; buffers, as the records are. */
export const SONIC_BOOM: StoreKind = {
  name: 'sonic-boom',
  kind: 'peer',
  package: 'sonic-boom',
  open: async (directory) => {
    const { SonicBoom } = loadPeer('sonic-boom') as { SonicBoom: new (options: object) => Sonic }
    const path = join(directory, 'records.ndjson')
    const sonic = new SonicBoom({ dest: path, contentMode: 'buffer', minLength: BUFFER_BYTES, maxWrite: 2 * BUFFER_BYTES, sync: false })
    await once(sonic as never, 'ready')
    return new SonicStore(path, sonic)
  },
}

class SonicStore extends LinesStore {
  readonly #sonic: Sonic
  #full = false

  constructor(path: string, sonic: Sonic) {
    super(path)
    this.#sonic = sonic
  }

  write(record: Buffer): void {
    if (!this.#sonic.write(this.line(record))) this.#full = true
  }

  get full(): boolean {
    return this.#full
  }

  async drain(): Promise<void> {
    await this.#drained()
  }

  /** A flush with a callback would sync: the first one ends what is being written, the second one writes what was gathered meanwhile. */
  async committed(): Promise<void> {
    for (let i = 0; i < 2; i++) {
      const drained = this.#drained()
      this.#sonic.flush()
      await drained
    }
  }

  append(): never {
    throw new Error('sonic-boom does not tell when one write is done')
  }

  async #drained(): Promise<void> {
    await once(this.#sonic as never, 'drain')
    this.#full = false
  }

  async durable(): Promise<void> {
    await this.committed()
    await promisify(fdatasync)(this.#sonic.fd)
  }

  async appendDurable(record: Buffer): Promise<void> {
    this.write(record)
    await this.durable()
  }

  appendDurableSync(): never {
    throw new Error('sonic-boom writes synchronously or asynchronously, not both')
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#sonic.once('close', resolve))
    this.#sonic.end()
    await closed
  }
}
