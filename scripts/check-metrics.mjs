// Checks a page of metrics against docs/metrics.md: node scripts/check-metrics.mjs http://127.0.0.1:4437/metrics
// Exit code 0: as documented, 1: problems, which are printed.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const DOCUMENT = fileURLToPath(new URL('../docs/metrics.md', import.meta.url))

/** Name → { type, labels, reader } of every metric in the tables of the document. */
export function documentedMetrics(text = readFileSync(DOCUMENT, 'utf8')) {
  const metrics = new Map()
  for (const line of text.split('\n')) {
    const match = /^\| `(sealog_\w+)`( \*)? \| (gauge|counter|histogram) \|([^|]*)\|/.exec(line)
    if (match === null) continue
    const labels = [...match[4].matchAll(/`(\w+)`/g)].map(([, label]) => label)
    metrics.set(match[1], { type: match[3], labels: labels.includes('backend') ? labels : ['log', ...labels], reader: match[2] !== undefined })
  }
  return metrics
}

/** Families of a page in the text format: name → { type, help, samples: [{ name, labels, value }] }. Throws for a line that is none of the format. */
export function parsePage(text) {
  const families = new Map()
  if (!text.endsWith('\n')) throw new Error('the page does not end with a line feed')
  let current
  for (const line of text.split('\n')) {
    if (line === '' || line === '# EOF') continue
    const comment = /^# (HELP|TYPE) (\w+) (.+)$/.exec(line)
    if (comment !== null) {
      const [, kind, name, rest] = comment
      if (kind === 'HELP' && families.has(name)) throw new Error(`${name} comes twice`)
      current = families.get(name) ?? { name, type: '', help: '', samples: [] }
      families.set(name, current)
      current[kind === 'HELP' ? 'help' : 'type'] = rest
      continue
    }
    const sample = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line)
    if (sample === null || current === undefined || !sample[1].startsWith(current.name)) throw new Error(`not a line of the format: ${line}`)
    current.samples.push({ name: sample[1], labels: parseLabels(sample[2] ?? ''), value: parseNumber(sample[3]) })
  }
  return families
}

function parseLabels(text) {
  const labels = {}
  const rest = text.replace(/(\w+)="((?:[^"\\]|\\.)*)",?/g, (_, name, value) => {
    labels[name] = value.replace(/\\(.)/g, (__, character) => (character === 'n' ? '\n' : character))
    return ''
  })
  if (rest !== '') throw new Error(`not labels: ${text}`)
  return labels
}

function parseNumber(text) {
  const value = text === '+Inf' ? Number.POSITIVE_INFINITY : text === '-Inf' ? Number.NEGATIVE_INFINITY : Number(text)
  if (Number.isNaN(value) && text !== 'NaN') throw new Error(`not a number: ${text}`)
  return value
}

/** What is wrong with the metrics of sealog on a page; those of others are let be. */
export function checkPage(text, documented = documentedMetrics()) {
  const problems = []
  const families = parsePage(text)
  for (const [name, { type }] of documented) {
    if (!families.has(name)) problems.push(`${name} is missing`)
    else if (families.get(name).type !== type) problems.push(`${name} is a ${families.get(name).type}, not a ${type}`)
  }
  for (const [name, family] of families) {
    if (!name.startsWith('sealog_')) continue
    const wanted = documented.get(name)
    if (wanted === undefined) {
      problems.push(`${name} is not documented`)
      continue
    }
    for (const { name: sample, labels, value } of family.samples) {
      const names = Object.keys(labels).filter((label) => label !== 'le')
      const unknown = [...names.filter((label) => !wanted.labels.includes(label)), ...wanted.labels.filter((label) => !names.includes(label))]
      if (unknown.length > 0) problems.push(`${sample} has the labels ${names.join(', ')}, not ${wanted.labels.join(', ')}`)
      if (!(value >= 0)) problems.push(`${sample} is ${value}`)
    }
    if (family.type === 'histogram') problems.push(...checkHistogram(family))
  }
  return problems
}

/** Buckets are cumulative, and the last one holds everything that was counted. */
function checkHistogram({ name, samples }) {
  const problems = []
  const series = new Map()
  for (const { name: sample, labels, value } of samples) {
    const { le, ...rest } = labels
    const key = JSON.stringify(rest)
    if (!series.has(key)) series.set(key, { buckets: [] })
    if (sample === `${name}_bucket`) series.get(key).buckets.push([parseNumber(le), value])
    else series.get(key)[sample.slice(name.length + 1)] = value
  }
  for (const [key, { buckets, count, sum }] of series) {
    const sorted = buckets.every(([le, value], i) => i === 0 || (le > buckets[i - 1][0] && value >= buckets[i - 1][1]))
    if (!sorted) problems.push(`${name}${key}: the buckets do not rise`)
    if (buckets.at(-1)?.[0] !== Number.POSITIVE_INFINITY || buckets.at(-1)[1] !== count) problems.push(`${name}${key}: the last bucket does not hold all`)
    if (!(sum >= 0)) problems.push(`${name}${key}: the sum is ${sum}`)
  }
  return problems
}

async function main(url) {
  if (url === undefined) throw new Error('usage: node scripts/check-metrics.mjs <url>')
  const response = await fetch(url)
  if (!response.ok) throw new Error(`${url} answers ${response.status}`)
  const text = await response.text()
  const documented = documentedMetrics()
  const problems = checkPage(text, documented)
  const logs = new Set(
    [...parsePage(text).values()].filter(({ name }) => name.startsWith('sealog_')).flatMap(({ samples }) => samples.flatMap(({ labels }) => labels.log ?? [])),
  )
  if (logs.size === 0) problems.push('there is no log on the page')
  for (const problem of problems) console.error(problem)
  if (problems.length === 0) console.log(`${documented.size} metrics of ${logs.size} log${logs.size === 1 ? '' : 's'}, all as documented`)
  return problems.length === 0 ? 0 : 1
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main(process.argv[2]).then(
    (code) => {
      process.exitCode = code
    },
    (error) => {
      console.error(error.message)
      process.exitCode = 1
    },
  )
}
