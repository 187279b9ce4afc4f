// The C++ side without Node: unit tests, sanitizers, fuzzers, clang-tidy, and the addon under AddressSanitizer.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { capture, Failure, findCommand, nodeHeaders, root, say, step, tool } from './process.mjs'

const source = join(root, 'native')
const jobs = `${availableParallelism()}`
const buildDirectory = (name) => join(source, `build-${name}`)

// Leaks of the test itself count; a race or an undefined operation ends the process.
const sanitizerOptions = {
  ASAN_OPTIONS: 'detect_leaks=1:detect_stack_use_after_return=1:abort_on_error=1',
  UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
  TSAN_OPTIONS: 'halt_on_error=1:second_deadlock_stack=1',
}

const clang = ['-DCMAKE_CXX_COMPILER=clang++', '-DCMAKE_C_COMPILER=clang']
// optimised lightly and with asserts: quick enough to run all tests, and stack traces still name the lines
const debuggable = [...clang, '-DCMAKE_BUILD_TYPE=RelWithDebInfo', '-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g']

const variants = {
  test: { title: 'C++ tests' },
  asan: { title: 'C++ tests, address and undefined behaviour', sanitize: 'address,undefined' },
  tsan: { title: 'C++ tests, threads', sanitize: 'thread' },
}

/**
 * Compiles and runs a program with these sanitizers: a compiler that is there may still lack their runtime, and a runtime may not like the kernel.
 * → { reason } when it cannot be, else { wrap }: what the command line is to start with.
 */
function probe(sanitize, main = 'int main() { return 0; }', args = []) {
  const compiler = findCommand('clang++')
  if (!compiler) return { reason: 'clang++ was not found' }
  const directory = mkdtempSync(join(tmpdir(), 'sealog-probe-'))
  try {
    const program = join(directory, 'probe')
    const compiled = capture(compiler, [`-fsanitize=${sanitize}`, '-x', 'c++', '-', '-o', program], { input: main })
    if (!compiled.ok) return { reason: `clang++ cannot link -fsanitize=${sanitize} (Debian: libclang-rt-14-dev)` }
    if (capture(program, args).ok) return { wrap: [] }
    // ThreadSanitizer of that age does not know the wider address randomisation of newer kernels.
    if (capture('setarch', ['-R', program, ...args]).ok) return { wrap: ['setarch', '-R'] }
    return { reason: `programs built with -fsanitize=${sanitize} do not run here` }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Names of the programs whose sources lie in a folder of native/. */
const programs = (folder, pattern) =>
  readdirSync(join(source, folder))
    .filter((name) => pattern.test(name))
    .map((name) => name.replace(/\.cc$/, ''))
    .sort()

/** Configures and builds these targets, or all; → directory, or undefined when it failed (which has been shown). */
function build(name, options, targets = []) {
  const directory = buildDirectory(name)
  const configured = capture('cmake', ['-S', source, '-B', directory, ...options])
  if (!configured.ok) {
    say(` FAIL  cmake (${name})\n${configured.output.trimEnd()}`)
    return undefined
  }
  const only = targets.length > 0 ? ['--target', ...targets] : []
  return step(`build ${name}`, 'cmake', ['--build', directory, '--parallel', jobs, ...only]).ok ? directory : undefined
}

/** Numbers of one ctest run from its JUnit report. */
function readReport(file) {
  const suite = existsSync(file) ? /<testsuite\b[^>]*>/.exec(readFileSync(file, 'utf8'))?.[0] : undefined
  const number = (name) => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(suite ?? '')?.[1] ?? 0)
  const skipped = number('skipped') + number('disabled')
  return { passed: number('tests') - number('failures') - skipped, failed: number('failures'), skipped }
}

const skip = (title, reason) => {
  say(` skip  ${title}: ${reason}`)
  return { passed: 0, failed: 0, skipped: 1 }
}
const failure = { passed: 0, failed: 1, skipped: 0 }

/** Builds and runs the C++ tests plainly or under sanitizers. → { passed, failed, skipped } */
export function nativeTests(variant) {
  const { title, sanitize } = variants[variant]
  if (!findCommand('cmake')) return skip(title, 'cmake was not found')
  if (!findCommand(process.env.CXX, 'c++', 'g++', 'clang++')) return skip(title, 'no C++ compiler was found')
  const { reason, wrap } = sanitize ? probe(sanitize) : { wrap: [] }
  if (reason) return skip(title, reason)
  const options = !sanitize ? [] : variant === 'asan' ? addressOptions() : [...debuggable, `-DSEALOG_SANITIZE=${sanitize}`]
  const directory = build(variant, options, programs('test', /_test\.cc$/))
  if (!directory) return failure
  const report = join(directory, 'report.xml')
  rmSync(report, { force: true })
  const [command, ...args] = [...wrap, 'ctest', '--test-dir', directory, '--output-on-failure', '-j', jobs, '--output-junit', report]
  const { ok } = step(title, command, args, { env: sanitizerOptions })
  const counts = readReport(report)
  return ok || counts.failed > 0 ? counts : failure
}

/** Tests under AddressSanitizer and fuzz targets are one build: the core is compiled once for both. */
const addressOptions = () => [...debuggable, '-DSEALOG_SANITIZE=address,undefined', `-DSEALOG_FUZZ=${probeFuzzer().reason ? 'OFF' : 'ON'}`]

const fuzzMain = 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }'

const probeFuzzer = () => probe('fuzzer,address', fuzzMain, ['-runs=1'])

/** Runs every fuzz target for so many seconds from the corpus of segments that make_corpus writes; what is found new stays in the build directory. → counts, one per target */
export function fuzz(seconds, only) {
  if (!findCommand('cmake')) return skip('fuzz', 'cmake was not found')
  const { reason, wrap } = probeFuzzer()
  if (reason) return skip('fuzz', reason)
  const targets = programs('fuzz', /_fuzz\.cc$/).filter((name) => !only || name.includes(only))
  if (targets.length === 0) throw new Failure(only ? `no fuzz target is called ${only}` : 'there are no fuzz targets')
  const directory = build('asan', addressOptions(), [...targets, 'make_corpus'])
  if (!directory) return failure
  const seeds = join(directory, 'seeds')
  mkdirSync(seeds, { recursive: true })
  const made = capture(join(directory, 'make_corpus'), [seeds])
  if (!made.ok) throw new Failure(made.output)
  const counts = { passed: 0, failed: 0, skipped: 0 }
  for (const target of targets) {
    const grown = join(directory, 'corpus', target)
    const artifacts = join(directory, 'artifacts', target)
    for (const path of [grown, artifacts]) mkdirSync(path, { recursive: true })
    const [command, ...args] = [...wrap, join(directory, target), `-max_total_time=${seconds}`, '-timeout=10', `-artifact_prefix=${artifacts}/`]
    args.push(grown, seeds)
    if (step(`${target}, ${seconds} s`, command, args, { env: sanitizerOptions }).ok) counts.passed++
    else counts.failed++
  }
  return counts
}

/** Builds everything with clang-tidy looking at each source; findings are errors. → exit code */
export function tidy() {
  if (!findCommand('clang-tidy')) throw new Failure('clang-tidy was not found')
  return build('tidy', [...(findCommand('clang++') ? clang : []), '-DSEALOG_TIDY=ON']) ? 0 : 1
}

/** Builds the addon with AddressSanitizer (cmake-js) and runs the JavaScript suite on it. → exit code */
export function addonUnderAsan(filters) {
  const { reason } = probe('address')
  if (reason) throw new Failure(reason)
  const output = buildDirectory('addon-asan')
  const headers = nodeHeaders()
  const built = step(
    'addon with AddressSanitizer',
    process.execPath,
    [
      tool('cmake-js/bin/cmake-js'),
      'build',
      `--directory=${source}`,
      `--out=${output}`,
      '--CDSEALOG_SANITIZE=address',
      '--CDCMAKE_CXX_COMPILER=clang++',
      '--CDCMAKE_C_COMPILER=clang',
    ],
    { env: headers ? { npm_config_nodedir: headers } : {} },
  )
  if (!built.ok) return 1
  const addon = [join(output, 'Release', 'sealog.node'), join(output, 'sealog.node')].find(existsSync)
  const runtime = capture('clang++', ['-print-file-name=libclang_rt.asan-x86_64.so']).output.trim()
  const result = step('JavaScript suite on it', process.execPath, [tool('vitest/vitest.mjs'), 'run', ...filters], {
    env: {
      LD_PRELOAD: runtime,
      SEALOG_BINARY: addon,
      // V8 keeps everything it ever allocated: leaks are looked for in the C++ tests
      ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1:alloc_dealloc_mismatch=0',
    },
  })
  if (result.ok) say(result.output.trimEnd().split('\n').slice(-6).join('\n'))
  return result.ok ? 0 : 1
}
