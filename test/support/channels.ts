import { channel } from 'node:diagnostics_channel'
import { onTestFinished } from 'vitest'

/** Messages of a channel until the test ends. */
export function listen(name: string): object[] {
  const messages: object[] = []
  const listener = (message: unknown) => messages.push(message as object)
  channel(name).subscribe(listener)
  onTestFinished(() => void channel(name).unsubscribe(listener))
  return messages
}
