import { LogError, warn } from '../errors.js'
import { createJsKernels } from './js/index.js'
import type { Backend, KernelLimits, Kernels, Wake } from './kernels.js'
import { loadNativeKernels } from './native.js'

let warned = false

/** Makes the kernels of a backend. An automatic fallback to the twin is one process warning, never silence. */
export function createKernels(backend: 'auto' | Backend, limits: KernelLimits, wake: Wake): Kernels {
  if (backend === 'js') return createJsKernels(limits, wake)
  try {
    return loadNativeKernels(limits, wake)
  } catch (error) {
    if (backend === 'native') throw new LogError('ERR_SEALOG_BACKEND', `the native addon cannot be loaded: ${(error as Error).message}`, { cause: error })
    if (!warned) warn('SEALOG_JS_BACKEND', `sealog runs on its slower pure-JavaScript backend: ${(error as Error).message}`)
    warned = true
    return createJsKernels(limits, wake)
  }
}
