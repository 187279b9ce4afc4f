/** Stacks as a flame graph: one SVG, callers below, widths by share; the whole name and the share are shown where the mouse is. */
import { escapeMarkup } from './plot.js'

export interface Stacks {
  readonly unit: string
  /** Frames from the outermost on, joined by semicolons → how much was seen there. */
  readonly stacks: ReadonlyMap<string, number>
}

interface Frame {
  total: number
  readonly callees: Map<string, Frame>
}

const WIDTH = 1600
const ROW = 17
const HEAD = 40
const CHARACTER = 6.6
/** Narrower frames are left out: nobody could see them. */
const LEAST = 0.4

export function flameGraph(title: string, { unit, stacks }: Stacks): string {
  const root: Frame = { total: 0, callees: new Map() }
  for (const [stack, count] of stacks) {
    root.total += count
    let frame = root
    for (const name of stack.split(';')) {
      let callee = frame.callees.get(name)
      if (callee === undefined) {
        callee = { total: 0, callees: new Map() }
        frame.callees.set(name, callee)
      }
      callee.total += count
      frame = callee
    }
  }
  const scale = WIDTH / Math.max(1, root.total)
  const boxes: string[] = []
  let deepest = 0
  const draw = (name: string, frame: Frame, x: number, depth: number): void => {
    const width = frame.total * scale
    if (width < LEAST) return
    deepest = Math.max(deepest, depth)
    const share = `${((100 * frame.total) / root.total).toFixed(2)} %`
    const shown = name.slice(0, Math.max(0, Math.floor((width - 4) / CHARACTER)))
    boxes.push(
      `<g transform="translate(${x.toFixed(1)} DEPTH${depth})"><title>${escapeMarkup(name)} (${frame.total.toLocaleString('en')} ${unit}, ${share})</title>` +
        `<rect width="${Math.max(0.3, width - 0.3).toFixed(1)}" height="${ROW - 1}" fill="${colorOf(name)}"/>` +
        `${shown.length > 2 ? `<text x="2" y="12">${escapeMarkup(shown)}</text>` : ''}</g>`,
    )
    let at = x
    for (const [callee, inner] of [...frame.callees].sort(([a], [b]) => (a < b ? -1 : 1))) {
      draw(callee, inner, at, depth + 1)
      at += inner.total * scale
    }
  }
  draw('all', root, 0, 0)
  const height = HEAD + (deepest + 1) * ROW
  const placed = boxes.map((box) => box.replace(/DEPTH(\d+)/, (_, depth) => String(height - (Number(depth) + 1) * ROW)))
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="monospace" font-size="11">
<rect width="100%" height="100%" fill="#fffff8"/>
<text x="8" y="22" font-size="15">${escapeMarkup(title)}: ${root.total.toLocaleString('en')} ${unit}</text>
${placed.join('\n')}
</svg>
`
}

/** JavaScript (names with a file and line) in blue, the kernel's and libraries' names in warm colours; the same name has the same shade everywhere. */
function colorOf(name: string): string {
  let hash = 0
  for (let i = 0; i < name.length; i++) hash = (Math.imul(hash, 31) + name.charCodeAt(i)) | 0
  const shade = 60 + ((hash >>> 0) % 20)
  return /\.[cm]?js/.test(name) ? `hsl(205 60% ${shade}%)` : `hsl(${20 + ((hash >>> 8) % 30)} 80% ${shade}%)`
}
