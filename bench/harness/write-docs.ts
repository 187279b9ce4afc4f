import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './paths.js'

const PAGE = join(ROOT, 'docs/performance.md')
const PLOTS = join(ROOT, 'docs/plots')
const BEGIN = '<!-- figures: written by npm run bench -- --write-docs -->'
const END = '<!-- end of figures -->'

/** Replaces the figures of the page; everything around them is written by hand. */
export function writeFigures(lines: readonly string[]): void {
  const page = readFileSync(PAGE, 'utf8')
  const begin = page.indexOf(BEGIN)
  const end = page.indexOf(END)
  if (begin < 0 || end < begin) throw new Error(`${PAGE} has lost its marks for the figures`)
  writeFileSync(PAGE, `${page.slice(0, begin + BEGIN.length)}\n\n${lines.join('\n').trim()}\n\n${page.slice(end)}`)
}

/** Replaces all plots by those of this run. */
export function writePlots(files: ReadonlyMap<string, string>): void {
  rmSync(PLOTS, { recursive: true, force: true })
  mkdirSync(PLOTS, { recursive: true })
  for (const [name, content] of files) writeFileSync(join(PLOTS, name), content)
}
