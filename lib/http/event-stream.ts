import type { Answer } from './answers.js'

/** Content types that event streams carry as text; others travel as base64. */
export function isTextual(contentType: string): boolean {
  return /^(text\/|application\/json\b)/i.test(contentType)
}

/**
 * The `data` event of an answer, made once for all who wait. Every line of the payload is a `data:` line of its own, whatever ends it, so that no payload
 * can pretend to be another event.
 */
export function dataEvent(answer: Answer, textual: boolean): Buffer {
  answer.event ??= Buffer.from(formatEvent('data', textual ? answer.body.toString('utf8') : answer.body.toString('base64')))
  return answer.event
}

export function controlEvent(nextOffset: string, cursor: number, upToDate: boolean): string {
  const control = { streamNextOffset: nextOffset, streamCursor: String(cursor), ...(upToDate ? { upToDate } : {}) }
  return formatEvent('control', JSON.stringify(control))
}

function formatEvent(name: string, payload: string): string {
  return `event: ${name}\ndata: ${payload.replace(/\r\n|\r|\n/g, '\ndata: ')}\n\n`
}
