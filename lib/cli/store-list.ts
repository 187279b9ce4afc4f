import type { Command } from 'commander'
import type { RangeOptions, Store } from '../store/index.js'
import { wholeNumber } from './arguments.js'
import { Output } from './output.js'
import { type KeyOptions, keyMember, openStore, parseKey, storeCommand, valueMember, withKeyType, withStore } from './store-access.js'

interface ListOptions extends KeyOptions {
  readonly prefix?: string
  readonly gte?: string
  readonly gt?: string
  readonly lte?: string
  readonly lt?: string
  readonly limit?: number
  readonly reverse?: boolean
  readonly values?: boolean
}

const BOUNDS = ['prefix', 'gte', 'gt', 'lte', 'lt'] as const

export function addList(store: Command): void {
  withKeyType(storeCommand(store, 'list'))
    .description(
      'Print keys in order, one JSON object per line: {"key":…}, with --values also "value", or "base64" in a store of bytes.\nKeys of bytes are "keyHex"; integers beyond 2^53 are "keyInteger", as text.',
    )
    .option('--prefix <key>', 'only keys that begin with this')
    .option('--gte <key>', 'from this key on')
    .option('--gt <key>', 'behind this key')
    .option('--lte <key>', 'up to this key')
    .option('--lt <key>', 'before this key')
    .option('--limit <count>', 'most keys', wholeNumber)
    .option('--reverse', 'from the last key to the first')
    .option('--values', 'with their values')
    .action(list)
}

async function list(directory: string, options: ListOptions): Promise<void> {
  const range = rangeOf(options)
  await withStore(openStore(directory, options), async (store) => {
    const output = new Output()
    for await (const line of options.values ? entryLines(store, range) : keyLines(store, range)) if (output.write(line)) await output.flush()
    await output.flush()
  })
}

function rangeOf(options: ListOptions): RangeOptions {
  const { limit, reverse, keyType } = options
  const bounds = BOUNDS.flatMap((name) => {
    const text = options[name]
    return text === undefined ? [] : [[name, parseKey(text, keyType)]]
  })
  return { ...Object.fromEntries(bounds), ...(limit === undefined ? {} : { limit }), ...(reverse === undefined ? {} : { reverse }) }
}

async function* keyLines(store: Store<unknown>, range: RangeOptions): AsyncGenerator<string> {
  for await (const key of store.keys(range)) yield `{${keyMember(key)}}\n`
}

async function* entryLines(store: Store<unknown>, range: RangeOptions): AsyncGenerator<string> {
  for await (const [key, value] of store.entries(range)) yield `{${keyMember(key)},${valueMember(value)}}\n`
}
