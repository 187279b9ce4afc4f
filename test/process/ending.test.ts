import { describe, expect, it } from 'vitest'
import { backends } from '../support/backends.js'
import { freshPath, makeDirectory } from '../support/directories.js'
import { range, readAll, text, withLog } from '../support/logs.js'
import { runProgram, startProgram } from '../support/programs.js'

/** 200 over the backends; `npm run soak` has ten times as many of each. */
const KILLS = Number(process.env.SEALOG_WORKER_KILLS ?? 100)

describe.each(backends)('G16: the end of a process or worker (%s)', (backend) => {
  it(`${KILLS} workers terminated in the middle of appends: nothing acknowledged is lost, nothing crashes, hangs or stays locked`, async () => {
    const result = await runProgram<{ terminated: number; acknowledged: number; recovered: number }>('worker-churn.mjs', [
      backend,
      KILLS,
      makeDirectory('churn'),
    ])
    expect(result.terminated).toBe(KILLS)
    // The kills must really have come in the middle of something.
    expect(result.acknowledged).toBeGreaterThan(KILLS)
    expect(result.recovered).toBeGreaterThanOrEqual(result.acknowledged / 2)
  }, 180_000)

  it.each(['exit', 'throw', 'listener', 'end'].flatMap((how) => ['fsync', 'flush', 'none'].map((durability) => [how, durability] as const)))(
    'a process that ends by %s in mode %s with appends pending leaves all of them written',
    async (how, durability) => {
      const directory = freshPath()
      const program = startProgram('exit.mjs', [backend, durability, directory, 3000, how])
      const { status, stderr } = await program.ended
      // A log that nobody closed does not hold the process; what mode none buffers is written all the same.
      expect({ status, stderr }).toEqual({ status: 7, stderr: '' })
      await withLog(directory, { backend }, async (log) => {
        expect((await readAll(log)).map((record) => text(record.value))).toEqual(range(0, 3000).map((i) => `record ${i}`))
      })
    },
  )
})
