import { fstatSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { isLogError, LogError } from '../errors.js'
import { Log } from '../index.js'
import { type CommonOptions, withCommonOptions } from './arguments.js'
import { EXIT } from './exit-codes.js'
import { type InputRecord, inputError, readLengthPrefixed, readLines } from './input.js'
import { jsonPointer } from './json-pointer.js'
import { formatBytes, formatCount, printJson, untilInterrupted } from './output.js'
import { showProgress } from './progress.js'

/** No record is larger than a segment, and the segments made here have the default size. */
const INPUT_RECORD_LIMIT = 64 * 1024 * 1024

interface AppendOptions extends CommonOptions {
  readonly binary?: boolean
  readonly key?: string
  readonly codec?: 'json' | 'bytes'
  readonly durability: 'fsync' | 'flush' | 'none'
}

export function addAppend(program: Command): void {
  withCommonOptions(program.command('append'))
    .argument('<dir>', 'directory of the log; created when there is none')
    .description(
      'Append records from standard input: one JSON text per line, or with --binary length-prefixed bytes.\n' +
        'Ends when everything is as durable as --durability says. At a bad record: what came before it is appended, nothing of it or after it.',
    )
    .option('--binary', 'u32 little-endian length, bytes, length, bytes …')
    .option('--key <json-pointer>', 'take the key of a record from here, such as /id')
    .addOption(new Option('--codec <name>', 'of a new log (default: json, with --binary bytes)').choices(['json', 'bytes']))
    .addOption(new Option('--durability <mode>').choices(['fsync', 'flush', 'none']).default('fsync'))
    .action(append)
}

async function append(directory: string, options: AppendOptions): Promise<void> {
  const keyOf = options.key === undefined ? undefined : keyTaker(options.key)
  const log = await openForAppend(directory, options)
  const interruption = untilInterrupted()
  const before = log.endOffset
  const what = options.binary ? 'record' : 'line'
  const read = options.binary ? readLengthPrefixed : readLines
  const progress = showProgress('append', 'records', inputBytes())
  const started = performance.now()
  let bytes = 0
  let failure: unknown
  try {
    for await (const records of read(stdinUntil(interruption.signal), INPUT_RECORD_LIMIT)) {
      for (const record of records) {
        enqueue(log, what, record, keyOf)
        bytes += record.bytes.length
        if (log.writableNeedDrain) await log.drain()
      }
      progress.update(bytes, log.endOffset - before)
    }
  } catch (error) {
    failure = error
  }
  interruption.dispose()
  try {
    // also after a bad line: what was accepted before it stays
    await log.flush()
    progress.update(bytes, log.endOffset - before)
  } catch (error) {
    failure ??= error
  }
  progress.stop()
  const seconds = (performance.now() - started) / 1000
  const endOffset = log.committedOffset
  const result = { appended: endOffset - before, firstOffset: before, endOffset, bytes, seconds, backend: log.backend }
  await log.close().catch((error: unknown) => {
    failure ??= error
  })
  if (options.json) printJson(result)
  else {
    const range = result.appended > 0 ? ` (offsets ${formatCount(before)} to ${formatCount(endOffset - 1)})` : ''
    const rate = seconds > 0 ? `, ${formatCount(result.appended / seconds)} records/s` : ''
    process.stdout.write(`${formatCount(result.appended)} records${range}, ${formatBytes(bytes)} in ${seconds.toFixed(2)} s${rate}\n`)
  }
  if (failure !== undefined) throw failure
  if (interruption.signal.aborted) process.exitCode = EXIT.interrupted
}

/** An existing log keeps its codec unless another is asked for, which is refused; a new one gets what suits the input. */
async function openForAppend(directory: string, { durability, backend, codec, binary }: AppendOptions): Promise<Log<unknown>> {
  if (codec === undefined) {
    try {
      return await Log.open<unknown>(directory, { durability, backend, create: false })
    } catch (error) {
      if (!isLogError(error) || error.code !== 'ERR_SEALOG_NOT_FOUND') throw error
    }
  }
  return Log.open<unknown>(directory, { durability, backend, codec: codec ?? (binary ? 'bytes' : 'json') })
}

function enqueue(log: Log<unknown>, what: string, { number, bytes }: InputRecord, keyOf?: (bytes: Uint8Array) => string): void {
  try {
    log.enqueue(bytes, keyOf && { key: keyOf(bytes) })
  } catch (error) {
    throw isLogError(error) && error.code !== 'ERR_SEALOG_VALUE' && error.code !== 'ERR_SEALOG_RECORD_TOO_LARGE'
      ? error
      : inputError(what, number, error instanceof Error ? error.message : String(error), error)
  }
}

function keyTaker(pointer: string): (bytes: Uint8Array) => string {
  const find = jsonPointer(pointer)
  const decoder = new TextDecoder('utf-8', { fatal: true })
  return (bytes) => {
    const key = find(JSON.parse(decoder.decode(bytes)))
    if (typeof key === 'string') return key
    if (typeof key === 'number') return String(key)
    throw new LogError('ERR_SEALOG_VALUE', `no string or number at ${pointer}`, { field: 'key', value: key })
  }
}

/** Standard input, ending early but in order when the signal comes. */
async function* stdinUntil(signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const { stdin } = process
  const stop = () => stdin.destroy()
  signal.addEventListener('abort', stop)
  try {
    for await (const chunk of stdin) yield chunk as Uint8Array
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** Size of standard input where it is a file: what the progress bar fills up to. */
function inputBytes(): number | undefined {
  const stat = fstatSync(0)
  return stat.isFile() && stat.size > 0 ? stat.size : undefined
}
