/** Tasks of a log follow each other, also when the calling thread takes them over. */
import { describe, expect, test } from 'vitest'
import type { Procedure } from '../../lib/kernels/procedure.js'
import * as io from '../../lib/kernels/requests.js'
import { TaskQueue } from '../../lib/kernels/task.js'
import { backends, environmentOf } from '../support/backends.js'

describe.each(backends)('tasks of a log (%s)', (backend) => {
  test('what a task that is finished on the calling thread gives rise to waits for its end', async () => {
    const queue = new TaskQueue(environmentOf(backend).runner)
    const steps: string[] = []
    const outcomes: Promise<void>[] = []
    const step = (name: string, cause: () => void) =>
      function* (): Procedure<void> {
        steps.push(`${name} begins`)
        cause()
        yield* io.statPath('/')
        steps.push(`${name} ends`)
      }
    const add = (name: string, cause: () => void = () => {}) => outcomes.push(queue.add(step(name, cause)))
    add('first')
    add('second', () => {
      expect(queue.idle).toBe(false)
      add('third')
    })
    queue.finishSync()
    expect(steps).toEqual(['first begins', 'first ends', 'second begins', 'second ends', 'third begins', 'third ends'])
    expect(queue.idle).toBe(true)
    await Promise.all(outcomes)
  })
})
