import { type Command, Option } from 'commander'
import { Log, type RetentionHold, type RetentionMode } from '../index.js'
import { byteCount, type CommonOptions, duration, wholeNumber, withCommonOptions } from './arguments.js'
import { formatBytes, formatCount, printJson } from './output.js'

interface RetainOptions extends CommonOptions {
  readonly maxBytes?: number
  readonly maxAge?: number
  readonly maxRecords?: number
  readonly before?: number
  readonly archive: RetentionMode
  readonly archiveDirectory?: string
  readonly ignoreConsumers?: boolean
  readonly force?: boolean
  readonly dryRun?: boolean
}

export function addRetain(program: Command): void {
  withCommonOptions(program.command('retain'))
    .argument('<dir>')
    .description(
      'Give up the oldest closed segments of the log, as long as the oldest that is left is beyond a limit. Consumers keep what they have not acknowledged.',
    )
    .option('--max-bytes <size>', 'most bytes of segment files (64KiB, 10GB …)', byteCount)
    .option('--max-age <time>', 'longest time since a segment was closed (30s, 12h, 7d …)', duration)
    .option('--max-records <count>', 'most records, counted by offsets', wholeNumber)
    .option('--before <offset>', 'nothing below needs to be kept', wholeNumber)
    .addOption(
      new Option(
        '--archive <mode>',
        'delete: segments and their archives go. archive: only files of archived segments go, reads go to the archives. keep: the log begins later, archives stay',
      )
        .choices(['delete', 'archive', 'keep'])
        .default('delete'),
    )
    .option('--archive-directory <path>', 'where the archives are (default: archive in the directory of the log)')
    .option('--ignore-consumers', 'also what consumers have not acknowledged may go')
    .option('--force', 'also quarantined segments may go, of which there is no other copy')
    .option('--dry-run', 'only tell what would be done')
    .action(runRetain)
}

async function runRetain(directory: string, options: RetainOptions): Promise<void> {
  const { json, backend, maxAge: maxAgeMs, maxBytes, maxRecords, before, archive, ignoreConsumers, force, dryRun } = options
  const log = await Log.open<unknown>(directory, { backend, create: false, archive: { directory: options.archiveDirectory } })
  try {
    const result = await log.retain({ maxBytes, maxAgeMs, maxRecords, before, archive, ignoreConsumers, force, dryRun })
    if (json) {
      printJson({ ...result, dryRun: dryRun === true })
      return
    }
    const { startOffset, removedSegments, removedBytes, heldBy, droppedConsumers } = result
    const verb = archive === 'delete' ? (dryRun ? 'would be removed' : 'removed') : dryRun ? 'would be given up' : 'given up'
    const count = `${formatCount(removedSegments)} ${removedSegments === 1 ? 'segment' : 'segments'}`
    process.stdout.write(`${count} (${formatBytes(removedBytes)}) ${verb}; the log begins at offset ${startOffset}\n`)
    for (const name of droppedConsumers) process.stdout.write(`consumer ${name} lags too much and ${dryRun ? 'would be' : 'was'} dropped\n`)
    if (heldBy !== undefined) process.stdout.write(`kept from offset ${heldBy.offset} on: ${WHY[heldBy.reason](heldBy)}\n`)
  } finally {
    await log.close()
  }
}

const WHY: { readonly [reason in RetentionHold['reason']]: (hold: RetentionHold) => string } = {
  consumer: ({ consumer }) => `consumer ${consumer} has not acknowledged it`,
  'damaged-consumer': ({ consumer }) => `the position of consumer ${consumer} is damaged; reset or delete it`,
  'not-archived': () => 'it is not archived yet',
  quarantined: () => 'it is quarantined; --force removes it',
}
