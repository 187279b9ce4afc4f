import { LRUCache } from 'lru-cache'
import type { Environment } from '../log/environment.js'
import { readBody } from './copied-body.js'
import type { FileBody } from './transfer.js'

/** Bytes of small bodies that an environment keeps: a read on another thread costs more than sending what is here. */
const CACHE_BYTES = 16 * 1024 * 1024
/** What an entry takes beside its bytes: byte ranges may be tiny and many. */
const ENTRY_BYTES = 512

const caches = new WeakMap<Environment, LRUCache<string, Buffer>>()

/** A small body out of memory; undefined: it was not sent lately. Nobody may write to the result. */
export function smallBodyInMemory(body: FileBody, environment: Environment): Buffer | undefined {
  return body.key === undefined ? undefined : caches.get(environment)?.get(keyOf(body))
}

/** `readBody` for a body whose file has a `key`, out of memory where it was sent lately. Nobody may write to the result. */
export async function readSmallBody(body: FileBody, environment: Environment, file: string): Promise<Buffer> {
  if (body.key === undefined || body.length === 0) return readBody(body, environment, file)
  let cache = caches.get(environment)
  if (cache === undefined) {
    cache = new LRUCache({ maxSize: CACHE_BYTES, sizeCalculation: (bytes) => bytes.length + ENTRY_BYTES })
    caches.set(environment, cache)
  }
  const key = keyOf(body)
  let bytes = cache.get(key)
  if (bytes === undefined) {
    bytes = await readBody(body, environment, file)
    cache.set(key, bytes)
  }
  return bytes
}

function keyOf({ position, length, prefix, key }: FileBody): string {
  return `${position}:${length}:${prefix}:${key}`
}
