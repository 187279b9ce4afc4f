import { createInterface, type Interface } from 'node:readline'
import type { Log } from '../index.js'
import { DEFAULT_HOST, DEFAULT_PORT, HttpServer } from './http-server.js'
import { formatCount, untilInterrupted } from './output.js'

/** More than anybody has running beside each other. */
const PORTS_TRIED = 100

const say = (text: string) => process.stdout.write(`${text}\n`)

/** Serves the log until Ctrl-C; what is typed meanwhile is appended, so that followers have something to follow. */
export async function serveDemo(log: Log<unknown>): Promise<void> {
  const { createHandler, formatOffsetToken } = await import('../http/index.js')
  const handler = createHandler(log, { cors: false })
  const interruption = untilInterrupted()
  const server = await HttpServer.listen(handler, { host: DEFAULT_HOST, port: DEFAULT_PORT, tries: PORTS_TRIED })
  const terminal = createInterface({ input: process.stdin })
  try {
    const middle = Math.floor(log.endOffset / 2)
    say(`Serving it at ${server.url}/. Try in another terminal, from the start, from offset ${formatCount(middle)}, and live:`)
    say(`  curl -s '${server.url}/?offset=-1' | head -c 500`)
    say(`  curl -s '${server.url}/?offset=${formatOffsetToken({ epoch: log.epoch, offset: middle })}' | head -c 500`)
    say(`  curl -N '${server.url}/?offset=now&live=sse'`)
    say('Type a line and press Enter to append it. Ctrl-C ends.')
    await Promise.race([interruption.happened, appendLines(log, terminal).then(() => interruption.happened)])
  } finally {
    interruption.dispose()
    terminal.close()
    await server.stop(() => handler.close())
  }
}

async function appendLines(log: Log<unknown>, terminal: Interface): Promise<void> {
  for await (const line of terminal) {
    if (line !== '') say(`  offset ${formatCount(await log.append({ typed: line }, { key: 'typed' }))}`)
  }
}
