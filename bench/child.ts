/** One measurement in a process of its own; see harness/processes.ts. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { CASES } from './cases/index.js'
import type { Run } from './harness/case.js'
import type { Order, Reply } from './harness/processes.js'

const order = JSON.parse(process.argv[2]) as Order
const contender = CASES.find((one) => one.name === order.caseName)!.contenders.find((one) => one.name === order.contender)!
const directoryOf = (name: string) => join(order.caseDirectory, name.replaceAll(/[^\w.]+/g, '-'))
const run: Run = { quick: order.quick, huge: order.huge, directory: directoryOf(contender.name), directoryOf, earlier: order.earlier }

const reply = await work()
// Alone, without a parent to tell, when it is profiled.
if (process.send !== undefined) process.send(reply, () => process.disconnect())
else if ('error' in reply) console.error(reply.error)

async function work(): Promise<Reply> {
  try {
    const keepsData = contender.prepare !== undefined
    if (order.phase === 'prepare' || !keepsData) {
      rmSync(run.directory, { recursive: true, force: true })
      mkdirSync(run.directory, { recursive: true })
    }
    if (order.phase === 'prepare') {
      await contender.prepare!(run)
      return { prepared: true }
    }
    const measurement = await contender.measure(run)
    if (!keepsData) rmSync(run.directory, { recursive: true, force: true })
    return { measurement }
  } catch (error) {
    process.exitCode = 1
    return { error: describe(error) }
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause === undefined ? '' : `; cause: ${describe(error.cause)}`
  return `${error.stack ?? error.message}${cause}`
}
