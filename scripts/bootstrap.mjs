// Makes a checkout ready to run: dependencies, addon, compiled TypeScript; each only when what it is made of has changed.
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, linkSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { capture, Failure, findCommand, nodeHeaders, root, say, step, tool } from './process.mjs'

// Lives in node_modules so that it disappears together with what it vouches for.
const stampFile = join(root, 'node_modules', '.sealog-stamp')
const lockFile = join(root, 'build', '.bootstrap-lock')
const binary = join(root, 'build', 'Release', 'sealog.node')

const readStamp = () => {
  try {
    return JSON.parse(readFileSync(stampFile, 'utf8'))
  } catch {
    return {}
  }
}
const writeStamp = (part) => writeFileSync(stampFile, JSON.stringify({ ...readStamp(), ...part }))

const filesBelow = (directory) =>
  existsSync(directory)
    ? readdirSync(directory, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
        .sort()
    : []

/** Contents, not times: a checkout, a copy and a cache restore change times without changing anything. */
function fingerprint(files, ...extra) {
  const hash = createHash('sha256').update(extra.join('\0'))
  for (const file of files) hash.update(`\0${relative(root, file)}\0`).update(readFileSync(file))
  return hash.digest('hex')
}

const sleep = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)

const isAlive = (pid) => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

const readHolder = () => {
  try {
    return Number(readFileSync(lockFile, 'utf8'))
  } catch {
    return undefined
  }
}

/** One process builds, whoever comes later waits and finds everything made. A lock whose process is gone is taken over. */
export function withLock(work) {
  mkdirSync(dirname(lockFile), { recursive: true })
  const mine = `${lockFile}.${process.pid}`
  writeFileSync(mine, `${process.pid}`)
  for (let told = false; ; ) {
    try {
      linkSync(mine, lockFile) // appears with its content or not at all
      break
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
      const holder = readHolder()
      if (holder === undefined) continue
      if (!isAlive(holder)) rmSync(lockFile, { force: true })
      else if (!told) {
        told = true
        say(`waiting for process ${holder}, which is building …`)
      }
      sleep(200)
    }
  }
  try {
    return work()
  } finally {
    rmSync(lockFile, { force: true })
    rmSync(mine, { force: true })
  }
}

function install() {
  const lock = join(root, 'package-lock.json')
  const wanted = fingerprint([lock])
  if (readStamp().install === wanted && existsSync(tool('typescript'))) return
  say('installing dependencies …')
  // Said on the command line, so that neither ignore-scripts, omit=dev nor NODE_ENV=production in the user's settings changes what is installed.
  const args = ['ci', '--include=dev', '--ignore-scripts', '--no-audit', '--no-fund']
  const npm = process.env.npm_execpath
  const result = npm?.endsWith('.js')
    ? step('npm ci', process.execPath, [npm, ...args])
    : process.platform === 'win32'
      ? step('npm ci', process.env.ComSpec ?? 'cmd.exe', ['/d', '/s', '/c', ['npm', ...args].join(' ')])
      : step('npm ci', 'npm', args)
  if (!result.ok) throw new Failure('dependencies could not be installed')
  writeStamp({ install: wanted })
}

/** Why the addon cannot be compiled here, or undefined. */
function whyNoCompiler() {
  if (process.platform === 'win32') return undefined
  if (!findCommand(process.env.CXX, 'c++', 'g++', 'clang++')) return 'no C++ compiler (c++, g++, clang++) was found'
  if (!findCommand('make', 'gmake')) return 'make was not found'
  if (!findCommand(process.env.PYTHON, 'python3', 'python')) return 'Python, which node-gyp needs, was not found'
  return undefined
}

const onlyJavaScript = (reason) => {
  say(`the addon is not built: ${reason}`)
  say('going on with the JavaScript backend')
  rmSync(binary, { force: true })
  return false
}

function buildAddon(mustCompile) {
  const inputs = [join(root, 'binding.gyp'), ...['core', 'os', 'binding'].flatMap((part) => filesBelow(join(root, 'native', part)))]
  const lists = ['sources.txt', 'zstd-sources.txt', 'zstd.cjs'].map((name) => join(root, 'native', name))
  const wanted = fingerprint([...inputs, ...lists], process.versions.modules, process.platform, process.arch)
  if (readStamp().addon === wanted && existsSync(binary)) return true
  const reason = whyNoCompiler()
  if (reason) return onlyJavaScript(reason)

  const gyp = tool('node-gyp/bin/node-gyp.js')
  const headers = nodeHeaders()
  const nodedir = headers ? [`--nodedir=${headers}`] : []
  const configured = capture(process.execPath, [gyp, 'configure', ...nodedir])
  if (!configured.ok) {
    say(configured.output.trimEnd())
    return onlyJavaScript('node-gyp configure failed (see above)')
  }
  say('building the addon …')
  const jobs = `${availableParallelism()}`
  const built = step('addon', process.execPath, [gyp, 'build', '-j', jobs, ...nodedir])
  if (built.ok) {
    writeStamp({ addon: wanted })
    return true
  }
  if (mustCompile) throw new Failure('the addon does not compile')
  return onlyJavaScript('it does not compile here (see above)')
}

function compileTypeScript() {
  const dist = join(root, 'dist')
  const sources = filesBelow(join(root, 'lib'))
  const wanted = fingerprint([...sources, join(root, 'tsconfig.json')])
  if (readStamp().dist === wanted && existsSync(join(dist, 'index.js'))) return
  const result = step('TypeScript', process.execPath, [tool('typescript/bin/tsc'), '-p', root])
  if (!result.ok) throw new Failure('TypeScript reports errors')
  removeOrphans(dist)
  const command = join(dist, 'cli', 'main.js')
  if (existsSync(command)) chmodSync(command, 0o755)
  writeStamp({ dist: wanted })
}

/** What was compiled from sources that are no more must not be packed or found by a test. */
function removeOrphans(dist) {
  for (const file of filesBelow(dist)) {
    const stem = relative(dist, file).replace(/(\.d)?\.(c?)[jt]s(\.map)?$/, '.$2ts')
    if (stem.endsWith('ts') && !existsSync(join(root, 'lib', stem))) rmSync(file)
  }
}

/**
 * → { native }: whether the addon is there. `mustCompile`: with a compiler at hand, an addon that does not compile is an error and not a reason
 * to fall back. `only`: 'install' stops after the dependencies.
 */
export function bootstrap({ mustCompile = true, only } = {}) {
  return withLock(() => {
    install()
    if (only === 'install') return { native: existsSync(binary) }
    const native = buildAddon(mustCompile)
    compileTypeScript()
    return { native }
  })
}
