import { Argument, type Command } from 'commander'
import { Log, LogError, type LogReader } from '../index.js'
import { type CommonOptions, wholeNumber, withCommonOptions } from './arguments.js'
import { errorAsJson } from './exit-codes.js'
import { formatBytes, formatCount, printColumns, printJson } from './output.js'

export function addConsumers(program: Command): void {
  withCommonOptions(program.command('consumers'))
    .argument('<dir>')
    .addArgument(new Argument('[verb]', 'list them, reset a position, or delete one').choices(['list', 'reset', 'delete']).default('list'))
    .argument('[name]', 'reset, delete: of which consumer')
    .argument('[offset]', 'reset: the first offset that is not done with', wholeNumber)
    .description('List the named consumers of the log with their positions and lag, or change one. Works beside a live writer.')
    .action(runConsumers)
}

async function runConsumers(
  directory: string,
  verb: 'list' | 'reset' | 'delete',
  name: string | undefined,
  offset: number | undefined,
  { json, backend }: CommonOptions,
): Promise<void> {
  if (verb !== 'list' && name === undefined) throw missing('name')
  if (verb === 'reset' && offset === undefined) throw missing('offset')
  const reader = await Log.openReader<unknown>(directory, { backend })
  try {
    if (verb === 'reset') await reader.consumers.reset(name ?? '', offset ?? 0)
    if (verb === 'delete' && !(await reader.consumers.delete(name ?? '')))
      throw new LogError('ERR_SEALOG_CONSUMER', `there is no consumer ${JSON.stringify(name)}`, { name })
    await list(reader, json === true)
  } finally {
    await reader.close()
  }
}

const missing = (field: string) => new LogError('ERR_SEALOG_ARGUMENT', `the ${field} of the consumer is missing`, { field })

async function list(reader: LogReader<unknown>, json: boolean): Promise<void> {
  const consumers = await reader.consumers.list()
  if (json) {
    printJson({ endOffset: reader.endOffset, consumers: consumers.map(({ error, ...facts }) => (error ? { ...facts, error: errorAsJson(error) } : facts)) })
    return
  }
  if (consumers.length === 0) {
    process.stdout.write('no consumers\n')
    return
  }
  printColumns(
    ['consumer', 'offset', 'behind', 'bytes', 'acknowledged', 'dropped at'],
    consumers.map(({ name, offset, epoch, lagRecords, lagBytes, acknowledgedAt, maxLagBytes, error }) => [
      name,
      error !== undefined ? `damaged (${error.code})` : epoch === reader.epoch ? String(offset) : `${offset} (records were cut since; reset it)`,
      formatCount(lagRecords),
      formatBytes(lagBytes),
      acknowledgedAt === undefined ? '–' : new Date(acknowledgedAt).toISOString(),
      maxLagBytes === undefined ? 'never' : formatBytes(maxLagBytes),
    ]),
  )
}
