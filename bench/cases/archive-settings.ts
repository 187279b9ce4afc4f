import type { Case, Contender, Run } from '../harness/case.js'
import { archiveAll, feedFacts, makeFeedLog } from '../stores/archived-log.js'

const MB = 1e6

interface Setting {
  readonly name: string
  readonly level: number
  readonly blockKib: number
  readonly dictionary?: boolean
}

const PLAIN_SMALL = 'level 3, blocks of 16 KiB'
const TRAINED_SMALL = `${PLAIN_SMALL}, dictionary`
const SETTINGS: readonly Setting[] = [
  { name: 'level 3, blocks of 256 KiB (default)', level: 3, blockKib: 256 },
  { name: 'level 1', level: 1, blockKib: 256 },
  { name: 'level 6', level: 6, blockKib: 256 },
  { name: 'level 9', level: 9, blockKib: 256 },
  { name: 'level 19', level: 19, blockKib: 256 },
  { name: PLAIN_SMALL, level: 3, blockKib: 16 },
  { name: TRAINED_SMALL, level: 3, blockKib: 16, dictionary: true },
  { name: 'level 3, blocks of 1 MiB', level: 3, blockKib: 1024 },
  { name: 'level 3, dictionary', level: 3, blockKib: 256, dictionary: true },
]

/** Level 19 makes a few MB a second. */
const SETTING_SEGMENTS = 2

const settings: readonly Contender[] = SETTINGS.map(({ name, level, blockKib, dictionary = false }, i) => ({
  name,
  kind: i === 0 ? 'sealog' : 'baseline',
  // All use the log of the first one.
  prepare: i === 0 ? (run: Run) => makeFeedLog(run.directory, SETTING_SEGMENTS) : undefined,
  measure: async (run) => {
    const directory = run.directoryOf(SETTINGS[0].name)
    const facts = feedFacts(directory)
    const { seconds, threadSeconds, bytes } = await archiveAll(directory, { level, blockBytes: blockKib * 1024 }, dictionary)
    return {
      values: { percent: (100 * bytes) / facts.bytes, mbPerSecond: facts.bytes / MB / seconds, packMbPerCpuSecond: facts.bytes / MB / threadSeconds },
      work: { segments: facts.segments, bytes: facts.bytes },
    }
  },
}))

export const archiveSettings: Case = {
  name: 'archive-settings',
  quickRounds: 1,
  roundsFactor: 0.6,
  title: `Archiving ${SETTING_SEGMENTS} segments of 10 MB of the change feed, with verification, by level, size of the blocks and with a dictionary (made before, untimed)`,
  metrics: [
    { key: 'percent', label: '% of the segments', better: 'lower' },
    { key: 'mbPerSecond', label: 'MB/s', better: 'higher' },
    { key: 'packMbPerCpuSecond', label: 'MB per CPU second of the compressing threads', better: 'higher' },
  ],
  contenders: settings,
  targets: [
    {
      text: 'blocks of 16 KiB with a dictionary ≥ 8 % smaller than without',
      needs: [PLAIN_SMALL, TRAINED_SMALL],
      judge: (results) => {
        const gain = 100 * (1 - results.ratio('percent', TRAINED_SMALL, PLAIN_SMALL))
        return { measured: `${gain.toFixed(1)} % smaller`, reached: gain >= 8 }
      },
    },
  ],
  notes: () => ['A dictionary is used only where it makes the newest segment at least 3 % smaller; where it does not, its row is that without.'],
}
