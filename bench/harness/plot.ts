/** Figures as SVG: bars of the first metric of a case, and curves over sizes where a case has them. Plain text, no script, so that a page may show them. */
import type { Case, Metric, Plot } from './case.js'
import type { CaseReport, ContenderReport } from './report.js'

const WIDTH = 760
const LABEL_WIDTH = 270
const VALUE_WIDTH = 90
const BAR = 18
const GAP = 6
const HEAD = 34
const CURVE_HEIGHT = 360
const LEFT = 70
const BOTTOM = 40
const RIGHT = 220
/** sealog first; told apart by eyes that do not see all colours too. */
const COLORS = ['#0072b2', '#56b4e9', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#999999', '#000000']
const KIND_COLORS: Readonly<Record<ContenderReport['kind'], string>> = { sealog: '#0072b2', baseline: '#56b4e9', peer: '#d55e00', limit: '#999999' }

/** Name of the file → its content. */
export function plotsOf(one: Case, report: CaseReport): Map<string, string> {
  const files = new Map<string, string>()
  if (one.plots === undefined) {
    const svg = bars(report, one.metrics[0])
    if (svg !== undefined) files.set(`${one.name}.svg`, svg)
    return files
  }
  for (const plot of one.plots) {
    const svg = curves(report, plot)
    if (svg !== undefined) files.set(`${one.name}-${plot.name}.svg`, svg)
  }
  return files
}

function bars(report: CaseReport, { key, label, better }: Metric): string | undefined {
  const rows = report.contenders.filter(({ metrics }) => key in metrics)
  if (rows.length < 2) return undefined
  const most = Math.max(...rows.map(({ metrics }) => metrics[key].median))
  const scale = (WIDTH - LABEL_WIDTH - VALUE_WIDTH) / most
  const lines = rows.map(({ name, kind, metrics }, i) => {
    const y = HEAD + i * (BAR + GAP)
    const { median } = metrics[key]
    const width = Math.max(1, median * scale)
    return [
      text(LABEL_WIDTH - 8, y + 13, name, 'end'),
      `<rect x="${LABEL_WIDTH}" y="${y}" width="${width.toFixed(1)}" height="${BAR}" fill="${KIND_COLORS[kind]}"/>`,
      text(LABEL_WIDTH + width + 6, y + 13, short(median)),
    ].join('')
  })
  return svg(HEAD + rows.length * (BAR + GAP) + GAP, [text(8, 20, `${report.name}: ${label} (${better} is better)`), ...lines])
}

/** Both axes logarithmic: flat is flat, and a factor is the same distance everywhere. */
function curves(report: CaseReport, { title, points }: Plot): string | undefined {
  const measured = report.contenders.map(({ name, metrics }) => ({
    name,
    at: points.flatMap(({ x, key }) => (key in metrics ? [{ x, y: metrics[key].median }] : [])),
  }))
  const rows = measured.filter(({ at }) => at.length > 1)
  if (rows.length === 0) return undefined
  const all = rows.flatMap(({ at }) => at)
  const xs = [Math.log10(Math.min(...all.map(({ x }) => x))), Math.log10(Math.max(...all.map(({ x }) => x)))]
  const ys = [Math.floor(Math.log10(Math.min(...all.map(({ y }) => y)))), Math.ceil(Math.log10(Math.max(...all.map(({ y }) => y))))]
  const px = (x: number) => LEFT + ((Math.log10(x) - xs[0]) / (xs[1] - xs[0])) * (WIDTH - LEFT - RIGHT)
  const py = (y: number) => HEAD + (1 - (Math.log10(y) - ys[0]) / Math.max(1, ys[1] - ys[0])) * (CURVE_HEIGHT - HEAD - BOTTOM)
  const parts = [text(8, 20, `${report.name}: ${title}`)]
  for (let power = ys[0]; power <= ys[1]; power++) {
    const y = py(10 ** power)
    parts.push(
      `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y.toFixed(1)}" y2="${y.toFixed(1)}" stroke="#ddd"/>`,
      text(LEFT - 6, y + 4, short(10 ** power), 'end'),
    )
  }
  for (const x of new Set(all.map((point) => point.x))) parts.push(text(px(x), CURVE_HEIGHT - BOTTOM + 18, x.toLocaleString('en'), 'middle'))
  rows.forEach(({ name, at }, i) => {
    const color = COLORS[i % COLORS.length]
    const line = at.map(({ x, y }) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`).join(' ')
    parts.push(`<polyline points="${line}" fill="none" stroke="${color}" stroke-width="2"/>`)
    for (const { x, y } of at) parts.push(`<circle cx="${px(x).toFixed(1)}" cy="${py(y).toFixed(1)}" r="3" fill="${color}"/>`)
    parts.push(
      `<rect x="${WIDTH - RIGHT + 16}" y="${HEAD + i * 20}" width="12" height="12" fill="${color}"/>`,
      text(WIDTH - RIGHT + 34, HEAD + i * 20 + 10, name),
    )
  })
  return svg(CURVE_HEIGHT, parts)
}

function svg(height: number, parts: readonly string[]): string {
  const head = `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">`
  return `${head}\n<rect width="100%" height="100%" fill="white"/>\n${parts.join('\n')}\n</svg>\n`
}

function text(x: number, y: number, content: string, anchor: 'start' | 'middle' | 'end' = 'start'): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${escapeMarkup(content)}</text>`
}

export function escapeMarkup(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}

function short(value: number): string {
  return value.toLocaleString('en', { notation: value >= 100_000 ? 'compact' : 'standard', maximumSignificantDigits: 3 })
}
