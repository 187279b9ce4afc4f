/** What `npm run bench -- --write-docs` makes of a run, with a small made-up one. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import type { Case, Contender, Measurement } from '../../bench/harness/case.js'
import { excerpt, type RunReport } from '../../bench/harness/page.js'
import { plotsOf } from '../../bench/harness/plot.js'
import { reportCase } from '../../bench/harness/report.js'
import { writeDocs } from '../../bench/harness/write-docs.js'
import { makeDirectory } from '../support/directories.js'

const root = fileURLToPath(new URL('../..', import.meta.url))

const contender = (name: string, kind: Contender['kind']): Contender => ({ name, kind, measure: () => Promise.reject(new Error('never measured')) })
const speeds = (...values: number[]): Measurement[] => values.map((speed) => ({ values: { speed }, work: {} }))

/** sealog is ahead of one peer and behind the other. */
const scan: Case = {
  name: 'scan',
  title: 'Scanning',
  metrics: [
    { key: 'speed', label: 'MB/s', better: 'higher' },
    { key: 'nobody', label: 'nobody has it', better: 'lower' },
  ],
  contenders: [contender('sealog', 'sealog'), contender('fast', 'peer'), contender('slow', 'peer'), contender('absent', 'peer'), contender('memcpy', 'limit')],
  targets: [
    { text: '≥ 90 MB/s', needs: ['sealog'], judge: (results) => ({ measured: `${results.median('sealog', 'speed')} MB/s`, reached: true }) },
    { text: '≥ 1 × fast', needs: ['sealog', 'fast'], judge: (results) => ({ measured: `${results.ratio('speed', 'sealog', 'fast')} ×`, reached: false }) },
    { text: '≥ 1 × absent', needs: ['sealog', 'absent'], judge: () => ({ measured: '', reached: true }) },
  ],
  notes: () => ['A note.'],
}
const scanned = reportCase(
  scan,
  {
    rounds: new Map([
      ['sealog', speeds(100, 80, 120)],
      ['fast', speeds(200, 160, 240)],
      ['slow', speeds(10, 8, 12)],
      ['memcpy', speeds(400, 320, 480)],
    ]),
    failures: new Map([['absent', 'not installed (apt-get install absent)']]),
    mismatches: [],
    seconds: 61.25,
    load: 0,
  },
  false,
)
const run: RunReport = {
  machine: {
    processor: 'Made Up 1',
    cores: 2,
    instructions: ['avx2'],
    memoryBytes: 2 ** 31,
    kernel: 'linux 1',
    fileSystem: 'ext4 on /dev/vda (rw)',
    freeBytes: 2 ** 40,
    node: 'v20.0.0',
    compiler: 'c++ 12',
    load: 0.25,
  },
  peers: { lmdb: { version: '3.5.6' }, hypercore: { reason: 'Error: no binary for this platform' } },
  programs: { nginx: { reason: 'nginx is not installed (apt-get install nginx)' } },
  quick: false,
  rounds: 3,
  date: '2026-01-02T03:04:05.678Z',
  seconds: 125.4,
  cases: [scanned],
  unmeasured: [],
}

const PAGE = `# Performance

by hand, above
<!-- summary: written by npm run bench -- --write-docs -->
old summary
<!-- end of summary -->
by hand, between
<!-- figures: written by npm run bench -- --write-docs -->
old figures
<!-- end of figures -->
by hand, below
`
const README = 'before\n<!-- figures: written by npm run bench -- --write-docs -->\n<!-- end of figures -->\nafter\n'

function written(report: RunReport, page = PAGE): { readonly page: string; readonly readme: string; readonly plots: readonly string[] } {
  const folder = makeDirectory('bench-page')
  mkdirSync(path.join(folder, 'docs', 'plots'), { recursive: true })
  writeFileSync(path.join(folder, 'docs', 'plots', 'of-an-earlier-run.svg'), '')
  writeFileSync(path.join(folder, 'docs', 'performance.md'), page)
  writeFileSync(path.join(folder, 'README.md'), README)
  writeDocs(report, new Map([['scan', plotsOf(scan, scanned)]]), folder)
  const read = (name: string) => readFileSync(path.join(folder, name), 'utf8')
  return { page: read('docs/performance.md'), readme: read('README.md'), plots: readdirSync(path.join(folder, 'docs', 'plots')) }
}

describe('docs/performance.md', () => {
  const { page, plots } = written(run)
  const line = (start: string) => page.split('\n').find((one) => one.startsWith(start))

  test('begins with every figure that was to be reached, and how many were', () => {
    const [first] = page.split('by hand, between')
    expect(first).toContain('Of 3 figures 1 are reached, 1 missed, 1 not measured.')
    expect(first).toMatch(/\| \[scan\]\(#scan\) \| +≥ 90 MB\/s \| +100 MB\/s \| +reached \|/)
    expect(first).toMatch(/\| \[scan\]\(#scan\) \| +≥ 1 × fast \| +0.5 × \| +\*\*missed\*\* \|/)
    expect(first).toMatch(/\| \[scan\]\(#scan\) \| +≥ 1 × absent \| +\| +not measured \|/)
  })

  test('holds sealog beside the best peer and the limit, and says where it loses', () => {
    expect(page).toMatch(/\| \[scan\]\(#scan\) \| +MB\/s \| +100 \| +200 \(fast\) \| +\*\*0.50\*\* \| +0.25 \|/)
  })

  test('has a table and a plot of each case, and who did not run', () => {
    expect(page).toContain('### scan\n\nScanning; 3 rounds')
    expect(line('| contender')).toMatch(/^\| contender +\| +MB\/s \| +MB\/s: worst … best \| +× best peer \| +× limit \|$/)
    expect(line('| slow')).toMatch(/^\| slow +\| +10 \| +8 … 12 \| +0.05 \| +0.03 \|$/)
    expect(page).toContain('A note.')
    expect(page).toContain('**absent did not run**: not installed (apt-get install absent)')
    expect(page).toContain('![scan](plots/scan.svg)')
    expect(plots).toEqual(['scan.svg'])
  })

  test('names machine, versions, who is left out and why, and how long it took', () => {
    expect(line('machine')).toBe('machine      Made Up 1, 2 cores (avx2), 2.0 GiB, load 0.25')
    expect(line('peer         lmdb')).toBe('peer         lmdb 3.5.6')
    expect(line('peer         hypercore')).toBe('peer         hypercore left out: Error: no binary for this platform')
    expect(line('program')).toBe('program      nginx left out: nginx is not installed (apt-get install nginx)')
    expect(page).toContain('The run took 2 min 5 s.')
    expect(page).toMatch(/\| scan \| +61.3 \|/)
  })

  test('keeps what is written by hand, and a second run replaces the first', () => {
    for (const where of ['above', 'between', 'below']) expect(page).toContain(`by hand, ${where}`)
    expect(page).not.toMatch(/old (summary|figures)/)
    expect(written(run, page).page).toBe(page)
  })

  test('says that a quick run was one', () => {
    const quick = written({ ...run, quick: true })
    expect(quick.page.match(/\*\*From a quick run\*\*/g)?.length).toBe(2)
    expect(quick.readme).toContain('**From a quick run**')
    expect(page).not.toContain('From a quick run')
  })

  test('says what a run that was ended early has not measured', () => {
    expect(written({ ...run, unmeasured: ['archive', 'growth-log'] }).page).toContain('**The run ended early.** Not measured: archive, growth-log.')
    expect(page).not.toContain('ended early')
  })

  test('is refused without its marks', () => {
    expect(() => written(run, '# Performance')).toThrow('has lost its marks for the block "summary"')
  })
})

test('README.md has rows of cases of a log, with links to their tables', () => {
  expect(written(run).readme).toMatch(/^before\n<!-- figures[^\n]*\n\nMedians of 3 rounds on 2 cores \(Made Up 1\), linux 1, ext4;/)
  expect(excerpt(run).filter((line) => line.includes('](docs/performance.md#scan)'))).toHaveLength(1)
})

test.each([
  ['docs/performance.md', ['summary', 'figures']],
  ['README.md', ['figures']],
])('%s has the marks', (file, blocks) => {
  const page = readFileSync(path.join(root, file), 'utf8')
  for (const block of blocks) {
    const begin = page.indexOf(`<!-- ${block}: written by npm run bench -- --write-docs -->`)
    expect(begin).toBeGreaterThan(-1)
    expect(page.indexOf(`<!-- end of ${block} -->`)).toBeGreaterThan(begin)
  }
})
