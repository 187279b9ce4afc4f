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

export function wholeNumber(text: string): number {
  const number = Number(text)
  if (text.trim() === '' || !Number.isSafeInteger(number) || number < 0) throw new InvalidArgumentError('It must be a whole number, 0 or more.')
  return number
}
