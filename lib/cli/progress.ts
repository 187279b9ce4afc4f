import cliProgress from 'cli-progress'
import { formatCount } from './output.js'

export interface Progress {
  update(done: number, unit: number): void
  stop(): void
}

const QUIET: Progress = { update() {}, stop() {} }
const LINE_INTERVAL_MS = 2000

/**
 * Progress on standard error: a bar on a terminal; elsewhere a plain line every two seconds when `plainLines` is set, otherwise nothing.
 * `total` may be unknown. `update(done, units)`: done out of total, and how many of `unit` (records, bytes …) that are.
 */
export function showProgress(label: string, unit: string, total: number | undefined, plainLines = false): Progress {
  if (process.stderr.isTTY) return bar(label, unit, total)
  return plainLines ? lines(label, unit, total) : QUIET
}

function bar(label: string, unit: string, total: number | undefined): Progress {
  const format = total === undefined ? `${label}  {units} ${unit}  {rate} ${unit}/s` : `${label} {bar} {percentage}%  {units} ${unit}  {rate} ${unit}/s`
  const started = performance.now()
  const view = new cliProgress.SingleBar(
    { format, barsize: 30, hideCursor: true, clearOnComplete: false, stream: process.stderr, fps: 10 },
    cliProgress.Presets.shades_classic,
  )
  view.start(total ?? 1, 0, { units: '0', rate: '0' })
  return {
    update(done, units) {
      const rate = units / ((performance.now() - started) / 1000)
      view.update(total === undefined ? 0 : Math.min(done, total), { units: formatCount(units), rate: formatCount(rate) })
    },
    stop: () => view.stop(),
  }
}

function lines(label: string, unit: string, total: number | undefined): Progress {
  const started = performance.now()
  let last = started
  return {
    update(done, units) {
      const now = performance.now()
      if (now - last < LINE_INTERVAL_MS) return
      last = now
      const share = total ? ` (${Math.floor((100 * done) / total)}%)` : ''
      process.stderr.write(`${label}: ${formatCount(units)} ${unit}${share}, ${formatCount(units / ((now - started) / 1000))} ${unit}/s\n`)
    },
    stop() {},
  }
}
