/** What the documents say is what the code says: error codes, members, options, defaults, links, and programs that run. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'
import { ERROR_CODES } from '../../lib/errors.js'
import { DEFAULT_ENVIRONMENT, newSettings, resolveReader, resolveSession } from '../../lib/options.js'
import { makeDirectory } from '../support/directories.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const read = (file: string) => readFileSync(path.join(root, file), 'utf8')
const docs = readdirSync(path.join(root, 'docs')).flatMap((name) => (name.endsWith('.md') ? [`docs/${name}`] : []))
const papers = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CHANGELOG.md', ...docs]

const api = read('docs/api.md')
/** Cells of the rows of all tables. */
const rowsOf = (text: string) =>
  text
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) =>
      line
        .replace(/\\\|/g, '¦')
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
const codeSpans = (text: string) => [...text.replace(/^```[\s\S]*?^```/gm, '').matchAll(/`([^`\n]+)`/g)].map(([, code]) => code)

describe('error codes', () => {
  test('docs/api.md prints the table of lib/errors.ts', () => {
    const table = rowsOf(api).filter(([code]) => code.startsWith('ERR_SEALOG_'))
    expect(table).toEqual(Object.entries(ERROR_CODES))
  })

  test('docs/troubleshooting.md has a row for every code, and none for others', () => {
    const codes = rowsOf(read('docs/troubleshooting.md')).flatMap(([code]) => (code.startsWith('ERR_') ? [code] : []))
    expect(codes.sort()).toEqual(Object.keys(ERROR_CODES).sort())
  })

  test.each(papers)('%s names only codes that exist', (paper) => {
    const unknown = [...read(paper).matchAll(/\bERR_[A-Z_]+\b/g)].map(([code]) => code).filter((code) => !Object.hasOwn(ERROR_CODES, code))
    // Continued lists: "ERR_SEALOG_OPTION, _ARGUMENT".
    const short = [...read(paper).matchAll(/[ (](_[A-Z][A-Z_]+)\b/g)].map(([, code]) => code).filter((code) => !Object.hasOwn(ERROR_CODES, `ERR_SEALOG${code}`))
    expect([...unknown, ...short]).toEqual([])
  })
})

describe('docs/api.md', () => {
  const spans = new Set(codeSpans(api).flatMap((span) => span.match(/[A-Za-z_$][\w$]*/g) ?? []))
  const headings = new Set([...api.matchAll(/^#+ (.*)$/gm)].flatMap(([, heading]) => heading.match(/\w+/g) ?? []))
  const mentions = (name: string) => spans.has(name) || headings.has(name) || api.includes(`**${name}`)

  test('names every export that exists at run time', async () => {
    const names = Object.keys(await import('../../lib/index.js'))
    expect(names.filter((name) => !mentions(name))).toEqual([])
  })

  test.each([
    ['lib/log/log.ts', 'Log'],
    ['lib/log/writer-view.ts', 'WriterView'],
    ['lib/log/log-reader.ts', 'LogReader'],
    ['lib/log/log-view.ts', 'LogView'],
    ['lib/log/record.ts', 'Record'],
    ['lib/log/record-batch.ts', 'RecordBatch'],
    ['lib/log/append-options.ts', 'AppendOptions'],
    ['lib/log/iterators.ts', 'BatchOptions'],
    ['lib/log/iterators.ts', 'ReadOptions'],
    ['lib/log/stats.ts', 'LogStats'],
    ['lib/log/verify.ts', 'VerifyOptions'],
    ['lib/log/verify.ts', 'VerifyReport'],
    ['lib/log/verify.ts', 'VerifyProblem'],
    ['lib/log/repair.ts', 'RepairOptions'],
    ['lib/log/repair.ts', 'RepairReport'],
    ['lib/options.ts', 'LogOptions'],
    ['lib/options.ts', 'ReaderOptions'],
    ['lib/options.ts', 'EnvironmentOptions'],
    ['lib/store/store.ts', 'Store'],
    ['lib/store/store-options.ts', 'StoreOptions'],
    ['lib/store/store-types.ts', 'StoreStats'],
  ])('of %s names every public member of %s', (file, type) => {
    const members = publicMembers(file, type)
    expect(members.length).toBeGreaterThan(0)
    expect(members.filter((name) => !mentions(name))).toEqual([])
  })

  test('gives the defaults that hold', () => {
    const session = resolveSession({})
    const actual: { readonly [option: string]: unknown } = { ...DEFAULT_ENVIRONMENT, ...newSettings({}, session), ...session, ...resolveReader({}) }
    const rows = rowsOf(api).flatMap(([option, value]) => {
      const name = /^`(\w+)`$/.exec(option)?.[1]
      return name !== undefined && Object.hasOwn(actual, name) && value !== 'as above' && parseDefault(value) !== undefined ? [[name, parseDefault(value)]] : []
    })
    // Every option of the three tables but `backend` of the reader, and `seal`, which is stored as `form`.
    expect(rows.length).toBeGreaterThanOrEqual(18)
    expect(rows).toEqual(rows.map(([name]) => [name, actual[name as string]]))
  })
})

/** Names of members that are neither private nor marked as internal. */
function publicMembers(file: string, type: string): string[] {
  const source = ts.createSourceFile(file, read(file), ts.ScriptTarget.Latest, true)
  const names = new Set<string>()
  ts.forEachChild(source, (node) => {
    if (!(ts.isClassDeclaration(node) || ts.isInterfaceDeclaration(node)) || node.name?.text !== type) return
    for (const member of node.members) {
      const hidden =
        ts.canHaveModifiers(member) &&
        ts.getModifiers(member)?.some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword || kind === ts.SyntaxKind.ProtectedKeyword)
      const internal = ts.getJSDocTags(member).some(({ tagName }) => tagName.text === 'internal')
      if (hidden || internal || member.name === undefined || !ts.isIdentifier(member.name)) continue
      names.add(member.name.text)
    }
  })
  return [...names]
}

/** The default at the start of a cell; undefined where it is none. */
function parseDefault(cell: string): unknown {
  const [, size, unit] = /^(\d+)(?: (KiB|MiB))?\b/.exec(cell) ?? []
  if (size !== undefined) return Number(size) * (unit === 'MiB' ? 2 ** 20 : unit === 'KiB' ? 1024 : 1)
  const word = /^`'?(\w+)'?`/.exec(cell)?.[1]
  return word === 'true' ? true : word === 'false' ? false : word
}

describe.each(papers)('%s', (paper) => {
  test('links to files that exist', () => {
    const links = [...read(paper).matchAll(/\]\(([^)#:\s]+)(?:#[^)]*)?\)/g)].map(([, link]) => link)
    expect(links.filter((link) => !existsSync(path.join(root, path.dirname(paper), link)))).toEqual([])
  })

  test('names npm scripts that exist', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: { readonly [name: string]: string } }
    const named = [...read(paper).matchAll(/\bnpm run ([\w:-]+)/g)].map(([, name]) => name)
    expect(named.filter((name) => !Object.hasOwn(scripts, name))).toEqual([])
  })
})

/** Compiled output is what a user runs; `npm test` compiles before it tests. */
describe('programs in the documents run', () => {
  test('the example of README.md prints what README.md says', () => {
    const readme = read('README.md')
    const [, program] = /```js\n([\s\S]*?)```/.exec(readme) ?? []
    const [, output] = /```text\n([\s\S]*?)```/.exec(readme) ?? []
    const directory = makeDirectory('readme')
    mkdirSync(path.join(directory, 'node_modules'))
    symlinkSync(root, path.join(directory, 'node_modules', 'sealog'))
    writeFileSync(path.join(directory, 'example.mjs'), program)
    const { status, stdout, stderr } = spawnSync(process.execPath, ['example.mjs'], { cwd: directory, encoding: 'utf8', timeout: 30_000 })
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: output, stderr: '' })
    expect(program.split('\n').length).toBeLessThanOrEqual(40)
  })

  test.each(readdirSync(path.join(root, 'examples')).filter((name) => name.endsWith('.mjs')))('examples/%s', (name) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [path.join('examples', name)], { cwd: root, encoding: 'utf8', timeout: 30_000 })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).not.toBe('')
  })
})
