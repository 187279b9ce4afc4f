import type { Command } from 'commander'
import { Log, type LogReader, type RecordBatch } from '../index.js'
import { onOneLine } from '../log/codec.js'
import { type CommonOptions, wholeNumber, withCommonOptions } from './arguments.js'
import { EXIT } from './exit-codes.js'
import { Output, untilInterrupted } from './output.js'

interface FormOptions extends CommonOptions {
  readonly raw?: boolean
  readonly binary?: boolean
}

interface CatOptions extends FormOptions {
  readonly from?: number
  readonly to?: number
  readonly limit?: number
}

interface TailOptions extends FormOptions {
  readonly follow?: boolean
  readonly lines: number
}

export function addRead(program: Command): void {
  withFormOptions(program.command('cat'))
    .description('Print records, one JSON object per line: offset, timestamp, key, value (base64 where the log holds bytes).')
    .option('--from <offset>', 'first offset (default: the first one kept)', wholeNumber)
    .option('--to <offset>', 'end, exclusive (default: the end)', wholeNumber)
    .option('--limit <count>', 'most records', wholeNumber)
    .action(cat)
  withFormOptions(program.command('tail'))
    .description('Print the last records, in the form of cat.')
    .option('-n, --lines <count>', 'how many', wholeNumber, 10)
    .option('-f, --follow', 'go on with what is appended, until interrupted')
    .action(tail)
}

const withFormOptions = (command: Command): Command =>
  withCommonOptions(command)
    .argument('<dir>')
    .option('--raw', 'values only, one per line')
    .option('--binary', 'values only, each behind its u32 little-endian length; what append --binary reads')

async function cat(directory: string, options: CatOptions): Promise<void> {
  const reader = await Log.openReader(directory, { backend: options.backend })
  try {
    await print(reader, options, reader.batches({ from: options.from, to: options.to }), options.limit)
  } finally {
    await reader.close()
  }
}

async function tail(directory: string, options: TailOptions): Promise<void> {
  const reader = await Log.openReader(directory, { backend: options.backend })
  const interruption = untilInterrupted()
  const { signal } = interruption
  try {
    const from = Math.max(reader.startOffset, reader.committedOffset - options.lines)
    await print(reader, options, reader.batches({ from, follow: options.follow, signal }))
  } catch (error) {
    if (!signal.aborted || error !== signal.reason) throw error
    process.exitCode = EXIT.interrupted
  } finally {
    interruption.dispose()
    await reader.close()
  }
}

/** Prints what the batches hold; text of a batch never waits for the next batch. */
async function print(reader: LogReader, options: FormOptions, batches: AsyncIterable<RecordBatch<unknown>>, limit = Number.POSITIVE_INFINITY): Promise<void> {
  const output = new Output()
  const json = reader.codec === 'json'
  const write = options.binary ? writeBinary : options.raw ? (json ? writeRawJson : writeRaw) : jsonWriter(reader.codec)
  let left = limit
  if (left === 0) return
  for await (const batch of batches) {
    for (let i = 0; i < batch.length && left > 0; i++, left--) if (write(output, batch, i)) await output.flush()
    await output.flush()
    if (left === 0) break
  }
}

/** Writes record `i` of a batch; true when the output should be flushed. */
export type Writer = (output: Output, batch: RecordBatch<unknown>, i: number) => boolean

/** The form of `cat`: one JSON object per line. */
export const jsonWriter = (codec: 'json' | 'bytes'): Writer => (codec === 'json' ? writeJson : writeBase64)

const writeRaw: Writer = (output, batch, i) => {
  output.write(batch.bytes(i))
  return output.write('\n')
}

const writeRawJson: Writer = (output, batch, i) => {
  if (!batch.tombstone(i)) output.write(onOneLine(batch.bytes(i)))
  return output.write('\n')
}

const writeBinary: Writer = (output, batch, i) => {
  const bytes = batch.bytes(i)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(bytes.length)
  output.write(length)
  return output.write(bytes)
}

/** The JSON text itself, not a rendering of what it parses to: numbers keep all their digits, objects all their members. */
const writeJson: Writer = (output, batch, i) => {
  if (batch.tombstone(i)) return output.write(`${head(batch, i)},"tombstone":true}\n`)
  output.write(`${head(batch, i)},"value":`)
  output.write(onOneLine(batch.bytes(i)))
  return output.write('}\n')
}

const writeBase64: Writer = (output, batch, i) => {
  const value = batch.tombstone(i) ? '"tombstone":true' : `"base64":"${Buffer.from(batch.bytes(i)).toString('base64')}"`
  return output.write(`${head(batch, i)},${value}}\n`)
}

function head(batch: RecordBatch<unknown>, i: number): string {
  const key = batch.key(i)
  return `{"offset":${batch.offset(i)},"timestamp":${batch.timestamp(i)}${key === undefined ? '' : `,${keyMember(key)}`}`
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function keyMember(key: Uint8Array): string {
  try {
    return `"key":${JSON.stringify(utf8.decode(key))}`
  } catch {
    return `"keyBase64":"${Buffer.from(key).toString('base64')}"`
  }
}
