import { type Command, InvalidArgumentError, Option } from 'commander'

/** What every command understands. */
export interface CommonOptions {
  readonly json?: boolean
  readonly backend: 'auto' | 'native' | 'js'
}

export function withCommonOptions(command: Command): Command {
  return command
    .option('--json', 'print results and errors as JSON')
    .addOption(new Option('--backend <name>', 'the C++ addon, or its JavaScript twin').choices(['auto', 'native', 'js']).default('auto'))
    .exitOverride()
}

const BYTES: { readonly [unit: string]: number } = { '': 1, b: 1, kb: 1e3, mb: 1e6, gb: 1e9, tb: 1e12, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30, tib: 2 ** 40 }
const MILLISECONDS: { readonly [unit: string]: number } = { '': 1, ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }

/** `1500`, `64KiB`, `10GB` → bytes. */
export const byteCount = (text: string): number => measured(text, BYTES, 'a number of bytes, as 1500, 64KiB or 10GB')

/** `500`, `30s`, `12h`, `7d` → ms. */
export const duration = (text: string): number => measured(text, MILLISECONDS, 'a time, as 30s, 15m, 12h or 7d')

function measured(text: string, units: { readonly [unit: string]: number }, expected: string): number {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text) ?? []
  const factor = digits === undefined ? undefined : units[unit.toLowerCase()]
  if (factor === undefined) throw new InvalidArgumentError(`It must be ${expected}.`)
  return Math.round(Number(digits) * factor)
}

export function wholeNumber(text: string): number {
  const number = Number(text)
  if (text.trim() === '' || !Number.isSafeInteger(number) || number < 0) throw new InvalidArgumentError('It must be a whole number, 0 or more.')
  return number
}
