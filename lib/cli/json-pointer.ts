import { LogError } from '../errors.js'

/** RFC 6901: `/a/0/b~1c` → what to take from a parsed text; undefined where the path leads nowhere. */
export function jsonPointer(pointer: string): (document: unknown) => unknown {
  if (pointer !== '' && !pointer.startsWith('/'))
    throw new LogError('ERR_SEALOG_ARGUMENT', `--key must be a JSON pointer such as /id, got ${pointer}`, { field: 'key', value: pointer })
  const steps = pointer
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
  return (document) => {
    let at = document
    for (const step of steps) {
      if (typeof at !== 'object' || at === null || !Object.hasOwn(at, step)) return undefined
      at = (at as Record<string, unknown>)[step]
    }
    return at
  }
}
