import { loadBinding } from './binding.cjs'
import {
  COPY_OUT_BYTES,
  EVENT_ROWS,
  EVENT_WIDTH,
  KEYS_LENGTH,
  type KernelLimits,
  type Kernels,
  OUT_LENGTH,
  type Shared,
  STAGED_ROWS,
  STAGED_WIDTH,
  type Wake,
} from './kernels.js'

/** The C++ implementation. Throws when no binary can be loaded on this machine; the error lists what was tried. */
export function loadNativeKernels(limits: KernelLimits, wake: Wake): Kernels {
  const binding = loadBinding()
  // Buffers of their own: the addon keeps their addresses.
  const shared: Shared = {
    staging: new Uint8Array(new ArrayBuffer(limits.stagingBytes)),
    rows: new Float64Array(new ArrayBuffer(STAGED_ROWS * STAGED_WIDTH * Float64Array.BYTES_PER_ELEMENT)),
    events: new Float64Array(new ArrayBuffer(EVENT_ROWS * EVENT_WIDTH * Float64Array.BYTES_PER_ELEMENT)),
    out: new Float64Array(new ArrayBuffer(OUT_LENGTH * Float64Array.BYTES_PER_ELEMENT)),
    copyOut: new Uint8Array(new ArrayBuffer(COPY_OUT_BYTES)),
    keys: new Uint8Array(new ArrayBuffer(KEYS_LENGTH)),
  }
  const { staging, rows, events, out, copyOut, keys } = shared
  const kernels = binding.create(
    limits.syncThreads,
    limits.writeThreads,
    limits.readerThreads,
    limits.sealThreads,
    limits.archiveThreads,
    limits.sendThreads,
    limits.cacheBytes,
    staging,
    rows,
    events,
    out,
    copyOut,
    keys,
    wake,
  )
  // The functions themselves, without wrappers: they know their environment and need no `this`.
  return { backend: 'native', shared, ...kernels }
}
