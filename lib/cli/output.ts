import { once } from 'node:events'
import type { Writable } from 'node:stream'

const BUFFER_BYTES = 64 * 1024

/** Standard output, or another stream, for many small pieces: gathers them, and waits when the other side reads slowly. */
export class Output {
  readonly #stream: Writable
  #pieces: Array<string | Uint8Array> = []
  #bytes = 0

  constructor(stream: Writable = process.stdout) {
    this.#stream = stream
  }

  /** True when `flush` is due. */
  write(piece: string | Uint8Array): boolean {
    this.#pieces.push(piece)
    this.#bytes += piece.length
    return this.#bytes >= BUFFER_BYTES
  }

  async flush(): Promise<void> {
    if (this.#pieces.length === 0) return
    const bytes = Buffer.concat(this.#pieces.map((piece) => (typeof piece === 'string' ? Buffer.from(piece) : piece)))
    this.#pieces = []
    this.#bytes = 0
    if (!this.#stream.write(bytes)) await once(this.#stream, 'drain')
  }
}

/** `sealog cat | head`: the reader has seen enough, which is no failure. */
export function endQuietlyOnClosedPipe(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(0)
      throw error
    })
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}

/** Aligned `name  value` lines. */
export function printTable(rows: ReadonlyArray<readonly [string, string]>): void {
  const width = Math.max(...rows.map(([name]) => name.length))
  for (const [name, value] of rows) process.stdout.write(`${name.padEnd(width)}  ${value}\n`)
}

/** A table with a heading; the last column is as wide as it likes. */
export function printColumns(heading: readonly string[], rows: ReadonlyArray<readonly string[]>): void {
  const widths = heading.map((name, column) => Math.max(name.length, ...rows.map((row) => row[column].length)))
  for (const row of [heading, ...rows])
    process.stdout.write(
      `${row
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd()}\n`,
    )
}

export const formatCount = (count: number): string => Math.round(count).toLocaleString('en-US')

export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`
  const power = Math.min(Math.floor(Math.log10(bytes) / 3), 4)
  return `${(bytes / 1000 ** power).toFixed(1)} ${['B', 'kB', 'MB', 'GB', 'TB'][power]}`
}

/** Aborted by Ctrl-C or a polite kill; `dispose` gives both back their usual meaning. */
export function untilInterrupted(): { readonly signal: AbortSignal; readonly happened: Promise<void>; dispose(): void } {
  const controller = new AbortController()
  const { signal } = controller
  const happened = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  const abort = () => controller.abort()
  process.once('SIGINT', abort)
  process.once('SIGTERM', abort)
  return {
    signal,
    happened,
    dispose() {
      process.off('SIGINT', abort)
      process.off('SIGTERM', abort)
    },
  }
}
