import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { type Command, Option } from 'commander'
import { type Archive, openArchive } from '../archive/index.js'
import { ARCHIVE_HEADER_BYTES, decodeArchiveHeader } from '../format/archive-file.js'
import { Log, LogError, type LogReader } from '../index.js'
import { type ExportOptions, runExport } from './archive-export.js'
import { type ArchivedFacts, archivesOf } from './archived-records.js'
import { byteCount, type CommonOptions, wholeNumber, withCommonOptions } from './arguments.js'
import { EXIT } from './exit-codes.js'
import { formatBytes, formatCount, printColumns, printJson, printTable } from './output.js'
import { showProgress } from './progress.js'

interface ArchiveOptions extends CommonOptions {
  readonly archiveDirectory?: string
}

interface InfoOptions extends ArchiveOptions {
  readonly offset?: number
}

interface RestoreOptions extends ArchiveOptions {
  readonly from: number
  readonly to: number
}

interface RunOptions extends ArchiveOptions {
  readonly level?: number
  readonly parallelism?: number
  readonly bytesPerSecond?: number
}

const POLL_MS = 100

export function addArchive(program: Command): void {
  const archive = program
    .command('archive')
    .description('Compressed, verified copies of closed segments: make, list, check, export and restore them.')
    .exitOverride()
  withArchive(archive, 'list', 'List the archives. Works beside a live writer.').action(runList)
  withArchive(archive, 'info', 'Tell how much is archived, or with --offset what one archive holds. Works beside a live writer.')
    .option('--offset <offset>', 'of the archive that holds it', wholeNumber)
    .action(runInfo)
  withArchive(archive, 'verify', 'Read every archive whole and check every record in it. Exit code 1: there is damage.').action(runVerify)
  withArchive(archive, 'export', 'Write the records of archives to standard output or a new file. Works beside a live writer.')
    .addOption(new Option('--format <name>', 'ndjson: in the form of cat. msgpack: one map per record').choices(['ndjson', 'msgpack']).default('ndjson'))
    .option('--from <offset>', 'first offset (default: the first archived)', wholeNumber)
    .option('--to <offset>', 'end, exclusive (default: the end)', wholeNumber)
    .option('-o, --output <file>', 'a file that is not there yet')
    .action((directory: string, options: ExportOptions) => runExport(directory, options))
  withArchive(archive, 'restore', 'Bring back the files of archived segments, byte for byte. The archives stay.')
    .option('--from <offset>', 'first offset', wholeNumber, 0)
    .option('--to <offset>', 'end, exclusive (default: the end)', wholeNumber, Number.MAX_SAFE_INTEGER)
    .action(runRestore)
  withArchive(archive, 'train', 'Make a dictionary of records of the log; it is used for archives to come if it makes a sample 3 % smaller.').action(runTrain)
  withArchive(archive, 'run', 'Archive every closed segment that is not archived yet.')
    .option('--level <number>', 'of zstd, 1 to 22 (default: 3)', wholeNumber)
    .option('--parallelism <count>', 'segments at a time (default: 3)', wholeNumber)
    .option('--bytes-per-second <size>', 'most segment bytes that are compressed per second', byteCount)
    .action(runArchiver)
}

const withArchive = (archive: Command, verb: string, description: string): Command =>
  withCommonOptions(archive.command(verb))
    .argument('<dir>')
    .description(description)
    .option('--archive-directory <path>', 'where the archives are (default: archive in the directory of the log)')

async function withReader<R>(directory: string, { backend, archiveDirectory }: ArchiveOptions, use: (reader: LogReader<unknown>) => Promise<R>): Promise<R> {
  const reader = await Log.openReader<unknown>(directory, { backend, archive: { directory: archiveDirectory } })
  try {
    return await use(reader)
  } finally {
    await reader.close()
  }
}

/** What changes archives or their log needs the lock. */
async function withWriter<R>(
  directory: string,
  { backend, archiveDirectory, level, parallelism, bytesPerSecond }: RunOptions,
  use: (archive: Archive) => Promise<R>,
): Promise<R> {
  const log = await Log.open<unknown>(directory, { backend, create: false, archive: { directory: archiveDirectory } })
  try {
    const archive = await openArchive(log, { automatic: false, level, parallelism, bytesPerSecond })
    try {
      return await use(archive)
    } finally {
      await archive.close()
    }
  } finally {
    await log.close()
  }
}

const entryOf = ({ base, end, archive, bytes, closedAt, local, history }: ArchivedFacts) => ({
  base,
  end,
  ...archive,
  segmentBytes: bytes,
  closedAt,
  local: local !== false,
  history,
})

const runList = (directory: string, options: ArchiveOptions): Promise<void> =>
  withReader(directory, options, async (reader) => {
    const entries = (await archivesOf(reader)).archived.map(entryOf)
    if (options.json) {
      printJson({ directory: reader.archiveDirectory, archives: entries })
      return
    }
    if (entries.length === 0) {
      process.stdout.write('no archives\n')
      return
    }
    printColumns(
      ['offsets', 'archive', 'segment', 'ratio', 'archived', 'segment file', 'file'],
      entries.map(({ base, end, bytes, segmentBytes, archivedAt, local, history, file }) => [
        `${base} to ${end - 1}`,
        formatBytes(bytes),
        formatBytes(segmentBytes),
        (bytes / segmentBytes).toFixed(3),
        new Date(archivedAt).toISOString(),
        history ? 'before the log' : local ? 'there' : 'given up',
        file,
      ]),
    )
  })

const runInfo = (directory: string, options: InfoOptions): Promise<void> =>
  withReader(directory, options, async (reader) => {
    const { archived, closed } = await archivesOf(reader)
    if (options.offset !== undefined) {
      printFacts(await headerOf(reader, archived, options.offset), options.json === true)
      return
    }
    const sum = (of: (facts: ArchivedFacts) => number) => archived.reduce((total, facts) => total + of(facts), 0)
    const { archives, dictionaries } = await reader.diskUsage()
    printFacts(
      {
        directory: reader.archiveDirectory,
        archives: archived.length,
        archiveBytes: sum(({ archive }) => archive.bytes),
        segmentBytes: sum(({ bytes }) => bytes),
        released: archived.filter(({ local, history }) => local === false && !history).length,
        history: archived.filter(({ history }) => history).length,
        pending: closed.filter(({ archive, quarantined }) => archive === undefined && quarantined === undefined).length,
        quarantined: closed.filter(({ quarantined }) => quarantined !== undefined).length,
        diskBytes: archives + dictionaries,
      },
      options.json === true,
    )
  })

/** What the header of the archive that holds `offset` says. */
async function headerOf(reader: LogReader<unknown>, archived: readonly ArchivedFacts[], offset: number): Promise<Record<string, unknown>> {
  const facts = archived.find(({ base, end }) => base <= offset && offset < end)
  if (facts === undefined) throw new LogError('ERR_SEALOG_ARCHIVE', `offset ${offset} is not archived`, { offset })
  const path = join(reader.archiveDirectory, facts.archive.file)
  const file = await open(path)
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(ARCHIVE_HEADER_BYTES), 0, ARCHIVE_HEADER_BYTES, 0)
    const header = decodeArchiveHeader(buffer.subarray(0, bytesRead), reader.environment.kernels.crc32c)
    if ('kind' in header) throw new LogError('ERR_SEALOG_ARCHIVE', `${path} is ${header.kind}: ${header.why}`, { file: path, position: 0 })
    const { logId, segmentHeader: _, ...numbers } = header
    return { ...entryOf(facts), logId: Buffer.from(logId).toString('hex'), ...numbers }
  } finally {
    await file.close()
  }
}

function printFacts(facts: { readonly [name: string]: unknown }, json: boolean): void {
  if (json) printJson(facts)
  else printTable(Object.entries(facts).map(([name, value]) => [name, String(value)]))
}

const runVerify = (directory: string, options: ArchiveOptions): Promise<void> =>
  withWriter(directory, options, async (archive) => {
    let progress: ReturnType<typeof showProgress> | undefined
    const result = await archive
      .verify((done, total) => {
        progress ??= showProgress('verify', 'bytes', total)
        progress.update(done, done)
      })
      .finally(() => progress?.stop())
    if (!result.ok) process.exitCode = EXIT.failed
    if (options.json) {
      printJson(result)
      return
    }
    for (const { file, message, code, base, end } of result.problems) process.stdout.write(`${file}: ${message} (${code}), offsets ${base} to ${end - 1}\n`)
    const verdict = result.ok ? 'ok' : `DAMAGED, ${result.problems.length} ${result.problems.length === 1 ? 'archive' : 'archives'}`
    process.stdout.write(`${verdict}: ${formatCount(result.records)} records in ${formatCount(result.archives)} archives, ${formatBytes(result.bytes)}\n`)
  })

const runRestore = (directory: string, options: RestoreOptions): Promise<void> =>
  withWriter(directory, options, async (archive) => {
    let progress: ReturnType<typeof showProgress> | undefined
    const restored = await archive
      .restore(options.from, options.to, (done, total) => {
        progress ??= showProgress('restore', 'bytes', total)
        progress.update(done, done)
      })
      .finally(() => progress?.stop())
    if (options.json) printJson({ restored })
    else process.stdout.write(`${formatCount(restored)} ${restored === 1 ? 'segment' : 'segments'} restored\n`)
  })

const runTrain = (directory: string, options: ArchiveOptions): Promise<void> =>
  withWriter(directory, options, async (archive) => {
    const { dictionary, gain } = await archive.train()
    if (options.json) printJson({ dictionary, gain })
    else {
      const verdict = dictionary === undefined ? 'no dictionary is used' : `dictionary ${dictionary.toString(16).padStart(8, '0')} is used from now on`
      process.stdout.write(`${verdict}; a sample became ${(100 * gain).toFixed(1)} % smaller with the new one\n`)
    }
  })

const runArchiver = (directory: string, options: RunOptions): Promise<void> =>
  withWriter(directory, options, async (archive) => {
    const { pending } = archive.stats()
    const progress = showProgress('archive', 'segments', pending)
    const poll = setInterval(() => progress.update(archive.stats().archived, archive.stats().archived), POLL_MS)
    let archived: number
    try {
      archived = await archive.run()
    } finally {
      clearInterval(poll)
      progress.stop()
    }
    const { segmentBytes, archiveBytes, quarantined } = archive.stats()
    if (quarantined > 0) process.exitCode = EXIT.failed
    if (options.json) printJson({ archived, segmentBytes, archiveBytes, quarantined })
    else {
      const count = `${formatCount(archived)} ${archived === 1 ? 'segment' : 'segments'}`
      process.stdout.write(`${count} archived, ${formatBytes(segmentBytes)} to ${formatBytes(archiveBytes)}\n`)
      if (quarantined > 0) process.stdout.write(`${formatCount(quarantined)} damaged and set aside; verify tells more\n`)
    }
  })
