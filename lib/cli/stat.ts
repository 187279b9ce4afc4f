import { stat as fileStat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Command } from 'commander'
import { Log, type LogReader } from '../index.js'
import { type CommonOptions, withCommonOptions } from './arguments.js'
import { formatBytes, formatCount, printJson, printTable } from './output.js'

export function addStat(program: Command): void {
  withCommonOptions(program.command('stat')).argument('<dir>').description('Tell what is in the log, without reading it all.').action(stat)
}

interface Facts {
  readonly startOffset: number
  /** Exclusive, like all ends. */
  readonly endOffset: number
  readonly durableOffset: number
  readonly epoch: number
  readonly codec: string
  readonly segments: number
  /** Some segment was rewritten: there may be fewer records than offsets. */
  readonly compacted: boolean
  /** Of the directory with all it holds. */
  readonly bytes: number
  /** A writer has the log open. */
  readonly writer: boolean
  readonly firstTimestamp?: number
  readonly lastTimestamp?: number
  /** Ranges that a repair had to give up. */
  readonly lost: ReadonlyArray<{ readonly from: number; readonly to: number }>
}

async function stat(directory: string, { json, backend }: CommonOptions): Promise<void> {
  const facts = await gather(directory, backend)
  if (json) {
    printJson(facts)
    return
  }
  const { startOffset, endOffset, durableOffset } = facts
  const time = (timestamp: number | undefined) => (timestamp === undefined ? '–' : new Date(timestamp).toISOString())
  printTable([
    ['offsets', endOffset === startOffset ? `none; the next is ${endOffset}` : `${startOffset} to ${endOffset - 1}; the next is ${endOffset}`],
    ['count', `${facts.compacted ? 'at most ' : ''}${formatCount(endOffset - startOffset)}`],
    ['durable', durableOffset === endOffset ? 'all' : `below ${durableOffset}`],
    ['first', time(facts.firstTimestamp)],
    ['last', time(facts.lastTimestamp)],
    ['codec', facts.codec],
    ['size', `${formatBytes(facts.bytes)} in ${formatCount(facts.segments)} ${facts.segments === 1 ? 'segment' : 'segments'}`],
    ['epoch', String(facts.epoch)],
    ['writer', facts.writer ? 'open' : 'none'],
    ...facts.lost.map(({ from, to }) => ['lost', `${from} to ${to - 1}`] as const),
  ])
}

async function gather(directory: string, backend: CommonOptions['backend']): Promise<Facts> {
  const reader = await Log.openReader(directory, { backend })
  try {
    const { startOffset, endOffset } = reader
    const timestampAt = async (offset: number) => (endOffset > startOffset ? (await reader.get(offset))?.timestamp : undefined)
    return {
      startOffset,
      endOffset,
      durableOffset: reader.durableOffset,
      epoch: reader.epoch,
      codec: reader.codec,
      segments: reader.segments.all.length,
      compacted: reader.segments.all.some(({ generation }) => generation > 0),
      bytes: await bytesBelow(directory),
      writer: reader.writerAlive,
      firstTimestamp: await firstTimestamp(reader),
      lastTimestamp: await timestampAt(endOffset - 1),
      lost: reader.lost.map(({ from, to }) => ({ from, to })),
    }
  } finally {
    await reader.close()
  }
}

/** Of the first record that is there. */
async function firstTimestamp(reader: LogReader<unknown>): Promise<number | undefined> {
  for await (const { timestamp } of reader.read({ limit: 1 })) return timestamp
  return undefined
}

async function bytesBelow(directory: string): Promise<number> {
  let bytes = 0
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    try {
      bytes += (await fileStat(join(entry.parentPath ?? entry.path, entry.name))).size
    } catch (error) {
      // a live writer may just have renamed it
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
  return bytes
}
