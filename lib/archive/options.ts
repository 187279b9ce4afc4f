import { boolean, checkNames, integer, oneOf } from '../options.js'

export interface ArchiveOptions {
  /** Level of zstd, 1 to 22. Default 3. */
  level?: number
  /** Segments that are archived at the same time. Default 3. */
  parallelism?: number
  /** Segment bytes that are compressed per second at most, over all of them. Default: as fast as it goes. */
  bytesPerSecond?: number
  /** Segment bytes that are compressed together: what a random read has to unpack. Default 256 KiB. */
  blockBytes?: number
  /** Closed segments that may wait to be archived before `queuePolicy` applies. Default 100. */
  queueSize?: number
  /** `warn` (default): a process warning, and appends go on. `block`: `writableNeedDrain` is true and `drain()` waits until the queue is short enough. */
  queuePolicy?: 'warn' | 'block'
  /** Archive segments as they close. Default true; with false `run()` does it. */
  automatic?: boolean
  /** Train a dictionary from the records of the log when there is none yet, and again every 100 segments; used where it gains. Default false. */
  dictionary?: boolean
}

export type ArchiveSettings = Readonly<Required<Omit<ArchiveOptions, 'bytesPerSecond'>>> & { readonly bytesPerSecond: number | undefined }

const NAMES: ReadonlySet<string> = new Set<keyof ArchiveOptions>([
  'level',
  'parallelism',
  'bytesPerSecond',
  'blockBytes',
  'queueSize',
  'queuePolicy',
  'automatic',
  'dictionary',
])

/** Defaults filled in. Throws ERR_SEALOG_OPTION. */
export function resolveArchive(options: ArchiveOptions): ArchiveSettings {
  checkNames(options, NAMES, 'openArchive')
  return {
    level: integer(options.level, 'level', 1, 22, 3),
    parallelism: integer(options.parallelism, 'parallelism', 1, 64, 3),
    bytesPerSecond: options.bytesPerSecond === undefined ? undefined : integer(options.bytesPerSecond, 'bytesPerSecond', 1, 2 ** 50, 1),
    blockBytes: integer(options.blockBytes, 'blockBytes', 4096, 16 * 1024 * 1024, 256 * 1024),
    queueSize: integer(options.queueSize, 'queueSize', 1, 2 ** 31, 100),
    queuePolicy: oneOf(options.queuePolicy, 'queuePolicy', ['warn', 'block'], 'warn'),
    automatic: boolean(options.automatic, 'automatic', true),
    dictionary: boolean(options.dictionary, 'dictionary', false),
  }
}
