import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { basename, dirname, join } from 'node:path'
import { childrenOf } from '../harness/usage.js'
import { HOST, type ServerKind } from './server.js'

const READY_LIMIT_MS = 10_000
const RETRY_MS = 20
/** Workers that have not been forked yet would not be counted. */
const WORKERS = 1

export const NGINX: ServerKind = {
  name: 'nginx, sendfile',
  kind: 'peer',
  programs: ['nginx'],
  start: async (chunk, directory) => {
    const port = await freePort()
    const configuration = join(directory, 'nginx.conf')
    const log = join(directory, 'error.log')
    writeFileSync(configuration, configure(dirname(chunk.file), directory, log, port))
    const nginx = spawn('nginx', ['-c', configuration, '-e', log, '-p', directory], { stdio: ['ignore', 'ignore', 'pipe'] })
    let ended: string | undefined
    nginx.stderr.on('data', (text: Buffer) => {
      ended = text.toString().trim()
    })
    const exited = new Promise<void>((resolve) => {
      nginx.once('error', (error) => {
        ended = error.message
        resolve()
      })
      nginx.once('exit', (code) => {
        ended ??= `it ended with code ${code}`
        resolve()
      })
    })
    const close = () => {
      nginx.kill('SIGTERM')
      return exited
    }
    const limit = performance.now() + READY_LIMIT_MS
    const workers = () => (nginx.pid === undefined ? [] : childrenOf(nginx.pid))
    while (ended === undefined && !(workers().length === WORKERS && (await accepts(port)))) {
      if (performance.now() > limit) ended = `it did not listen within ${READY_LIMIT_MS / 1000} s`
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
    if (ended !== undefined) {
      await close()
      throw new Error(`nginx: ${ended}`)
    }
    return { port, path: `/${basename(chunk.file)}`, processes: () => [nginx.pid!, ...workers()], close }
  },
}

/** As Debian sets it up (sendfile and tcp_nopush on), with one worker, like the other servers; no access log, and files stay open. */
function configure(root: string, directory: string, log: string, port: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `  ${name}_temp_path ${directory}/${name};`)
  return `${process.getuid?.() === 0 ? 'user root;\n' : ''}daemon off;
worker_processes ${WORKERS};
error_log ${log};
pid ${directory}/nginx.pid;
events { worker_connections 4096; }
http {
${temporary.join('\n')}
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  open_file_cache max=16;
  default_type application/json;
  server { listen ${HOST}:${port}; root ${root}; }
}
`
}

/** nginx does not choose one itself. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, HOST, () => {
      const address = server.address()
      server.close(() => (typeof address === 'object' && address !== null ? resolve(address.port) : reject(new Error('no port'))))
    })
  })
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, HOST, () => {
      socket.destroy()
      resolve(true)
    }).once('error', () => resolve(false))
  })
}
