import type { Backend } from '../../lib/kernels/kernels.js'
import { Environment, environmentFor } from '../../lib/log/environment.js'
import { DEFAULT_ENVIRONMENT } from '../../lib/options.js'

/** Both implementations of `Kernels`; the addon is left out, with a printed reason, only where it cannot be loaded. */
export const backends: Backend[] = ['native', 'js'].filter((name): name is Backend => isAvailable(name as Backend))

function isAvailable(backend: Backend): boolean {
  if (backend === 'js') return true
  try {
    environmentFor('native')
    return true
  } catch (error) {
    console.warn(`SKIPPED: every suite on the native backend: ${(error as Error).message}`)
    return false
  }
}

/** The environment that logs of this backend use in this thread: its kernels carry the testing controls. */
export function environmentOf(backend: Backend): Environment {
  return environmentFor(backend)
}

/** The controls of the Io table behind every log of this backend in this thread. */
export function testingOf(backend: Backend) {
  return environmentFor(backend).kernels.testing
}

/** An environment beside the one that logs use, for kernels that are driven directly. */
export function freshEnvironment(backend: Backend): Environment {
  return new Environment(backend, { ...DEFAULT_ENVIRONMENT })
}
