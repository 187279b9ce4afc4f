import path from 'node:path'
import { LogError, warn } from '../errors.js'
import { SNAPSHOT_FILE } from '../format/names.js'
import type { SnapshotHeader } from '../format/snapshot-file.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'
import { Task } from '../kernels/task.js'
import type { Log } from '../log/log.js'
import type { KeyIndex } from './key-index.js'
import { lostRangesCrc, readSnapshotEntries, readSnapshotHeader, UnusableSnapshot, writeSnapshot } from './snapshot.js'
import type { StoreStats } from './store-types.js'

/** So many of the last records below a snapshot's end have their frames checked against the log. */
const PROOF_RECORDS = 16

/** A snapshot that is durable. */
export interface SnapshotInfo {
  /** It holds the records below. */
  readonly endOffset: number
  /** Keys in it. */
  readonly entries: number
  /** Bytes of the file. */
  readonly bytes: number
}

/** A snapshot that is the one on disk, and what it is compared with the log by. */
export interface DurableSnapshot extends SnapshotInfo {
  readonly epoch: number
  /** The frames of the records from here to its end are its proof: rewriting them would make it useless. */
  readonly proofFrom: number
}

/** The index as of a commit that a snapshot holds. */
export interface HeldVersion {
  /** Not changed any more; the receiver closes it. */
  readonly index: KeyIndex
  readonly snapshot: DurableSnapshot
}

/** The index as of a commit. */
export interface IndexVersion {
  /** Not changed any more; the receiver closes it. */
  readonly index: KeyIndex
  readonly end: number
}

/** Takes the snapshots of one store: one at a time, in the background or by call. */
export class Snapshots<V> {
  readonly #log: Log<V>
  readonly #version: () => IndexVersion
  readonly #threshold: number
  /** Frame bytes committed since the last snapshot, or the last attempt. */
  #grown = 0
  #running: Promise<DurableSnapshot> | undefined
  /** File work of the one that is running. */
  #task: { finishSync(): unknown } | undefined
  #stopped = false
  /** The directory may be another's by now. */
  #ended = false
  #last: DurableSnapshot | undefined
  #failures = 0

  /** `threshold`: Infinity takes none in the background. `last`: what was found at open. `grown`: what the log has beyond it. */
  constructor(log: Log<V>, version: () => IndexVersion, threshold: number, last: DurableSnapshot | undefined, grown: number) {
    this.#log = log
    this.#version = version
    this.#threshold = threshold
    this.#last = last
    this.#grown = grown
  }

  stats(): Pick<StoreStats, 'snapshot' | 'bytesSinceSnapshot' | 'snapshotRunning' | 'snapshotFailures'> {
    return {
      snapshot: this.#last && infoOf(this.#last),
      bytesSinceSnapshot: this.#grown,
      snapshotRunning: this.#running !== undefined,
      snapshotFailures: this.#failures,
    }
  }

  /** The log has grown. */
  note(bytes: number): void {
    this.#grown += bytes
    if (this.#running !== undefined || this.#stopped || this.#grown < Math.max(this.#threshold, this.#last?.bytes ?? 0)) return
    this.#start().catch((error: unknown) => {
      // It is tried again after as much growth; the log has everything.
      if (!this.#stopped) warn('SEALOG_SNAPSHOT', `${this.#file}: the snapshot was not written: ${(error as Error).message}`)
    })
  }

  /** A snapshot of everything that is committed now. */
  async take(): Promise<SnapshotInfo> {
    while (this.#running !== undefined) await this.#running.catch(() => {})
    this.#checkGoing()
    return infoOf(await this.#start())
  }

  /** The index as the newest snapshot has it, which is taken now when anything was committed since the last one. */
  async hold(): Promise<HeldVersion> {
    while (this.#running !== undefined) await this.#running.catch(() => {})
    this.#checkGoing()
    const { index, end } = this.#version()
    try {
      const last = this.#last
      const current = last !== undefined && last.endOffset === end && last.epoch === this.#log.epoch
      // Begun in this very moment, it is of the same version.
      return { index, snapshot: current ? last : await this.#start() }
    } catch (error) {
      index.close()
      throw error
    }
  }

  #checkGoing(): void {
    if (this.#stopped) throw new LogError('ERR_SEALOG_CLOSED', `${this.#log.directory} is closed`)
  }

  /** No more snapshots; resolves when the one under way has ended, which it does soon. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running?.catch(() => {})
  }

  /** The same on the calling thread: no file is touched afterwards. */
  stopSync(): void {
    this.#stopped = true
    this.#ended = true
    if (this.#running === undefined) return
    try {
      this.#task?.finishSync()
    } catch {
      // It was given up; whoever waits for it is told.
    }
    try {
      this.#log.environment.runner.runSync(io.unlink(this.#temporary))
    } catch {
      // The next open removes it.
    }
  }

  get #temporary(): string {
    return `${this.#file}.tmp`
  }

  async #run<R>(procedure: Procedure<R>): Promise<R> {
    if (this.#ended) throw new LogError('ERR_SEALOG_CLOSED', `${this.#log.directory} is closed`)
    const task = new Task(this.#log.environment.runner, procedure)
    this.#task = task
    try {
      return await task.promise
    } finally {
      this.#task = undefined
    }
  }

  get #file(): string {
    return path.join(this.#log.directory, SNAPSHOT_FILE)
  }

  #start(): Promise<DurableSnapshot> {
    this.#grown = 0
    this.#running = this.#write().then(
      (snapshot) => {
        this.#running = undefined
        this.#last = snapshot
        return snapshot
      },
      (error: unknown) => {
        this.#running = undefined
        this.#failures++
        throw error
      },
    )
    return this.#running
  }

  async #write(): Promise<DurableSnapshot> {
    const log = this.#log
    const { kernels } = log.environment
    const { epoch } = log
    const { index, end } = this.#version()
    const temporary = this.#temporary
    try {
      const proofFrom = firstProved(log, end)
      const header: SnapshotHeader = {
        logId: log.logId,
        epoch,
        end,
        lost: lostRangesCrc(log.lost, end, kernels),
        proofFrom,
        proof: await proofOf(log, proofFrom, end),
        entries: index.size,
        createdAt: Date.now(),
      }
      const bytes = await this.#run(writeSnapshot(temporary, header, index, kernels, () => this.#stopped))
      // What a power loss could take from the log must not be in the snapshot.
      if (log.durableOffset < end) await log.sync()
      if (log.epoch !== epoch) throw new LogError('ERR_SEALOG_EPOCH', `${log.directory} was opened anew meanwhile`, { epoch: log.epoch })
      await this.#run(io.rename(temporary, this.#file))
      await this.#run(io.syncDirectory(log.directory))
      return { endOffset: end, entries: header.entries, bytes, epoch, proofFrom }
    } catch (error) {
      // On a full disk it would be in the way; otherwise the next open removes it.
      if (!this.#ended) await this.#run(io.unlink(temporary)).catch(() => {})
      throw error
    } finally {
      index.close()
    }
  }
}

/** Fills the empty `index` from the snapshot of the log, if there is one that can be proved to be of this log as it is; else warns and leaves the index empty. */
export async function loadSnapshot<V>(log: Log<V>, index: KeyIndex): Promise<DurableSnapshot | undefined> {
  const { runner, kernels } = log.environment
  const file = path.join(log.directory, SNAPSHOT_FILE)
  try {
    const found = await runner.run(readSnapshotHeader(file, kernels))
    if (found === undefined) return undefined
    const { header, bytes } = found
    const { end, proofFrom } = header
    if (Buffer.compare(header.logId, log.logId) !== 0) throw new UnusableSnapshot('it is of another log')
    if (header.epoch !== log.epoch) throw new UnusableSnapshot(`it is of epoch ${header.epoch}, the log of epoch ${log.epoch}`)
    if (end > log.committedOffset) throw new UnusableSnapshot(`it reaches to offset ${end}, the log to ${log.committedOffset}`)
    if (end < log.startOffset || (proofFrom < log.startOffset && proofFrom < end))
      throw new UnusableSnapshot(`it cannot be compared with the log, which begins at offset ${log.startOffset} now`)
    if (end <= log.compactedThrough && log.compactedThrough > 0)
      throw new UnusableSnapshot(`it is older than what was compacted through offset ${log.compactedThrough}`)
    if (header.lost !== lostRangesCrc(log.lost, end, kernels)) throw new UnusableSnapshot('the log was repaired since')
    if (header.proof !== (await proofOf(log, proofFrom, end))) throw new UnusableSnapshot(`the log has other records below offset ${end}`)
    await runner.run(readSnapshotEntries(file, index, log.startOffset, kernels))
    return { endOffset: end, entries: header.entries, bytes, epoch: header.epoch, proofFrom }
  } catch (error) {
    if (!(error instanceof UnusableSnapshot || error instanceof LogError)) throw error
    warn('SEALOG_SNAPSHOT', `${file} is ignored, the log is replayed: ${error.message}`)
    index.clear()
    return undefined
  }
}

function infoOf({ endOffset, entries, bytes }: DurableSnapshot): SnapshotInfo {
  return { endOffset, entries, bytes }
}

/** First record whose frame proves a snapshot that ends at `end`. */
export function firstProved<V>(log: Log<V>, end: number): number {
  const kept = log.lost.reduce((from, range) => (range.from < end ? Math.max(from, Math.min(range.to, end)) : from), log.startOffset)
  return Math.max(kept, end - PROOF_RECORDS, 0)
}

/** CRC over the CRCs of the frames of these records; frames are bound to the file that they lie in. */
async function proofOf<V>(log: Log<V>, from: number, end: number): Promise<number> {
  let proof = 0
  if (from >= end) return proof
  const word = new Uint8Array(4)
  for await (const batch of log.batches({ from, to: end, reuseBuffers: true })) {
    for (let i = 0; i < batch.length; i++) {
      new DataView(word.buffer).setUint32(0, batch.frameCrc(i), true)
      proof = log.environment.kernels.crc32c(word, proof)
    }
  }
  return proof
}
