/** What the figures were measured on. */
import { execFileSync } from 'node:child_process'
import { readFileSync, statfsSync } from 'node:fs'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { resolve } from 'node:path'

export interface Machine {
  readonly processor: string
  readonly cores: number
  readonly instructions: readonly string[]
  readonly memoryBytes: number
  readonly kernel: string
  readonly fileSystem: string
  readonly freeBytes: number
  readonly node: string
  readonly compiler: string
  /** One-minute load average before the run: above the number of cores the figures are noise. */
  readonly load: number
}

const TELLING_INSTRUCTIONS = ['sse4_2', 'pclmulqdq', 'vpclmulqdq', 'avx2', 'avx512f', 'crc32', 'pmull']

export function describeMachine(directory: string): Machine {
  const list = cpus()
  const { bavail, bsize } = statfsSync(directory)
  return {
    processor: list[0]?.model.trim() ?? process.arch,
    cores: list.length,
    instructions: instructions(),
    memoryBytes: totalmem(),
    kernel: `${process.platform} ${release()}`,
    fileSystem: fileSystem(directory),
    freeBytes: bavail * bsize,
    node: process.version,
    compiler: compiler(),
    load: loadavg()[0],
  }
}

/** File systems that keep files in memory: what they sync proves nothing. */
export function isMemory(machine: Machine): boolean {
  return /^(tmpfs|ramfs|devtmpfs) /.test(machine.fileSystem)
}

export function machineLines(machine: Machine): string[] {
  const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`
  return [
    `machine      ${machine.processor}, ${machine.cores} cores (${machine.instructions.join(' ')}), ${gib(machine.memoryBytes)}, load ${machine.load.toFixed(2)}`,
    `system       ${machine.kernel}, ${machine.fileSystem}, ${gib(machine.freeBytes)} free`,
    `software     Node ${machine.node}, ${machine.compiler}`,
  ]
}

function instructions(): string[] {
  try {
    const flags = new Set(/^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'latin1'))?.[1].split(' '))
    return TELLING_INSTRUCTIONS.filter((name) => flags.has(name))
  } catch {
    return [] // not Linux: the processor's name has to do
  }
}

/** Type and options of the mount with the longest matching path. */
function fileSystem(directory: string): string {
  try {
    const path = `${resolve(directory)}/`
    const mounts = readFileSync('/proc/self/mounts', 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => line.split(' '))
    const holding = mounts.filter(([, point]) => path.startsWith(point === '/' ? '/' : `${point}/`))
    const [device, , type, options] = holding.reduce((best, mount) => (mount[1].length >= best[1].length ? mount : best))
    return `${type} on ${device} (${options})`
  } catch {
    return 'unknown file system'
  }
}

function compiler(): string {
  try {
    return execFileSync('c++', ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split('\n')[0]
  } catch {
    return 'no compiler'
  }
}
