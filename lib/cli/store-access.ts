import { type Command, Option } from 'commander'
import { argumentError, isLogError } from '../errors.js'
import type { Durability } from '../index.js'
import { type Key, Store, type StoreOptions } from '../store/index.js'
import { type CommonOptions, withCommonOptions } from './arguments.js'

export type KeyType = 'string' | 'number' | 'hex'

export interface KeyOptions extends CommonOptions {
  readonly keyType: KeyType
}

export interface WriteOptions extends CommonOptions {
  readonly codec?: 'json' | 'bytes'
  readonly durability: Durability
}

export function storeCommand(store: Command, name: string): Command {
  return withCommonOptions(store.command(name)).argument('<dir>')
}

export function withKeyType(command: Command): Command {
  return command.addOption(
    new Option('--key-type <type>', 'how keys are given: as text, as integers, as bytes in hex').choices(['string', 'number', 'hex']).default('string'),
  )
}

export function withDurability(command: Command): Command {
  return command.addOption(new Option('--durability <mode>').choices(['fsync', 'flush', 'none']).default('fsync'))
}

export function withCodec(command: Command): Command {
  return command.addOption(new Option('--codec <name>', 'of a new store (default: json)').choices(['json', 'bytes']))
}

export function parseKey(text: string, type: KeyType): Key {
  if (type === 'string') return text
  if (type === 'hex') {
    if (!/^([0-9a-f]{2})+$/i.test(text)) throw argumentError('key', text, 'hex, two digits for each byte')
    return new Uint8Array(Buffer.from(text, 'hex'))
  }
  if (!/^-?\d+$/.test(text)) throw argumentError('key', text, 'an integer')
  const number = Number(text)
  return Number.isSafeInteger(number) ? number : BigInt(text)
}

/** The key as a member of a JSON object, so that nothing of it is lost: integers that JSON readers would round are text, bytes hex. */
export function keyMember(key: Key): string {
  if (key instanceof Uint8Array) return `"keyHex":"${Buffer.from(key).toString('hex')}"`
  return typeof key === 'bigint' ? `"keyInteger":"${key}"` : `"key":${JSON.stringify(key)}`
}

/** The value as a member of a JSON object: JSON, or base64 where the store holds bytes. */
export function valueMember(value: unknown): string {
  return value instanceof Uint8Array ? `"base64":"${Buffer.from(value).toString('base64')}"` : `"value":${JSON.stringify(value)}`
}

/** A store that exists. */
export function openStore(directory: string, { backend, durability }: CommonOptions & { readonly durability?: Durability }): Promise<Store<unknown>> {
  return Store.open<unknown>(directory, { backend, durability, create: false })
}

/** A store that is made when there is none. An existing one keeps its codec unless another is asked for, which is refused. */
export async function openOrCreateStore(directory: string, options: WriteOptions): Promise<Store<unknown>> {
  const { backend, durability, codec } = options
  if (codec === undefined) {
    try {
      return await openStore(directory, options)
    } catch (error) {
      if (!isLogError(error) || error.code !== 'ERR_SEALOG_NOT_FOUND') throw error
    }
  }
  const created: StoreOptions = { backend, durability, codec: codec ?? 'json' }
  return Store.open<unknown>(directory, created)
}

/** Runs `use` with the store that is being opened, and closes it whatever happens. */
export async function withStore(opening: Promise<Store<unknown>>, use: (store: Store<unknown>) => Promise<void>): Promise<void> {
  const store = await opening
  try {
    await use(store)
  } finally {
    await store.close()
  }
}
