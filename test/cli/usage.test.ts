import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { sealog, temporary } from './command.js'

let place: ReturnType<typeof temporary>
beforeEach(() => {
  place = temporary()
})
afterEach(() => place.remove())

test.each(['append', 'cat', 'tail', 'stat', 'verify', 'repair', 'chunks', 'serve'])('%s --help explains itself', async (verb) => {
  const { status, stdout } = await sealog([verb, '--help'])
  expect(status).toBe(0)
  expect(stdout).toContain(`Usage: sealog ${verb} [options] <dir>`)
  expect(stdout).toContain('--json')
  expect(stdout).toContain('--backend <name>')
})

test('--help lists the commands and the exit codes', async () => {
  const { status, stdout } = await sealog(['--help'])
  expect(status).toBe(0)
  for (const text of ['append', 'cat', 'tail', 'stat', 'verify', 'repair', 'chunks', 'serve', 'Exit codes']) expect(stdout).toContain(text)
  expect(stdout).not.toContain('demo')
})

test.each([
  [],
  ['nonsense'],
  ['cat'],
  ['cat', 'log', '--from', '-1'],
  ['cat', 'log', '--from', '1.5'],
  ['cat', 'log', '--limit', ''],
  ['append', 'log', '--codec', 'xml'],
  ['append', 'log', '--key', 'no-pointer'],
  ['repair', 'log'],
  ['repair', 'log', '--policy', 'hope'],
  ['stat', 'log', '--backend', 'rust'],
  ['stat', 'log', '--wrong'],
  ['serve', 'log', '--port', '65536'],
  ['serve', 'log', '--host', '0.0.0.0'],
])('a wrong command line is exit code 2: %j', async (...args) => {
  const { status, stdout, stderr } = await sealog(args, '', { cwd: place.path })
  expect(status).toBe(2)
  expect(stdout).toBe('')
  expect(stderr).not.toBe('')
})

test.each(['cat', 'tail', 'stat', 'verify', 'chunks', 'serve'])('%s of a directory without a log is exit code 4', async (verb) => {
  const { status, stdout, stderr } = await sealog([verb, join(place.path, 'none'), '--json'])
  expect(status).toBe(4)
  expect(stdout).toBe('')
  expect((JSON.parse(stderr) as { error: { code: string } }).error.code).toBe('ERR_SEALOG_NOT_FOUND')
})

test('a file in place of the directory is a typed error', async () => {
  const file = join(place.path, 'file')
  writeFileSync(file, '')
  const { status, stderr } = await sealog(['append', file, '--json'], '1\n')
  expect(status).not.toBe(0)
  expect((JSON.parse(stderr) as { error: { code: string } }).error.code).toMatch(/^ERR_SEALOG_/)
})
