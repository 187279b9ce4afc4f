import { argumentError } from '../errors.js'
import { INDEX_FROM_EXCLUSIVE, INDEX_REVERSE, INDEX_UNTIL_INCLUSIVE, KEY_BYTES } from '../kernels/kernels.js'
import { type Key, writeBound } from './keys.js'

/** Which keys, in which order. Bounds may be keys of any type: integers come before strings, strings before bytes. */
export interface RangeOptions {
  /** Keys from here on. */
  gte?: Key
  /** Keys behind this one. Not together with `gte`. */
  gt?: Key
  /** Keys up to this one. */
  lte?: Key
  /** Keys before this one. Not together with `lte`. */
  lt?: Key
  /** Strings, or byte keys, that begin with it; `''`: all strings. The other bounds narrow it further. */
  prefix?: string | Uint8Array
  /** From the last key to the first. Default false. */
  reverse?: boolean
  /** Most keys. Default Infinity. */
  limit?: number
}

/** One end of a range in encoded bytes. */
interface Bound {
  readonly bytes: Uint8Array
  readonly inclusive: boolean
}

/** A range as `Kernels.indexScan` takes it: `from` is where the scan begins, be it in reverse. */
export interface EncodedRange {
  readonly from: Uint8Array | undefined
  readonly until: Uint8Array | undefined
  readonly flags: number
  readonly limit: number
}

const NAMES: ReadonlySet<string> = new Set(['gte', 'gt', 'lte', 'lt', 'prefix', 'reverse', 'limit'])

/** Throws ERR_SEALOG_ARGUMENT for unknown names, wrong types and bounds that exclude each other. */
export function encodeRange(options: RangeOptions): EncodedRange {
  if (typeof options !== 'object' || options === null) throw argumentError('range', options, 'an object')
  for (const name in options)
    if (!NAMES.has(name)) throw argumentError(`range.${name}`, options[name as keyof RangeOptions], 'left out: there is no such option')
  const { gte, gt, lte, lt, prefix, reverse = false, limit = Number.POSITIVE_INFINITY } = options
  if (gte !== undefined && gt !== undefined) throw argumentError('range.gt', gt, 'left out beside gte')
  if (lte !== undefined && lt !== undefined) throw argumentError('range.lt', lt, 'left out beside lte')
  if (typeof reverse !== 'boolean') throw argumentError('range.reverse', reverse, 'a boolean')
  if (typeof limit !== 'number' || !(limit >= 0) || (limit !== Number.POSITIVE_INFINITY && !Number.isSafeInteger(limit))) {
    throw argumentError('range.limit', limit, 'a non-negative integer or Infinity')
  }
  let lower = boundOf(gte ?? gt, gte !== undefined)
  let upper = boundOf(lte ?? lt, lte !== undefined)
  if (prefix !== undefined) {
    if (typeof prefix !== 'string' && !(prefix instanceof Uint8Array)) throw argumentError('range.prefix', prefix, 'a string or a Uint8Array')
    const first = encodeBound(prefix)
    const end = { bytes: successor(first), inclusive: false }
    if (lower === undefined || Buffer.compare(first, lower.bytes) > 0) lower = { bytes: first, inclusive: true }
    if (upper === undefined || Buffer.compare(end.bytes, upper.bytes) <= 0) upper = end
  }
  const from = reverse ? upper : lower
  const until = reverse ? lower : upper
  let flags = reverse ? INDEX_REVERSE : 0
  if (from?.inclusive === false) flags |= INDEX_FROM_EXCLUSIVE
  if (until?.inclusive === true) flags |= INDEX_UNTIL_INCLUSIVE
  return { from: from?.bytes, until: until?.bytes, flags, limit }
}

const scratch = Buffer.from(new ArrayBuffer(KEY_BYTES))

function encodeBound(key: Key): Uint8Array {
  return new Uint8Array(scratch.subarray(0, writeBound(key, scratch, 0)))
}

function boundOf(key: Key | undefined, inclusive: boolean): Bound | undefined {
  return key === undefined ? undefined : { bytes: encodeBound(key), inclusive }
}

/** The smallest bytes behind all that begin with `bytes`; a tag, which comes first, is never 255. */
function successor(bytes: Uint8Array): Uint8Array {
  let end = bytes.length
  while (bytes[end - 1] === 0xff) end--
  const next = bytes.slice(0, end)
  next[end - 1]++
  return next
}
