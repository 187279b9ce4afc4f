/** Keys as bytes: their order is the order of the keys, and nothing is lost. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeKey, encodeKey, isEncodedKey, type Key } from '../../lib/store/keys.js'

const integer = fc.oneof(
  fc.maxSafeInteger(),
  fc.integer({ min: -300, max: 300 }),
  fc.bigInt({ min: -(2n ** 64n) + 1n, max: 2n ** 64n - 1n }),
  // Around every change of the number of bytes.
  fc.tuple(fc.nat({ max: 64 }), fc.integer({ min: -2, max: 2 }), fc.boolean()).map(([bits, near, negative]) => {
    const magnitude = 2n ** BigInt(bits) + BigInt(near)
    return magnitude < 0n || magnitude >= 2n ** 64n ? 0n : negative ? -magnitude : magnitude
  }),
)
const text = fc.oneof(
  fc.string({ unit: 'binary', minLength: 1, maxLength: 12 }),
  fc.string({ unit: fc.constantFrom('a', 'b', '\0', 'é', '￿', '\u{10000}', '\u{1f600}'), minLength: 1, maxLength: 60 }),
)
const bytes = fc.uint8Array({ minLength: 1, maxLength: 12 })
const key: fc.Arbitrary<Key> = fc.oneof(integer, text, bytes)

const kindOf = (one: Key) => (typeof one === 'string' ? 1 : typeof one === 'object' ? 2 : 0)

/** What the documentation says, without encoding anything. */
function compareKeys(a: Key, b: Key): number {
  if (kindOf(a) !== kindOf(b)) return kindOf(a) - kindOf(b)
  if (typeof a === 'string' && typeof b === 'string') {
    const [left, right] = [a, b].map((one) => Array.from(one, (character) => character.codePointAt(0) as number))
    const at = left.findIndex((point, i) => point !== right[i])
    return at < 0 ? left.length - right.length : at < right.length ? left[at] - right[at] : 1
  }
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b)
  return a < b ? -1 : a > b ? 1 : 0
}

const normal = (one: Key): Key => (typeof one === 'bigint' && Number.isSafeInteger(Number(one)) ? Number(one) : one === 0 ? 0 : one)
const hex = (one: Key) => Buffer.from(encodeKey(one)).toString('hex')
const refused = expect.objectContaining({ code: 'ERR_SEALOG_ARGUMENT' })

describe('encoding of keys', () => {
  test('the order of the bytes is the order of the keys', () => {
    fc.assert(
      fc.property(key, key, (a, b) => {
        expect(Math.sign(Buffer.compare(encodeKey(a), encodeKey(b)))).toBe(Math.sign(compareKeys(a, b)))
      }),
      { numRuns: 3000 },
    )
  })

  test('decoding gives the key back, integers as numbers where that is safe', () => {
    fc.assert(
      fc.property(key, (one) => {
        const encoded = encodeKey(one)
        expect(decodeKey(encoded)).toStrictEqual(normal(one))
        expect(isEncodedKey(encoded)).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })

  test('the examples of the documentation', () => {
    expect([0, -0, 5, 5n, 256, -1, 'ab', new Uint8Array([1, 2])].map(hex)).toEqual(['20', '20', '2105', '2105', '220100', '1ffe', '406162', '600102'])
    expect(hex(2n ** 64n - 1n)).toBe('28ffffffffffffffff')
    expect(hex(-(2n ** 64n) + 1n)).toBe('180000000000000000')
  })

  test.each<[string, unknown]>([
    ['an empty string', ''],
    ['no bytes', new Uint8Array()],
    ['detached bytes', detached()],
    ['a fraction', 1.5],
    ['NaN', Number.NaN],
    ['Infinity', Number.POSITIVE_INFINITY],
    ['a number that is not safe', 2 ** 53],
    ['a bigint beyond 8 bytes', 2n ** 64n],
    ['a negative bigint beyond 8 bytes', -(2n ** 64n)],
    ['a lone surrogate', 'a\ud800'],
    ['a lone surrogate among much text', `${'x'.repeat(100)}\udc00y`],
    ['a string that is too long', 'x'.repeat(65_535)],
    ['a string too long in UTF-8', 'é'.repeat(32_768)],
    ['bytes that are too long', new Uint8Array(65_535)],
    ['undefined', undefined],
    ['null', null],
    ['a boolean', true],
    ['an object', {}],
    ['other typed arrays', new Uint16Array(2)],
    ['a symbol', Symbol('key')],
  ])('%s is refused', (_, value) => {
    expect(() => encodeKey(value as Key)).toThrow(refused)
  })

  test.each<[string, Key]>([
    ['a string', 'x'.repeat(65_534)],
    ['a string in UTF-8', 'é'.repeat(32_767)],
    ['bytes', new Uint8Array(65_534).fill(7)],
  ])('%s of the longest length passes', (_, longest) => {
    const encoded = encodeKey(longest)
    expect(encoded.length).toBe(65_535)
    expect(decodeKey(encoded)).toStrictEqual(longest)
  })

  test.each(['', '40', '60', '30', '2100', '21', '200000', '220005', '1f', '1fff', '40ff', '99', '29010101010101010101'])('the bytes %s are no key', (bad) => {
    expect(isEncodedKey(Buffer.from(bad, 'hex'))).toBe(false)
  })

  test('decoding bytes of no known form is a typed error', () => {
    for (const bad of ['', '40', '30', '21', '2200']) {
      expect(() => decodeKey(Buffer.from(bad, 'hex'))).toThrow(expect.objectContaining({ code: 'ERR_SEALOG_FORMAT' }))
    }
  })
})

function detached(): Uint8Array {
  const gone = new Uint8Array(8)
  structuredClone(gone.buffer, { transfer: [gone.buffer] })
  return gone
}
