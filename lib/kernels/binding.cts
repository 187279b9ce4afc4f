/**
 * Finds the addon's binary. CommonJS, as only `require` loads one; the paths are literals in a switch, so that bundlers can follow them.
 * Loading this module loads no binary, `loadBinding` does.
 */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Capabilities, Kernels, Wake } from './kernels.js' with { 'resolution-mode': 'import' }

export interface NativeKernels extends Omit<Kernels, 'backend' | 'shared'> {
  readonly can: Capabilities
}

export interface NativeBinding {
  create(
    syncThreads: number,
    writeThreads: number,
    readerThreads: number,
    sealThreads: number,
    archiveThreads: number,
    sendThreads: number,
    cacheBytes: number,
    staging: Uint8Array,
    rows: Float64Array,
    events: Float64Array,
    out: Float64Array,
    copyOut: Uint8Array,
    keys: Uint8Array,
    wake: Wake,
  ): NativeKernels
}

/** Where a binary may be, and how to load it from there. */
interface Candidate {
  readonly path: string
  readonly load: () => unknown
}

let loaded: NativeBinding | undefined

/** Throws an Error that names every path tried; its `cause` is an AggregateError of what happened at each. */
export function loadBinding(): NativeBinding {
  if (loaded !== undefined) return loaded
  const tried: string[] = []
  const errors: unknown[] = []
  for (const { path, load } of candidates()) {
    try {
      loaded = load() as NativeBinding
      return loaded
    } catch (error) {
      tried.push(path)
      errors.push(error)
    }
  }
  const platform = platformName()
  const message = tried.length === 0 ? `sealog has no binary for ${platform}` : `sealog's binary for ${platform} could not be loaded; tried ${tried.join(', ')}`
  throw new Error(message, { cause: new AggregateError(errors, message) })
}

function candidates(): Candidate[] {
  const override = process.env.SEALOG_BINARY
  if (override !== undefined && override !== '') return [{ path: override, load: () => require(resolve(override)) }]
  const found: Candidate[] = []
  // What was compiled here goes first, but only where there are sources to compile: never a stray build directory of somebody else.
  if (existsSync(join(__dirname, '../../native/binding'))) {
    found.push({ path: join(__dirname, '../../build/Release/sealog.node'), load: () => require('../../build/Release/sealog.node') })
  }
  const prebuilt = prebuild()
  if (prebuilt !== undefined) found.push({ path: join(__dirname, prebuilt.path), load: prebuilt.load })
  return found
}

function prebuild(): Candidate | undefined {
  switch (platformName()) {
    case 'linux-x64-glibc':
      return { path: '../../prebuilds/linux-x64/sealog.glibc.node', load: () => require('../../prebuilds/linux-x64/sealog.glibc.node') }
    case 'linux-x64-musl':
      return { path: '../../prebuilds/linux-x64/sealog.musl.node', load: () => require('../../prebuilds/linux-x64/sealog.musl.node') }
    case 'linux-arm64-glibc':
      return { path: '../../prebuilds/linux-arm64/sealog.glibc.node', load: () => require('../../prebuilds/linux-arm64/sealog.glibc.node') }
    case 'linux-arm64-musl':
      return { path: '../../prebuilds/linux-arm64/sealog.musl.node', load: () => require('../../prebuilds/linux-arm64/sealog.musl.node') }
    case 'darwin-x64':
      return { path: '../../prebuilds/darwin-x64/sealog.node', load: () => require('../../prebuilds/darwin-x64/sealog.node') }
    case 'darwin-arm64':
      return { path: '../../prebuilds/darwin-arm64/sealog.node', load: () => require('../../prebuilds/darwin-arm64/sealog.node') }
    case 'win32-x64':
      return { path: '../../prebuilds/win32-x64/sealog.node', load: () => require('../../prebuilds/win32-x64/sealog.node') }
    default:
      return undefined
  }
}

function platformName(): string {
  const name = `${process.platform}-${process.arch}`
  return process.platform === 'linux' ? `${name}-${libc()}` : name
}

/** Asks the process itself: files like /etc/alpine-release do not tell for every distribution or container. */
function libc(): 'glibc' | 'musl' {
  const report = process.report as NodeJS.ProcessReport & { excludeNetwork?: boolean }
  const before = report.excludeNetwork
  // Else the report would look up the names of open connections.
  report.excludeNetwork = true
  const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } }
  if (before !== undefined) report.excludeNetwork = before
  return header?.glibcVersionRuntime === undefined ? 'musl' : 'glibc'
}
