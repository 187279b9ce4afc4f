/** What a serving process does and holds, seen from outside: system calls, memory, descriptors. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import type { TransferCounters } from '../../lib/http/transfer.js'
import { backends } from '../support/backends.js'
import { ContentFile, get, getText, KiB, MiB } from './transfer-support.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const program = path.join(root, 'test', 'http', 'transfer-server.mjs')
// On a disk: memory file systems do not tell what is resident, and so never let the first attempt go inline.
const directory = mkdtempSync(path.join(tmpdir(), 'sealog-transfer-'))
const file = new ContentFile(10 * MiB, path.join(directory, 'chunk'))
afterAll(() => {
  file.close()
  rmSync(directory, { recursive: true, force: true })
})

async function startServer(
  command: readonly string[],
  backend: string,
  stallMs: number,
): Promise<{ child: ChildProcess; port: number; stop: () => Promise<void> }> {
  if (!existsSync(path.join(root, 'dist', 'http', 'transfer.js'))) throw new Error('dist/ is missing: run npm run build')
  const [first, ...rest] = [...command, process.execPath, '--expose-gc', program, file.path, backend, String(stallMs)]
  const child = spawn(first, rest, { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const port = await new Promise<number>((resolve, reject) => {
    child.stdout.once('data', (text: Buffer) => resolve(Number(text)))
    child.once('error', reject).once('close', () => reject(new Error('the server has ended')))
  })
  const stop = async () => {
    child.stdin.end()
    await ended
  }
  return { child, port, stop }
}

interface Facts {
  readonly rss: number
  readonly descriptors: number
  readonly counters: TransferCounters
}

const factsOf = async (port: number) => JSON.parse((await get(port, '/facts')).body.toString()) as Facts

async function until(port: number, condition: (facts: Facts) => boolean): Promise<Facts> {
  for (;;) {
    const facts = await factsOf(port)
    if (condition(facts)) return facts
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

describe.runIf(backends.includes('native'))('a process that serves by sendfile', () => {
  const strace = spawnSync('strace', ['-V']).status === 0
  if (!strace) console.warn('SKIPPED: strace was not found')

  it.runIf(strace)('T51: the kernel moves the body, and nothing of it is read into the process', async () => {
    const trace = path.join(directory, 'trace')
    const calls = 'trace=read,pread64,preadv,preadv2,readv,sendfile,splice,mmap'
    const { port, stop } = await startServer(['strace', '-f', '-y', '-e', calls, '-o', trace], 'native', 60_000)
    for (let i = 0; i < 3; i++) expect((await get(port, '/')).body.equals(file.content)).toBe(true)
    await stop()
    const lines = readFileSync(trace, 'utf8').split('\n')
    const sent = lines.filter((line) => /\bsendfile[( ]/.test(line)).map((line) => Number(/ = (\d+)$/.exec(line)?.[1] ?? 0))
    expect(sent.reduce((sum, bytes) => sum + bytes, 0)).toBe(3 * file.content.length)
    const reads = lines.filter((line) => line.includes(`<${file.path}>`) && !/\bsendfile\(/.test(line))
    // But for single bytes by which the pump asks whether a page is in memory.
    expect(reads.filter((line) => !line.includes('preadv2('))).toEqual([])
    const probes = lines.filter((line) => /\bpreadv2[( ]/.test(line) && !line.includes('<unfinished'))
    expect(probes.filter((line) => !/ = ([01]|-1 EAGAIN.*)$/.test(line))).toEqual([])
  })

  it('G12: 500 clients that do not read cost next to nothing, and all end by the stall timeout or by going away', async () => {
    const clients = 500
    const { port, stop } = await startServer([], 'native', 5000)
    await get(port, '/')
    const before = await factsOf(port)
    const sockets: Socket[] = []
    for (let i = 0; i < clients; i++) {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => {}).pause()
      socket.write(getText('/'))
      sockets.push(socket)
    }
    // A socket and its duplicate each.
    const during = await until(port, ({ descriptors }) => descriptors >= before.descriptors + 2 * clients)
    const each = (during.rss - before.rss) / clients
    console.log(`      ${clients} stalled clients of a 10 MiB body: ${(each / KiB).toFixed(1)} KiB of memory each`)
    expect(each).toBeLessThan(64 * KiB)
    for (const socket of sockets.slice(0, clients / 2)) socket.destroy()
    const after = await until(port, ({ counters }) => counters.broken === clients)
    expect(after.counters.sendfile).toBe(1)
    await until(port, ({ descriptors }) => descriptors <= before.descriptors)
    for (const socket of sockets) socket.destroy()
    await stop()
  })
})
