/** The shape of the source tree: which floor may import which, how long files get, what stays out of them. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const LINES = 450

/** From the top floor down: a file imports from floors below its own and from its own folder. Neighbours on one floor do not know each other. */
const FLOORS = [
  ['cli'],
  ['http', 'store', 'archive', 'prometheus'],
  ['index'],
  ['log'],
  ['sealing'],
  ['segment'],
  ['cache'],
  ['kernels'],
  ['options'],
  ['format'],
  ['telemetry', 'errors'],
]

const filesBelow = (directory: string, pattern: RegExp): string[] =>
  readdirSync(join(root, directory), { recursive: true, encoding: 'utf8' })
    .map((name) => join(directory, name))
    .filter((path) => pattern.test(path) && !/(^|\/)(node_modules|build[^/]*)\//.test(path.split(sep).join('/')))

const read = (path: string) => readFileSync(join(root, path), 'utf8')
const library = filesBelow('lib', /\.c?ts$/)
const native = filesBelow('native', /\.(h|cc|cpp)$/)
const scripts = filesBelow('scripts', /\.mjs$/)

/** Folder of lib/, or the file's own name where it lies in lib/ itself. */
function unitOf(path: string): string {
  const [first] = relative('lib', path).split(sep)
  return first.replace(/\.c?ts$/, '')
}

const floorOf = (unit: string) => FLOORS.findIndex((floor) => floor.includes(unit))

/** Specifiers of everything a module imports, types and dynamic imports included. */
function importsOf(path: string): string[] {
  return ts.preProcessFile(read(path), true, true).importedFiles.map(({ fileName }) => fileName)
}

function syntaxOf(path: string): ts.SourceFile {
  return ts.createSourceFile(path, read(path), ts.ScriptTarget.Latest, true)
}

const lineOf = (source: ts.SourceFile, node: ts.Node) => source.getLineAndCharacterOfPosition(node.getStart()).line + 1

describe('lib', () => {
  test('every file stands on a floor', () => {
    expect(library.filter((path) => floorOf(unitOf(path)) < 0)).toEqual([])
  })

  test('imports run downwards', () => {
    const upwards = library.flatMap((path) =>
      importsOf(path)
        .filter((specifier) => specifier.startsWith('.') && !specifier.endsWith('.node'))
        .map((specifier) => unitOf(join(dirname(path), specifier).replace(/\.(c?)js$/, '.$1ts')))
        .filter((unit) => unit !== unitOf(path) && floorOf(unit) <= floorOf(unitOf(path)))
        .map((unit) => `${path} imports ${unit}`),
    )
    expect(upwards).toEqual([])
  })

  test('only the command line has dependencies, the HTTP side its cache, and the metrics their peer', () => {
    const { dependencies, peerDependencies } = JSON.parse(read('package.json')) as { [kind: string]: Record<string, string> }
    const allowed: { readonly [unit: string]: object } = {
      cli: { ...dependencies, ...peerDependencies },
      http: { 'lru-cache': dependencies['lru-cache'] },
      prometheus: peerDependencies,
    }
    const foreign = library.flatMap((path) =>
      importsOf(path)
        .filter((specifier) => !specifier.startsWith('.') && !specifier.startsWith('node:') && !specifier.endsWith('.node'))
        .filter((specifier) => !Object.hasOwn(allowed[unitOf(path)] ?? {}, specifier))
        .map((specifier) => `${path} imports ${specifier}`),
    )
    expect(foreign).toEqual([])
  })

  test('relative imports name the compiled file', () => {
    const bare = library.flatMap((path) =>
      importsOf(path)
        .filter((specifier) => specifier.startsWith('.') && !/\.(c?js|node)$/.test(specifier))
        .map((specifier) => `${path} imports ${specifier}`),
    )
    expect(bare).toEqual([])
  })

  test('no any, no enum, no await outside of functions', () => {
    const found: string[] = []
    for (const path of library) {
      const source = syntaxOf(path)
      const visit = (node: ts.Node, inFunction: boolean): void => {
        if (node.kind === ts.SyntaxKind.AnyKeyword) found.push(`${path}:${lineOf(source, node)} any`)
        if (ts.isEnumDeclaration(node)) found.push(`${path}:${lineOf(source, node)} enum`)
        // one await at the top makes require('sealog') fail for everybody
        const awaits = ts.isAwaitExpression(node) || (ts.isForOfStatement(node) && node.awaitModifier !== undefined)
        if (awaits && !inFunction) found.push(`${path}:${lineOf(source, node)} top-level await`)
        ts.forEachChild(node, (child) => visit(child, inFunction || ts.isFunctionLike(node)))
      }
      visit(source, false)
    }
    expect(found).toEqual([])
  })
})

describe('native', () => {
  test('only native/binding knows Node', () => {
    const leaks = native.filter((path) => /#\s*include\s*[<"](node_api|js_native_api|napi|node|v8|uv)\b/.test(read(path)))
    expect(leaks.filter((path) => !path.startsWith(join('native', 'binding') + sep))).toEqual([])
  })

  test('the core neither throws nor asks for types at run time', () => {
    const core = native.filter((path) => /^native.(core|os)\b/.test(path))
    const code = (path: string) => read(path).replace(/\/\/.*|\/\*[\s\S]*?\*\/|"(\\.|[^"\\\n])*"/g, '')
    expect(core.filter((path) => /\b(throw|try|catch|dynamic_cast|typeid)\b/.test(code(path)))).toEqual([])
  })
})

test(`no source file is longer than ${LINES} lines`, () => {
  const long = [...library, ...native, ...scripts]
    .map((path) => ({ path, lines: read(path).trimEnd().split('\n').length }))
    .filter(({ lines }) => lines > LINES)
  expect(long).toEqual([])
})
