/** What a benchmark case is made of. A case names its contenders; the harness runs each of them in a process of its own. */

/** Packages of bench/contenders. */
export type PeerPackage =
  | 'lmdb'
  | 'better-sqlite3'
  | 'classic-level'
  | 'rocksdb-native'
  | 'hypercore'
  | 'sonic-boom'
  | 'send'
  | '@durable-streams/server'
  | '@node-rs/crc32'
  | 'fast-crc32c'

/** Programs of the system (Debian packages of these names). */
export type Program = 'wrk' | 'nginx' | 'zstd'

export interface Metric {
  readonly key: string
  readonly label: string
  readonly better: 'higher' | 'lower'
}

export interface Measurement {
  /** Keyed by `Metric.key`; a metric that a contender does not have is left out. */
  readonly values: Readonly<Record<string, number>>
  /** What was done. Contenders of a round that report the same key must report the same value, else the run fails. */
  readonly work: Readonly<Record<string, string | number>>
  /** Facts for the report and for raw limits that repeat the same work, never compared. */
  readonly details?: Readonly<Record<string, number>>
}

/** What a contender is given in its process. */
export interface Run {
  readonly quick: boolean
  /** Growth is followed to 10^8. */
  readonly huge: boolean
  /** Empty before `prepare`, or before `measure` when the contender has no `prepare`. */
  readonly directory: string
  /** Directory of another contender of this case (one with `prepare`). */
  directoryOf(contender: string): string
  /** Measurements of contenders listed earlier, of this round. */
  readonly earlier: Readonly<Record<string, Measurement>>
}

export interface Contender {
  readonly name: string
  /** `limit`: what the machine does without Node or without a log; `baseline`: sealog's own other ways, shown, not raced. */
  readonly kind: 'sealog' | 'baseline' | 'peer' | 'limit'
  readonly package?: PeerPackage
  /** A contender is left out, with the reason, where one of them is missing. */
  readonly programs?: readonly Program[]
  readonly nodeFlags?: readonly string[]
  /** Runs once, before the first round: data that every round reads. */
  prepare?(run: Run): Promise<void>
  measure(run: Run): Promise<Measurement>
}

/** All rounds of a case. A comparison is the median of the ratios within the rounds, so that a machine that drifts drifts for both. */
export interface Results {
  readonly quick: boolean
  has(contender: string, metric?: string): boolean
  median(contender: string, metric: string): number
  detail(contender: string, key: string): number
  /** subject ÷ reference. */
  ratio(metric: string, subject: string, reference: string): number
}

export interface Verdict {
  readonly measured: string
  readonly reached: boolean
}

export interface Target {
  readonly text: string
  /** The contenders that must have run for a verdict. */
  readonly needs: readonly string[]
  judge(results: Results): Verdict
}

/** A metric that is measured at several sizes. */
export interface Plot {
  /** Part of the file's name. */
  readonly name: string
  readonly title: string
  readonly points: readonly { readonly x: number; readonly key: string }[]
}

export interface Case {
  readonly name: string
  readonly title: string
  /**
   * Rounds of this case per round asked for; default 1. Above 1: shorter rounds where the disk is the largest noise; below 1: figures
   * that hardly vary, like memory, in rounds that take long.
   */
  readonly roundsFactor?: number
  /** Rounds with --quick, where preparing takes longer than measuring. */
  readonly quickRounds?: number
  /** The first one is compared with peers and limits. */
  readonly metrics: readonly Metric[]
  readonly contenders: readonly Contender[]
  readonly targets: readonly Target[]
  /** Drawn instead of bars of the first metric. */
  readonly plots?: readonly Plot[]
  /** Shown under the table. */
  notes?(results: Results): readonly string[]
}
