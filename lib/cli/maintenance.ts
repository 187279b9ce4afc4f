import { type Command, Option } from 'commander'
import { repair, verify } from '../log/maintenance.js'
import { type CommonOptions, withCommonOptions } from './arguments.js'
import { EXIT } from './exit-codes.js'
import { formatBytes, formatCount, printJson } from './output.js'
import { showProgress } from './progress.js'

interface RepairOptions extends CommonOptions {
  readonly policy: 'point-in-time' | 'salvage'
  readonly manifest?: boolean
}

export function addMaintenance(program: Command): void {
  withCommonOptions(program.command('verify'))
    .argument('<dir>')
    .description('Read every byte of the log and check it. Changes nothing; works beside a live writer. Exit code 1: there is damage.')
    .action(runVerify)
  withCommonOptions(program.command('repair'))
    .argument('<dir>')
    .description('Make a damaged log usable again, at the price the policy names. Take a copy of the directory first.')
    .addOption(
      new Option('--policy <name>', 'point-in-time: end the log after the last good batch. salvage: keep what is good on both sides, record the lost ranges')
        .choices(['point-in-time', 'salvage'])
        .makeOptionMandatory(),
    )
    .option('--manifest', 'also rebuild a damaged or missing MANIFEST from the segments')
    .action(runRepair)
}

async function runVerify(directory: string, { json, backend }: CommonOptions): Promise<void> {
  let progress: ReturnType<typeof showProgress> | undefined
  const result = await verify(directory, {
    backend,
    onProgress(done, total) {
      progress ??= showProgress('verify', 'bytes', total)
      progress.update(done, done)
    },
  }).finally(() => progress?.stop())
  if (!result.ok) process.exitCode = EXIT.failed
  if (json) {
    printJson(result)
    return
  }
  for (const { code, file, position, firstOffset, lastOffset, message } of result.problems) {
    const range = lastOffset === undefined ? `offset ${firstOffset} and what follows` : `offsets ${firstOffset} to ${lastOffset}`
    process.stdout.write(`${file} at ${position}: ${message} (${code}), ${range}\n`)
  }
  const { tornTail } = result
  if (tornTail) process.stdout.write(`${tornTail.file} at ${tornTail.position}: an unfinished write, as a crash leaves it; the next open cuts it\n`)
  const size = `${formatCount(result.records)} records in ${formatCount(result.segments)} ${result.segments === 1 ? 'segment' : 'segments'}, ${formatBytes(result.bytes)}`
  const verdict = result.ok ? 'ok' : `DAMAGED, ${result.problems.length} problem${result.problems.length === 1 ? '' : 's'}`
  process.stdout.write(`${verdict}: ${size}, offsets ${result.startOffset} to ${result.endOffset} (exclusive)\n`)
}

async function runRepair(directory: string, { json, backend, policy, manifest }: RepairOptions): Promise<void> {
  const result = await repair(directory, { policy, manifest, backend })
  if (json) {
    printJson(result)
    return
  }
  for (const action of result.actions) process.stdout.write(`${action}\n`)
  for (const { from, to } of result.lost) process.stdout.write(`lost: offsets ${from} to ${to - 1}\n`)
  if (result.actions.length === 0) process.stdout.write('nothing to repair\n')
  process.stdout.write(`the log ends at offset ${result.endOffset} (exclusive)\n`)
}
