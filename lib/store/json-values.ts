/** Deeper values are neither copied nor measured: the stack is finite. */
const DEEPEST = 100
const ANY_BYTES = 16
const STRING_BYTES = 24
const OBJECT_BYTES = 56

/** A copy of a value that JSON.parse made, at most 100 levels deep. */
export function copyJson<V>(value: V): V {
  if (typeof value !== 'object' || value === null) return value
  return (Array.isArray(value) ? copyArray(value) : copyObject(value as { [name: string]: unknown })) as V
}

function copyArray(array: readonly unknown[]): unknown[] {
  const copy = array.slice()
  for (let i = 0; i < copy.length; i++) {
    const part = copy[i]
    if (typeof part === 'object' && part !== null) copy[i] = copyJson(part)
  }
  return copy
}

function copyObject(object: { readonly [name: string]: unknown }): { [name: string]: unknown } {
  const copy: { [name: string]: unknown } = { ...object }
  for (const name in copy) {
    const part = copy[name]
    // It is an own property by now, so that this sets it even when its name is __proto__.
    if (typeof part === 'object' && part !== null) copy[name] = copyJson(part)
  }
  return copy
}

/** Bytes of memory of such a value, estimated upwards; Infinity when it is deeper. */
export function jsonMemory(value: unknown, depth = 0): number {
  if (typeof value === 'string') return STRING_BYTES + 2 * value.length
  if (typeof value !== 'object' || value === null) return ANY_BYTES
  if (depth === DEEPEST) return Number.POSITIVE_INFINITY
  let bytes = OBJECT_BYTES
  if (Array.isArray(value)) {
    for (const part of value) bytes += jsonMemory(part, depth + 1)
  } else {
    for (const name in value) bytes += STRING_BYTES + 2 * name.length + jsonMemory((value as { [name: string]: unknown })[name], depth + 1)
  }
  return bytes
}
