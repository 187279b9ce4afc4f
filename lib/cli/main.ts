#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { addAppend } from './append.js'
import { addArchive } from './archive.js'
import { addChunks } from './chunks.js'
import { addConsumers } from './consumers.js'
import { addDemo } from './demo.js'
import { EXIT, EXIT_CODES_HELP, errorAsJson, exitCodeOf } from './exit-codes.js'
import { addMaintenance } from './maintenance.js'
import { endQuietlyOnClosedPipe } from './output.js'
import { addRead } from './read.js'
import { addRetain } from './retain.js'
import { addServe } from './serve.js'
import { addStat } from './stat.js'
import { addStore } from './store.js'

function createProgram(): Command {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
  const program = new Command('sealog')
    .description('Append-only logs: write, read, inspect, repair and serve them.\nReading commands work beside a live writer.')
    .version(version)
    .showHelpAfterError('(sealog <command> --help tells more)')
    .addHelpText('after', EXIT_CODES_HELP)
    .exitOverride()
  for (const add of [addAppend, addRead, addStat, addMaintenance, addChunks, addRetain, addConsumers, addArchive, addServe, addStore, addDemo]) add(program)
  return program
}

/** Commands set `process.exitCode` and return; standard output drains by itself. */
function fail(error: unknown): void {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage
    return
  }
  process.exitCode = exitCodeOf(error)
  if (process.argv.includes('--json')) process.stderr.write(`${JSON.stringify({ error: errorAsJson(error) })}\n`)
  else {
    const code = error instanceof Error && 'code' in error ? ` (${error.code})` : ''
    process.stderr.write(`sealog: ${error instanceof Error ? error.message : error}${code}\n`)
    for (let cause = error instanceof Error ? error.cause : undefined; cause instanceof Error; cause = cause.cause)
      process.stderr.write(`  because: ${cause.message}\n`)
  }
}

endQuietlyOnClosedPipe()
createProgram().parseAsync().catch(fail)
