// Appends under a limit of the shell that started it, and reports as JSON what happened. Arguments: what, directory, backend.
import { Log } from '../../dist/index.js'

const [what, directory, backend] = process.argv.slice(2)
// Without a handler the signal of RLIMIT_FSIZE ends the process instead of failing the write.
process.on('SIGXFSZ', () => {})
const describe = (error) => ({ code: error.code, cause: error.cause?.code ?? error.cause?.cause?.code })
const report = (facts) => console.log(JSON.stringify(facts))

async function fileSize() {
  const log = await Log.open(directory, { backend, segmentBytes: 1024 * 1024 })
  let acknowledged = 0
  let failure
  while (failure === undefined) {
    try {
      acknowledged = (await log.append(Buffer.alloc(1000, acknowledged))) + 1
    } catch (error) {
      failure = describe(error)
    }
  }
  const readable = log.getSync(acknowledged - 1)?.value[0] === ((acknowledged - 1) & 255)
  await log.close().catch(() => {})
  report({ acknowledged, failure, readable })
}

async function openFiles() {
  const logs = []
  let failure
  while (failure === undefined) {
    try {
      const log = await Log.open(`${directory}/${logs.length}`, { backend })
      logs.push(log)
      await log.append(Buffer.from(`log ${logs.length - 1}`))
    } catch (error) {
      failure = describe(error)
    }
  }
  const opened = logs.length
  // Room for one log is room for it to work again.
  for (const log of logs.splice(0, 3)) await log.close().catch(() => {})
  const again = await Log.open(`${directory}/again`, { backend })
  const offset = await again.append(Buffer.from('again'))
  for (const log of [...logs, again]) await log.close().catch(() => {})
  report({ opened, failure, offset })
}

await (what === 'fileSize' ? fileSize() : openFiles())
