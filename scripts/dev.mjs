#!/usr/bin/env node
// The one door to everything a developer does: npm start, npm test and their like. Plain JavaScript, needs nothing but Node.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { constants, setPriority, tmpdir } from 'node:os'
import { join } from 'node:path'
import { bootstrap, withLock } from './bootstrap.mjs'
import { addonUnderAsan, fuzz, nativeTests, tidy } from './native.mjs'
import { capture, Failure, findCommand, root, run, say, tool } from './process.mjs'

const add = (a, b) => ({ passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped })
const none = { passed: 0, failed: 0, skipped: 0 }

/** The last line of a test run, alone, and what it means for the exit code. */
function conclude({ passed, failed, skipped }) {
  console.log(`${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`)
  if (failed > 0 || passed === 0) return 1
  if (skipped > 0 && process.env.SEALOG_NO_SKIP) {
    say('SEALOG_NO_SKIP is set: a skipped test counts as a failure')
    return 1
  }
  return 0
}

function vitest(args, env) {
  const directory = mkdtempSync(join(tmpdir(), 'sealog-vitest-'))
  const report = join(directory, 'report.json')
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
  const code = run(process.execPath, [tool('vitest/vitest.mjs'), 'run', ...reporters, ...args], { env })
  const result = existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')) : {}
  rmSync(directory, { recursive: true, force: true })
  const counts = {
    passed: result.numPassedTests ?? 0,
    failed: result.numFailedTests ?? 0,
    skipped: (result.numPendingTests ?? 0) + (result.numTodoTests ?? 0),
  }
  // A file that does not load or an error outside of any test has no failed test to its name.
  if (code !== 0 && counts.failed === 0) counts.failed = 1
  return counts
}

/** Seconds for each fuzz target in `npm test`; `npm run fuzz` is for finding something. */
const FUZZ_SECONDS = 5

/** All C++ tests and, briefly, the fuzz targets. → counts */
const allNative = () => withLock(() => [...['test', 'asan', 'tsan'].map(nativeTests), fuzz(FUZZ_SECONDS)].reduce(add, none))

/**
 * Runs the C++ part in a process of its own, beside the JavaScript suites: those wait for timers, disks and children for half of their time, which compilers can use.
 * → its counts, later
 */
function startNative() {
  const directory = mkdtempSync(join(tmpdir(), 'sealog-native-'))
  const report = join(directory, 'counts.json')
  const child = spawn(process.execPath, [process.argv[1], 'native', 'all', report], { cwd: root, stdio: 'inherit' })
  const ended = once(child, 'exit')
  // what the suites measure in time they measure with a processor to themselves
  if (child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_LOW)
  return async () => {
    await ended
    const counts = existsSync(report) ? JSON.parse(readFileSync(report, 'utf8')) : { ...none, failed: 1 }
    rmSync(directory, { recursive: true, force: true })
    return counts
  }
}

/** Arguments narrow the run to matching JavaScript tests. */
async function test(args) {
  // without the addon the suites run on one backend only, which must not look like success
  const backends = bootstrap().native ? none : { ...none, skipped: 1 }
  if (args.length > 0) return conclude(add(backends, vitest(args)))
  const native = startNative()
  const javascript = vitest([])
  return conclude([await native(), javascript].reduce(add, backends))
}

function build() {
  bootstrap()
  return 0
}

function start(args) {
  bootstrap({ mustCompile: false })
  return run(process.execPath, [join(root, 'dist', 'cli', 'main.js'), 'demo', ...args])
}

function lint() {
  bootstrap({ only: 'install' })
  const codes = [
    run(process.execPath, [tool('@biomejs/biome/bin/biome'), 'check', '--error-on-warnings', '.']),
    run(process.execPath, [tool('typescript/bin/tsc'), '-p', root, '--noEmit']),
    run(process.execPath, [tool('typescript/bin/tsc'), '-p', join(root, 'test')]),
  ]
  const formatter = findCommand('clang-format')
  if (formatter) {
    const pattern = ['native/*.h', 'native/*.cc', 'native/**/*.h', 'native/**/*.cc']
    const { output } = capture('git', ['ls-files', '--cached', '--others', '--exclude-standard', ...pattern])
    const files = output.split('\n').filter((file) => file && existsSync(join(root, file)))
    if (files.length > 0) codes.push(run(formatter, ['--dry-run', '--Werror', ...files]))
  } else say(' skip  clang-format was not found')
  return codes.some((code) => code !== 0) ? 1 : 0
}

function bench(args) {
  bootstrap()
  const compiled = run(process.execPath, [tool('typescript/bin/tsc'), '-p', join(root, 'bench')])
  return compiled || run(process.execPath, [join(root, 'build', 'bench', 'js', 'run.js'), ...args])
}

function soak(args) {
  bootstrap()
  const counts = { SEALOG_SOAK: '1', SEALOG_DIFFERENTIAL_RUNS: '1000', SEALOG_LEAK_ROUNDS: '400', SEALOG_WORKER_KILLS: '2000' }
  const suites = args.length > 0 ? args : ['test/crash', 'test/differential', 'test/process']
  return conclude(vitest(['--testTimeout=0', ...suites], { ...counts, ...process.env }))
}

/** The targets below C++ (frames) and below TypeScript (whole files), `seconds` each; the latter share theirs between the backends. */
function longFuzz([target, seconds = '1800']) {
  const files = ['recover', 'index', 'manifest', 'committed']
  let counts = none
  if (!files.includes(target))
    counts = add(
      counts,
      withLock(() => fuzz(Number(seconds), target)),
    )
  if (target === undefined || files.includes(target)) {
    bootstrap()
    const filter = target === undefined ? [] : ['-t', `${target}: `]
    counts = add(counts, vitest(['test/damage/mutations.test.ts', ...filter], { SEALOG_FUZZ_SECONDS: String(Number(seconds) / 2) }))
  }
  return conclude(counts)
}

function native([what, ...args]) {
  switch (what) {
    case 'test':
    case 'asan':
    case 'tsan':
      return conclude(withLock(() => nativeTests(what)))
    case 'all': {
      const counts = allNative()
      if (args.length === 0) return conclude(counts)
      writeFileSync(args[0], JSON.stringify(counts))
      return counts.failed > 0 ? 1 : 0
    }
    case 'fuzz':
      return conclude(withLock(() => fuzz(Number(args[0] ?? 10), args[1])))
    case 'tidy':
      return withLock(tidy)
    case 'addon-asan':
      bootstrap()
      return addonUnderAsan(args)
    default:
      throw new Failure('usage: dev.mjs native all | test | asan | tsan | fuzz [seconds] [target] | tidy | addon-asan [test filter …]')
  }
}

const verbs = { build, test, start, lint, bench, soak, fuzz: longFuzz, native }
const [verb, ...args] = process.argv.slice(2)
try {
  if (!Object.hasOwn(verbs, verb ?? '')) throw new Failure(`usage: dev.mjs ${Object.keys(verbs).join(' | ')} [arguments]`)
  process.exitCode = await verbs[verb](args)
} catch (error) {
  if (!(error instanceof Failure)) throw error
  say(error.message)
  process.exitCode = 1
}
