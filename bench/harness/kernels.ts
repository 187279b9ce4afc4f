/** The kernels are no public interface; taken from the built package by path. */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ROOT } from './paths.js'

export interface BenchKernels {
  crc32c(bytes: Uint8Array, seed: number): number
  requestSync(operation: number, fd: number, a: number, b: number): number
  stop(): void
}

const LIMITS = { syncThreads: 1, writeThreads: 1, readerThreads: 1, sealThreads: 1, archiveThreads: 1, sendThreads: 2, cacheBytes: 0, stagingBytes: 65536 }

export async function loadKernels(backend: 'native' | 'js'): Promise<BenchKernels> {
  const { createKernels } = (await import(pathToFileURL(join(ROOT, 'dist/kernels/backend.js')).href)) as {
    createKernels(backend: 'native' | 'js', limits: object, wake: () => void): BenchKernels
  }
  return createKernels(backend, LIMITS, () => {})
}
