/** Load on an HTTP server by wrk, in a process of its own. */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Load {
  readonly url: string
  readonly connections: number
  readonly seconds: number
  /** An empty folder or one of the server's, for a file of wrk's. */
  readonly directory: string
}

export interface LoadResult {
  readonly requests: number
  /** As received, headers included. */
  readonly bytes: number
  readonly seconds: number
  readonly p50Us: number
  readonly p99Us: number
}

const SUMMARY = `done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('\\nresult {"requests":%.0f,"bytes":%.0f,"seconds":%.6f,"p50Us":%.0f,"p99Us":%.0f,"errors":%.0f}\\n',
    summary.requests, summary.bytes, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
`

/** One thread of wrk. Throws when a request failed or got another status than 2xx or 3xx. */
export async function runLoad({ url, connections, seconds, directory }: Load): Promise<LoadResult> {
  const script = join(directory, 'summary.lua')
  writeFileSync(script, SUMMARY)
  const whole = String(Math.ceil(seconds) + 1)
  const wrk = spawn('wrk', ['-t1', `-c${connections}`, `-d${whole}s`, '--timeout', '30s', '-s', script, url], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [wrk.stdout, wrk.stderr]) {
    stream.on('data', (text: Buffer) => {
      output += text.toString()
    })
  }
  // It knows whole seconds only, and sums up what it has when it is interrupted.
  const timer = setTimeout(() => wrk.kill('SIGINT'), seconds * 1000)
  await new Promise<void>((resolve, reject) => wrk.once('error', reject).once('close', () => resolve()))
  clearTimeout(timer)
  const match = /^result (.*)$/m.exec(output)
  if (!match) throw new Error(`wrk ${url}: ${output.trim()}`)
  const { errors, ...result } = JSON.parse(match[1]) as LoadResult & { readonly errors: number }
  if (errors > 0 || result.bytes === 0) throw new Error(`wrk ${url}: ${errors} errors, ${result.bytes} bytes`)
  return result
}
