import type { Measurement, Results } from './case.js'

/** Nearest rank; `fraction` 0.5 is the median. */
export function percentile(values: ArrayLike<number>, fraction: number): number {
  if (values.length === 0) return Number.NaN
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(sorted.length * fraction) - 1))]
}

/** Of an even number of values: the mean of the two in the middle. */
export function median(values: ArrayLike<number>): number {
  if (values.length === 0) return Number.NaN
  const sorted = Float64Array.from(values).sort()
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** One entry per round; undefined where the contender failed. */
export type Rounds = ReadonlyMap<string, readonly (Measurement | undefined)[]>

export class RoundResults implements Results {
  readonly quick: boolean
  readonly #rounds: Rounds

  constructor(rounds: Rounds, quick: boolean) {
    this.#rounds = rounds
    this.quick = quick
  }

  has(contender: string, metric?: string): boolean {
    return this.#measured(contender).some((one) => metric === undefined || metric in one.values)
  }

  values(contender: string, metric: string): number[] {
    return this.#measured(contender).flatMap((one) => (metric in one.values ? [one.values[metric]] : []))
  }

  median(contender: string, metric: string): number {
    return median(this.values(contender, metric))
  }

  detail(contender: string, key: string): number {
    return median(this.#measured(contender).flatMap((one) => (one.details && key in one.details ? [one.details[key]] : [])))
  }

  ratio(metric: string, subject: string, reference: string): number {
    const references = this.#rounds.get(reference) ?? []
    const ratios: number[] = []
    for (const [round, one] of (this.#rounds.get(subject) ?? []).entries()) {
      const other = references[round]
      if (one && other && metric in one.values && metric in other.values) ratios.push(one.values[metric] / other.values[metric])
    }
    return median(ratios)
  }

  #measured(contender: string): Measurement[] {
    return (this.#rounds.get(contender) ?? []).filter((one) => one !== undefined)
  }
}
