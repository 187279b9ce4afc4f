import { type Command, InvalidArgumentError } from 'commander'
import { type CommonOptions, wholeNumber, withCommonOptions } from './arguments.js'
import { type Answer, addressOf, DEFAULT_HOST, DEFAULT_PORT, HttpServer } from './http-server.js'
import { LogDirectory } from './log-directory.js'
import { createMetrics, type Metrics } from './metrics.js'
import { printJson, untilInterrupted } from './output.js'

interface ServeOptions extends CommonOptions {
  readonly port: number
  readonly host: string
  readonly public?: boolean
  readonly cors?: string
  readonly metrics?: boolean
}

export function addServe(program: Command): void {
  withCommonOptions(program.command('serve'))
    .argument('<dir>', 'a log, or a directory of logs: then the name of its folder is the path of each')
    .description(
      'Serve the log over HTTP, read-only, by the Durable Streams protocol. Works beside a live writer.\nCtrl-C sends what is under way and ends; a second one ends at once.',
    )
    .option('--port <number>', '0: any free one', portNumber, DEFAULT_PORT)
    .option('--host <name>', 'address to listen on', DEFAULT_HOST)
    .option('--public', 'allow a host that other machines can reach')
    .option('--cors <origin>', "let pages of this origin read ('*': of any); without it no page in a browser may")
    .option('--metrics', 'metrics for Prometheus at /metrics (needs the package prom-client)')
    .action(serve)
}

function portNumber(text: string): number {
  const port = wholeNumber(text)
  if (port > 65_535) throw new InvalidArgumentError('It must be at most 65535.')
  return port
}

async function serve(directory: string, options: ServeOptions): Promise<void> {
  const host = await addressOf(options.host, options.public === true)
  const metrics = options.metrics ? await createMetrics() : undefined
  const logs = await LogDirectory.open(directory, options.backend, (log) => metrics?.add(log))
  try {
    const { createHandler } = await import('../http/index.js')
    const handler = createHandler((name) => logs.find(name), { cors: options.cors ?? false })
    const server = await HttpServer.listen(withMetrics(handler, metrics), { host, port: options.port })
    const interruption = untilInterrupted()
    announce(directory, server.url, await logs.names(), options)
    await interruption.happened
    // From here on a signal ends the process at once.
    interruption.dispose()
    await server.stop(() => handler.close())
  } finally {
    metrics?.close()
    await logs.close()
  }
}

function withMetrics(answer: Answer, metrics: Metrics | undefined): Answer {
  if (metrics === undefined) return answer
  return (req, res) => (/^\/metrics(\?|$)/.test(req.url ?? '') ? metrics.answer(req, res) : answer(req, res))
}

function announce(directory: string, url: string, names: readonly string[], { json, metrics }: ServeOptions): void {
  const urls = names.map((name) => `${url}/${encodeURIComponent(name)}`)
  if (json) {
    printJson({ url, logs: urls, pid: process.pid })
    return
  }
  if (names.length === 1 && names[0] === '') process.stdout.write(`serving ${directory} at ${urls[0]}\n`)
  else process.stdout.write(`serving the logs of ${directory}:\n${urls.map((each) => `  ${each}\n`).join('')}`)
  if (metrics) process.stdout.write(`metrics at ${url}/metrics\n`)
  process.stdout.write('Ctrl-C ends.\n')
}
