/** `--write-docs`: puts what a run found into the documents. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { excerpt, figures, type PlotFiles, type RunReport, summary } from './page.js'

const PAGE = 'docs/performance.md'
const README = 'README.md'
/** Below docs/. */
const PLOTS = 'plots'

/** `plots`: of each case the names of its files and their content. `root`: the folder of README.md. */
export function writeDocs(run: RunReport, plots: ReadonlyMap<string, ReadonlyMap<string, string>>, root: string): void {
  const folder = join(root, 'docs', PLOTS)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const files of plots.values()) for (const [name, content] of files) writeFileSync(join(folder, name), content)
  const places: PlotFiles = new Map([...plots].map(([name, files]) => [name, [...files.keys()].map((file) => `${PLOTS}/${file}`)]))
  edit(join(root, PAGE), { summary: summary(run), figures: figures(run, places) })
  edit(join(root, README), { figures: excerpt(run) })
}

function edit(file: string, blocks: Readonly<Record<string, readonly string[]>>): void {
  const page = readFileSync(file, 'utf8')
  writeFileSync(
    file,
    Object.entries(blocks).reduce((text, [name, lines]) => replaceBlock(text, name, lines, file), page),
  )
}

/** Replaces what is between the marks of a block; everything else is written by hand. Throws where a page has lost its marks. */
export function replaceBlock(page: string, name: string, lines: readonly string[], file: string): string {
  const begin = `<!-- ${name}: written by npm run bench -- --write-docs -->`
  const end = `<!-- end of ${name} -->`
  const from = page.indexOf(begin)
  const to = page.indexOf(end, from)
  if (from < 0 || to < 0) throw new Error(`${file} has lost its marks for the block "${name}"`)
  return `${page.slice(0, from + begin.length)}\n\n${lines.join('\n').trim()}\n\n${page.slice(to)}`
}
