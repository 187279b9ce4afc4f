import { createReadStream } from 'node:fs'
import type { Command } from 'commander'
import { argumentError, LogError } from '../errors.js'
import { wholeNumber } from './arguments.js'
import { EXIT } from './exit-codes.js'
import { Output, printJson } from './output.js'
import {
  type KeyOptions,
  keyMember,
  openOrCreateStore,
  openStore,
  parseKey,
  storeCommand,
  valueMember,
  type WriteOptions,
  withCodec,
  withDurability,
  withKeyType,
  withStore,
} from './store-access.js'
import { addList } from './store-list.js'
import { addStoreMaintenance } from './store-maintenance.js'

/** Larger values fit no store with default limits. */
const VALUE_LIMIT = 64 * 1024 * 1024

interface GetOptions extends KeyOptions {
  readonly at?: number
}

interface PutOptions extends KeyOptions, WriteOptions {
  readonly file?: string
}

export function addStore(program: Command): void {
  const store = program
    .command('store')
    .description('Keep values by key: put, get, delete, list them; import, snapshots, figures.\nA store is open in one process at a time.')
  withKeyType(storeCommand(store, 'get'))
    .argument('<key>')
    .option('--at <offset>', 'the value that the key had when the record at this offset was the last one', wholeNumber)
    .description('Print the value of a key: JSON text on a line, or the bytes as they are. Exit code 1: there is none.')
    .action(get)
  withCodec(withDurability(withKeyType(storeCommand(store, 'put'))))
    .argument('<key>')
    .argument('[value]', 'JSON text, in a store of bytes any text (default: --file, or standard input)')
    .option('--file <path>', 'read the value from here')
    .description('Give a key its value. The store is made when there is none.')
    .action(put)
  withDurability(withKeyType(storeCommand(store, 'delete')))
    .argument('<key>')
    .description('Delete a key; one that is not there is no error.')
    .action(remove)
  addList(store)
  addStoreMaintenance(store)
}

async function get(directory: string, text: string, options: GetOptions): Promise<void> {
  const key = parseKey(text, options.keyType)
  await withStore(openStore(directory, options), async (store) => {
    const value = await store.get(key, options.at === undefined ? undefined : { at: options.at })
    if (value === undefined) {
      process.exitCode = EXIT.failed
      if (options.json) process.stdout.write(`{${keyMember(key)},"found":false}\n`)
      else process.stderr.write('sealog: there is no such key\n')
      return
    }
    const output = new Output()
    if (options.json) output.write(`{${keyMember(key)},"found":true,${valueMember(value)}}\n`)
    else if (value instanceof Uint8Array) output.write(value)
    else output.write(`${JSON.stringify(value)}\n`)
    await output.flush()
  })
}

async function put(directory: string, text: string, value: string | undefined, options: PutOptions): Promise<void> {
  const key = parseKey(text, options.keyType)
  if (value !== undefined && options.file !== undefined) throw argumentError('--file', options.file, 'left out where a value is given')
  const bytes = value === undefined ? await readValue(options.file) : Buffer.from(value)
  await withStore(openOrCreateStore(directory, options), async (store) => {
    const offset = await store.put(key, bytes)
    if (options.json) process.stdout.write(`{${keyMember(key)},"offset":${offset}}\n`)
  })
}

async function remove(directory: string, text: string, options: KeyOptions & Pick<WriteOptions, 'durability'>): Promise<void> {
  const key = parseKey(text, options.keyType)
  await withStore(openStore(directory, options), async (store) => {
    const deleted = await store.delete(key)
    if (options.json) printJson({ deleted })
    else process.stdout.write(deleted ? 'deleted\n' : 'there was no such key\n')
  })
}

/** The file, or standard input, as it is. */
async function readValue(file: string | undefined): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of file === undefined ? process.stdin : createReadStream(file)) {
    chunks.push(chunk as Uint8Array)
    bytes += (chunk as Uint8Array).length
    if (bytes > VALUE_LIMIT) throw new LogError('ERR_SEALOG_RECORD_TOO_LARGE', `the value is larger than ${VALUE_LIMIT} bytes`, { field: 'value' })
  }
  return Buffer.concat(chunks)
}
