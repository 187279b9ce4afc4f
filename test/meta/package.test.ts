/** What npm would publish, and that it can be loaded both ways without touching a binary. */
import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

let packed: string[]
let consumer: string

function node(args: string[], cwd = consumer) {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd, encoding: 'utf8' })
  return { status, stdout, stderr }
}

beforeAll(() => {
  const { stdout, stderr } = spawnSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root, encoding: 'utf8' })
  const [report] = JSON.parse(stdout || `[] // ${stderr}`) as Array<{ files: Array<{ path: string }> }>
  packed = report.files.map(({ path }) => path)

  // As a consumer has it: only what is packed, below a node_modules, nothing of this checkout above it.
  consumer = mkdtempSync(join(tmpdir(), 'sealog-consumer-'))
  writeFileSync(join(consumer, 'package.json'), '{"name":"consumer"}')
  for (const path of packed) {
    const target = join(consumer, 'node_modules', 'sealog', path)
    mkdirSync(dirname(target), { recursive: true })
    cpSync(join(root, path), target)
    chmodSync(target, statSync(join(root, path)).mode)
  }
})

afterAll(() => rmSync(consumer, { recursive: true, force: true }))

test('the tarball holds the compiled library, the sources of the addon and the papers', () => {
  for (const path of [
    'package.json',
    'LICENSE',
    'LICENSE.zstd',
    'CHANGELOG.md',
    'dist/index.js',
    'dist/index.d.ts',
    'dist/cli/main.js',
    'dist/kernels/binding.cjs',
  ])
    expect(packed).toContain(path)
  expect(packed.some((path) => path.startsWith('native/core/'))).toBe(true)
})

test('the tarball has no binding.gyp at its root: package managers would compile at install', () => {
  expect(packed).not.toContain('binding.gyp')
})

test('the tarball holds no tests, benchmarks, build products or data', () => {
  expect(packed.filter((path) => /^(test|bench|build|data|demo|lib|scripts|node_modules)\/|^native\/(test|fuzz|bench|build)|\.map$/.test(path))).toEqual([])
})

test('installing runs no script', () => {
  const { scripts, gypfile } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>
    gypfile?: boolean
  }
  expect(Object.keys(scripts).filter((name) => /^(pre|post)?(install|prepare)$/.test(name))).toEqual([])
  expect(gypfile).toBe(false)
})

test("require('sealog') works", () => {
  const { status, stdout, stderr } = node(['-e', "const { Log, configure } = require('sealog'); console.log(typeof Log.open, typeof configure)"])
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'function function\n', stderr: '' })
})

test("import 'sealog' works and gives the same names", () => {
  const script =
    "import * as all from 'sealog'; import { createRequire } from 'node:module'; const names = (o) => Object.keys(o).filter((n) => n !== 'module.exports').sort().join();\
    const required = createRequire(process.cwd() + '/x.js')('sealog'); console.log(names(all) === names(required), all.Log === required.Log)"
  const { status, stdout, stderr } = node(['--input-type=module', '-e', script])
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'true true\n', stderr: '' })
})

test('importing loads no binary', () => {
  const script = "process.dlopen = (module, file) => { console.log('loaded ' + file); process.exit(1) }; require('sealog'); console.log('nothing loaded')"
  expect(node(['-e', script])).toEqual({ status: 0, stdout: 'nothing loaded\n', stderr: '' })
})

test('importing changes nothing in the process: it can end at once, no handler or timer is left', () => {
  const script =
    "const before = process.eventNames().length; require('sealog'); console.log(process.eventNames().length - before, process.getActiveResourcesInfo().filter((r) => r !== 'PipeWrap' && r !== 'TTYWrap').length)"
  expect(node(['-e', script])).toEqual({ status: 0, stdout: '0 0\n', stderr: '' })
})

test('the command is executable and starts with a shebang', () => {
  const command = join(root, 'dist', 'cli', 'main.js')
  expect(readFileSync(command, 'utf8').startsWith('#!/usr/bin/env node\n')).toBe(true)
  if (process.platform !== 'win32') expect(statSync(command).mode & 0o111).toBe(0o111)
})
