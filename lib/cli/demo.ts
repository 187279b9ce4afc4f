import { existsSync, rmSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { isLogError, LogError } from '../errors.js'
import { Log, type RecordBatch } from '../index.js'
import { type CommonOptions, withCommonOptions } from './arguments.js'
import { describeChunks, printChunks } from './chunks.js'
import { followInChild, runFollower } from './demo-follower.js'
import { serveDemo } from './demo-serve.js'
import { readTransactions } from './feed.js'
import { formatBytes, formatCount } from './output.js'
import { showProgress } from './progress.js'

const BUNDLED = fileURLToPath(new URL('../../demo/changes.ndjson.gz', import.meta.url))
/** Transactions that wait for their fsync at a time: enough for large groups, bounded for memory. */
const IN_FLIGHT = 1024
const LIVE_APPENDS = 5

interface DemoOptions extends CommonOptions {
  readonly once?: boolean
}

interface Loaded {
  readonly records: number
  readonly transactions: number
}

const say = (text = '') => process.stdout.write(`${text}\n`)

/** `npm start`: everything a log is for, on real data, within seconds. */
export function addDemo(program: Command): void {
  withCommonOptions(program.command('demo', { hidden: true }))
    .argument('[file]', 'NDJSON, may be .gz; default: the bundled change feed')
    .option('--once', 'end instead of serving the log; without a terminal it always ends')
    .description('Load a change feed into ./data/demo, verify it, follow live appends from a second process, seal it and serve it.')
    .action(demo)
  program.command('demo-follower', { hidden: true }).argument('<dir>').argument('<backend>').action(runFollower)
}

async function demo(file: string | undefined, { once, backend }: DemoOptions): Promise<void> {
  // npm runs scripts in the package's directory and says in INIT_CWD where the user stands
  const input = file === undefined ? BUNDLED : resolve(process.env.INIT_CWD ?? '.', file)
  if (!existsSync(input)) throw new LogError('ERR_SEALOG_ARGUMENT', `there is no file ${input}`, { field: 'file', value: input })
  const directory = resolve('data', 'demo')
  await removeEarlierRun(directory, backend)

  let log = await Log.open<unknown>(directory, { codec: 'json', durability: 'fsync', backend })
  say(`Loading ${relative('.', input)} in fsync mode, one batch per transaction (${log.backend} backend) …`)
  const loaded = await load(log, input)
  await log.close()

  const started = performance.now()
  log = await Log.open<unknown>(directory, { backend })
  say(`Closed and reopened in ${(performance.now() - started).toFixed(1)} ms.`)
  const shown = relative('.', directory)
  try {
    await verifyAgainst(log, input, loaded)
    await followLive(log, directory, backend)
    await seal(log)
    say(`The data is in ./${shown} (${formatCount(log.endOffset)} records). Look at it:`)
    for (const command of ['stat', 'tail -n 3', 'verify', 'chunks']) say(`  npx sealog ${command} ${shown}`)
    if (once || !process.stdin.isTTY || !process.stdout.isTTY) say(`Serve it:\n  npx sealog serve ${shown}`)
    else await serveDemo(log)
  } finally {
    await log.close()
  }
}

async function removeEarlierRun(directory: string, backend: CommonOptions['backend']): Promise<void> {
  if (!existsSync(directory)) return
  try {
    // taking the writer's place makes sure that nobody else is using what is removed
    const earlier = await Log.open(directory, { create: false, backend })
    say(`./data/demo holds ${formatCount(earlier.endOffset)} records of an earlier run: loading it afresh.`)
    await earlier.close()
  } catch (error) {
    if (!isLogError(error) || error.code === 'ERR_SEALOG_LOCKED') throw error
    say(`./data/demo is left over from an earlier run (${error.message}): loading it afresh.`)
  }
  rmSync(directory, { recursive: true })
}

async function load(log: Log<unknown>, input: string): Promise<Loaded> {
  const progress = showProgress('load', 'records', undefined, true)
  const started = performance.now()
  const inFlight: Array<Promise<unknown>> = []
  let records = 0
  let transactions = 0
  let bytes = 0
  for await (const transaction of readTransactions(input)) {
    const appended = log.appendRecords(transaction)
    appended.catch(() => {}) // awaited below in order; a later one may fail before its turn
    inFlight.push(appended)
    records += transaction.length
    transactions++
    for (const { value } of transaction) bytes += value.length
    if (inFlight.length >= IN_FLIGHT) await inFlight.shift()
    progress.update(records, records)
  }
  await Promise.all(inFlight)
  const seconds = (performance.now() - started) / 1000
  progress.stop()
  const { groups, syncs } = log.stats()
  say(`${formatCount(records)} records in ${formatCount(transactions)} transactions, ${formatBytes(bytes)} of JSON, durable after ${seconds.toFixed(2)} s:`)
  say(`  ${formatCount(records / seconds)} records/s, ${formatBytes(bytes / seconds)}/s, ${formatCount(groups)} groups, ${formatCount(syncs)} syncs`)
  return { records, transactions }
}

/** Reads the input a second time beside the log: every key and every byte must be equal, every transaction one batch. */
async function verifyAgainst(log: Log<unknown>, input: string, { records, transactions }: Loaded): Promise<void> {
  const progress = showProgress('verify', 'records', records, true)
  const stored = log.batches()
  let batch: RecordBatch<unknown> | undefined
  let at = 0
  let offset = 0
  for await (const transaction of readTransactions(input)) {
    const first = offset
    for (const { key, value } of transaction) {
      if (batch === undefined || at === batch.length) {
        batch = (await stored.next()).value as RecordBatch<unknown> | undefined
        at = 0
      }
      const equal =
        batch !== undefined &&
        batch.offset(at) === offset &&
        batch.batch(at) === first &&
        Buffer.compare(batch.bytes(at), value) === 0 &&
        sameKey(batch.key(at), key)
      if (!equal) throw new LogError('ERR_SEALOG_CORRUPT', `record ${offset} differs from the input`, { offset })
      at++
      offset++
    }
    progress.update(offset, offset)
  }
  progress.stop()
  if (offset !== log.endOffset) throw new LogError('ERR_SEALOG_CORRUPT', `the log ends at ${log.endOffset}, the input at ${offset}`)
  say(`verified ${formatCount(records)} records in ${formatCount(transactions)} transactions against the input`)
}

const sameKey = (stored: Uint8Array | undefined, key: string | undefined) =>
  key === undefined ? stored === undefined : stored !== undefined && Buffer.compare(stored, Buffer.from(key)) === 0

async function followLive(log: Log<unknown>, directory: string, backend: CommonOptions['backend']): Promise<void> {
  const follower = await followInChild(directory, backend)
  try {
    say(`Process ${follower.pid} follows the log while this one (${process.pid}) appends:`)
    for (let number = 1; number <= LIVE_APPENDS; number++) {
      const offset = await log.append({ live: number, at: new Date().toISOString() }, { key: 'live' })
      await follower.sees(offset)
      await sleep(100)
    }
  } finally {
    await follower.stop()
  }
}

async function seal(log: Log<unknown>): Promise<void> {
  const started = performance.now()
  const chunks = await describeChunks(log, await log.chunks.seal())
  say(`Sealed in ${(performance.now() - started).toFixed(0)} ms; such files are served by sendfile(2):`)
  printChunks(chunks, 'nothing')
}
