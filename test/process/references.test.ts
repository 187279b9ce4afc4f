import { describe, expect, it } from 'vitest'
import { backends } from '../support/backends.js'
import { freshPath } from '../support/directories.js'
import { until } from '../support/logs.js'
import { startProgram } from '../support/programs.js'

interface Line {
  readonly waiting?: boolean
  readonly ended?: boolean
}

describe.each(backends)('what keeps a process alive (%s)', (backend) => {
  it.each(['log', 'reader'])('a follower of a %s with ref: false does not', async (what) => {
    const program = startProgram('reference.mjs', [backend, freshPath(), what, 'false'])
    const { status, stderr } = await program.ended
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(program.lines<Line>()).toEqual([{ waiting: true }, { ended: true }])
  })

  it.each(['log', 'reader'])('a waiting follower of a %s does by default', async (what) => {
    const program = startProgram('reference.mjs', [backend, freshPath(), what, 'true'])
    await until(() => program.lines<Line>().length > 0, 'it waits')
    // Nothing can be awaited that never comes: a process with nothing to do is gone within this second, as above.
    await new Promise((resolve) => setTimeout(resolve, 1000))
    expect(program.lines<Line>()).toEqual([{ waiting: true }])
    expect(program.child.exitCode).toBeNull()
    program.child.kill('SIGKILL')
    expect((await program.ended).signal).toBe('SIGKILL')
  })
})
