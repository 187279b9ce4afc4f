/** What the addon shows to the process that loads it. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const addon = fileURLToPath(new URL('../../build/Release/sealog.node', import.meta.url))
const nm = process.platform === 'linux' && existsSync(addon) ? spawnSync('nm', ['-D', addon], { encoding: 'utf8' }) : undefined
const readable = nm?.status === 0
if (!readable) console.warn('SKIPPED: symbols of the addon: it has not been compiled here, or there is no `nm`')

// Node has a zstd of its own, of another version: neither may be taken for the other.
test.runIf(readable)('no symbol of zstd is offered or asked for', () => {
  const names = (nm?.stdout ?? '').split('\n').map((line) => line.split(' ').at(-1) ?? '')
  expect(names).toContain('napi_register_module_v1')
  expect(names.filter((name) => /^_*(zstd|zbuff|zdict|xxh|fse|huf|hist|err_|pool_|divsufsort)/i.test(name))).toEqual([])
})
