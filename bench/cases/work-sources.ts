/** What reading cases read. */
import { makeRecords, RECORD_BYTES } from '../harness/work.js'
import { readFeed } from '../stores/archived-log.js'

export interface Source {
  /** Record i is `records()[i % records().length]`. */
  records(): readonly Buffer[]
  count(quick: boolean): number
  /** For titles. */
  readonly name: string
}

/** All of one size, without any pattern. */
export const UNIFORM: Source = {
  records: () => makeRecords(RECORD_BYTES),
  count: (quick) => (quick ? 100_000 : 500_000),
  name: `500,000 (--quick: 100,000) records of ${RECORD_BYTES} bytes`,
}

const FEED_RECORDS = 72_422

/** Real ones of 174 to 520 bytes, 291 on average. */
export const FEED: Source = {
  records: () => readFeed().map(({ value }) => value),
  count: (quick) => (quick ? 1 : 4) * FEED_RECORDS,
  name: 'records of the change feed in demo/, 174 to 520 bytes, four times (--quick: once) its 72,422',
}
