import { randomFillSync } from 'node:crypto'
import type { TaskQueue } from '../kernels/task.js'
import type { LogSettings, SessionOptions } from '../options.js'
import type { SegmentSet } from '../segment/segment-set.js'
import type { Environment } from './environment.js'
import type { Manifest } from './manifest.js'

/** What the parts of one open log share. */
export interface LogParts {
  readonly directory: string
  readonly environment: Environment
  readonly manifest: Manifest
  readonly segments: SegmentSet
  readonly settings: LogSettings
  readonly session: SessionOptions
  /** crc32c of the log id: seeds the slots of COMMITTED. */
  readonly logSeed: number
  /** Rolls, cuts and closings, one after the other. */
  readonly tasks: TaskQueue
  /** Random bytes and clock: tests make files reproducible with them. */
  readonly sources: Sources
}

export interface Sources {
  randomBytes(length: number): Uint8Array
  now(): number
}

export const SYSTEM_SOURCES: Sources = { randomBytes: (length) => randomFillSync(new Uint8Array(length)), now: () => Date.now() }
