import path from 'node:path'
import { segmentFile } from '../../lib/format/names.js'
import { Log, LogError, type LogErrorCode, type LogOptions, type LogView, type Record } from '../../lib/index.js'
import type { Sources } from '../../lib/log/parts.js'

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
export const text = (value: Uint8Array): string => Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString()

/** Runs `use` with an open log and closes it whatever happens. */
export async function withLog<R>(directory: string, options: LogOptions, use: (log: Log) => Promise<R>): Promise<R> {
  const log = await Log.open(directory, options)
  try {
    return await use(log)
  } finally {
    await log.close()
  }
}

export async function readAll<T>(view: LogView<T>, options: Parameters<LogView<T>['read']>[0] = {}): Promise<Record<T>[]> {
  const records: Record<T>[] = []
  for await (const record of view.read(options)) records.push(record)
  return records
}

export async function offsets<T>(view: LogView<T>, options: Parameters<LogView<T>['read']>[0] = {}): Promise<number[]> {
  return (await readAll(view, options)).map((record) => record.offset)
}

/** The LogError that `run` throws or rejects with; anything else fails the test. */
export async function errorOf(run: () => unknown): Promise<LogError> {
  let result: unknown
  try {
    result = await run()
  } catch (error) {
    if (error instanceof LogError) return error
    throw error
  }
  throw new Error(`expected a LogError, got ${String(result)}`)
}

export async function codeOf(run: () => unknown): Promise<LogErrorCode> {
  return (await errorOf(run)).code
}

export function segmentPath(directory: string, base: number): string {
  return path.join(directory, 'segments', segmentFile(base))
}

/** Reproducible salts, ids and clock: `time` counts up by one per reading. */
export function fixedSources(seed = 1, time = 1_700_000_000_000): Sources {
  let state = seed
  let now = time
  return {
    randomBytes: (length) => Uint8Array.from({ length }, () => (state = (state * 1103515245 + 12345) % 2147483648) & 255),
    now: () => now++,
  }
}

export function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i)
}

/** Resolves when `condition` holds; it is looked at after every turn of the event loop. */
export async function until(condition: () => boolean, what: string, limitMs = 20_000): Promise<void> {
  const deadline = Date.now() + limitMs
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not reached within ${limitMs} ms: ${what}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}
