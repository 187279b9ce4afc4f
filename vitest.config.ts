import { relative } from 'node:path'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** By descending time; one that began last would run alone at the end, on one of the processors. */
const LONGEST = ['process/endurance', 'crash/', 'process/ending', 'damage/', 'cli/', 'sealing/crash', 'store/']

/** Files that take long first. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId, project }: TestSpecification) => {
      const found = LONGEST.findIndex((start) => relative(project.config.root, moduleId).startsWith(`test/${start}`))
      return found < 0 ? LONGEST.length : found
    }
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b))
  }
}

// Forks, not threads: tests kill, exit and measure whole processes, and an addon that dies takes its own file only.
export default defineConfig({
  // binding.cts too; by default vite leaves .cts files as they are.
  oxc: { include: /\.[cm]?ts$/ },
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    testTimeout: 120_000,
    hookTimeout: 60_000,
    teardownTimeout: 20_000,
  },
})
