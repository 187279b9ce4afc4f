import zlib from 'node:zlib'
import { Bench } from 'tinybench'
import type { Case, Contender, Measurement, PeerPackage, Results, Verdict } from '../harness/case.js'
import { loadPeer } from '../harness/contenders.js'
import { loadKernels } from '../harness/kernels.js'
import { rawLimit } from '../harness/raw-limits.js'

const SIZES = [64, 256, 1024, 4096, 16384, 65536] as const
const LARGEST = 65536
const CORE = 'C++ loop'
const SSE42 = 'C++ loop, SSE4.2'

const key = (size: number) => `gbs${size}`

/** The pattern of raw_limits.cc, whose CRC both sides report. */
function pattern(size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => i * 31 + (i >> 8))
}

function perSize(of: (size: number) => number): Record<string, number> {
  return Object.fromEntries(SIZES.map((size) => [key(size), of(size)]))
}

/** The core's CRC without Node: the fastest implementation, or the named one. */
function coreLoop(name: string, implementation?: string): Contender {
  return {
    name,
    kind: 'baseline',
    measure: async () => {
      const outputs = SIZES.map((size) => rawLimit('crc', implementation === undefined ? { size } : { size, implementation }))
      return {
        values: Object.fromEntries(outputs.map(({ size, bytesPerSecond }) => [key(size), bytesPerSecond / 1e9])),
        work: { crc: outputs.at(-1)!.crc },
      }
    },
  }
}

const memcpy: Contender = {
  name: 'memcpy',
  kind: 'limit',
  measure: async () => ({ values: perSize((size) => rawLimit('memcpy', { size }).bytesPerSecond / 1e9), work: {} }),
}

interface Checksum {
  of(bytes: Uint8Array): number
  end?(): void
}

/** `crc32c`: the others, of another polynomial, have another result. */
function fromJavaScript(name: string, kind: Contender['kind'], load: () => Promise<Checksum> | Checksum, packageName?: PeerPackage, crc32c = true): Contender {
  return {
    name,
    kind,
    package: packageName,
    measure: async (): Promise<Measurement> => {
      const checksum = await load()
      const bench = new Bench({ time: 150, warmupTime: 50 })
      let sink = 0
      for (const size of SIZES) {
        const bytes = Buffer.from(pattern(size))
        const calls = Math.max(1, Math.ceil(65536 / size))
        bench.add(key(size), () => {
          for (let i = 0; i < calls; i++) sink ^= checksum.of(bytes)
        })
      }
      await bench.run()
      const values: Record<string, number> = {}
      for (const task of bench.tasks) {
        if (task.result.state !== 'completed') throw new Error(`tinybench: ${task.result.state}`)
        const size = Number(task.name.slice(3))
        values[task.name] = (Math.max(1, Math.ceil(65536 / size)) * size) / (task.result.latency.p50 * 1e6)
      }
      const crc = checksum.of(Buffer.from(pattern(LARGEST))) >>> 0
      checksum.end?.()
      if (!Number.isInteger(sink)) throw new Error('a CRC was no integer')
      return { values, work: crc32c ? { crc } : {} }
    },
  }
}

async function kernels(backend: 'native' | 'js'): Promise<Checksum> {
  const loaded = await loadKernels(backend)
  return { of: (bytes) => loaded.crc32c(bytes, 0), end: () => loaded.stop() }
}

function zlibChecksum(): Checksum {
  const { crc32 } = zlib as { crc32?: (bytes: Uint8Array) => number }
  if (crc32 === undefined) throw new Error('this Node has no zlib.crc32')
  return { of: (bytes) => crc32(bytes) }
}

const THROUGH_ADDON = 'sealog kernels.crc32c'

export const crc32c: Case = {
  name: 'crc32c',
  roundsFactor: 0.6,
  quickRounds: 1,
  title: 'CRC-32C by size of the piece, GB/s',
  metrics: [...SIZES].reverse().map((size) => ({ key: key(size), label: size < 1024 ? `${size} B` : `${size / 1024} KiB`, better: 'higher' as const })),
  contenders: [
    fromJavaScript(THROUGH_ADDON, 'sealog', () => kernels('native')),
    coreLoop(CORE),
    coreLoop(SSE42, 'sse4.2'),
    memcpy,
    fromJavaScript('sealog js', 'baseline', () => kernels('js')),
    fromJavaScript(
      '@node-rs/crc32 crc32c',
      'peer',
      () => ({ of: (loadPeer('@node-rs/crc32') as { crc32c(bytes: Uint8Array): number }).crc32c }),
      '@node-rs/crc32',
    ),
    fromJavaScript('fast-crc32c', 'peer', () => ({ of: (loadPeer('fast-crc32c') as { calculate(bytes: Uint8Array): number }).calculate }), 'fast-crc32c'),
    fromJavaScript('zlib.crc32 (not Castagnoli)', 'peer', zlibChecksum, undefined, false),
  ],
  targets: [
    { text: '≥ 25 GB/s on 64 KiB where the CPU has VPCLMULQDQ', needs: [CORE], judge: (results) => atLeast(results, CORE, 25) },
    { text: '≥ 15 GB/s on 64 KiB with SSE4.2', needs: [SSE42], judge: (results) => atLeast(results, SSE42, 15) },
  ],
}

function atLeast(results: Results, contender: string, bound: number): Verdict {
  const rate = results.median(contender, key(LARGEST))
  return { measured: `${rate.toFixed(1)} GB/s`, reached: rate >= bound }
}
