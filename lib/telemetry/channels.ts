import { channel } from 'node:diagnostics_channel'

/**
 * What sealog tells on `node:diagnostics_channel`. Durations are seconds, `log` is the log's directory. Publishers ask `hasSubscribers` before they
 * make a message: publishing costs nothing while nobody listens.
 */
export interface ChannelMessages {
  /** A read was answered from the tail cache. `depth`: records from the first one read to the committed end; `count`: records read. */
  'sealog:cache:hit': { readonly log: string; readonly depth: number; readonly count: number }
  /** A read below the committed end was not in the tail cache. */
  'sealog:cache:miss': { readonly log: string }
  /** Records left the tail cache. */
  'sealog:cache:evict': { readonly log: string; readonly count: number; readonly reason: EvictionReason }
  /** A read of a store was answered from its record cache. */
  'sealog:recordcache:hit': { readonly log: string; readonly tier: 'hot' | 'warm' }
  /** A read of a key of a store was not in its record cache. */
  'sealog:recordcache:miss': { readonly log: string }
  /** Records left the record cache of a store. */
  'sealog:recordcache:evict': { readonly log: string; readonly count: number; readonly reason: RecordCacheEvictionReason }
  /** A transfer by sendfile ended well. `chunk`: its sequence number. */
  'sealog:sendfile:serve': { readonly log: string; readonly duration: number; readonly bytes: number; readonly chunk: number }
  /** An answer took another way than sendfile. `offset`: its first record. */
  'sealog:sendfile:fallback': { readonly log: string; readonly reason: FallbackReason; readonly offset: number }
  /** A transfer by sendfile was broken off: the peer went away, stalled, or the file could not be read. */
  'sealog:sendfile:error': { readonly log: string; readonly code: string; readonly bytes: number; readonly chunk: number }
  'sealog:seal:start': { readonly log: string; readonly chunk: number }
  'sealog:seal:done': { readonly log: string; readonly chunk: number; readonly duration: number; readonly bytes: number; readonly records: number }
  /** Sealing failed; it is tried again after `retryInMs`. */
  'sealog:seal:error': { readonly log: string; readonly chunk: number; readonly error: Error; readonly retryInMs: number }
  /** A pass of compaction over a store ended. `segments` were rewritten; `bytesBefore` and `bytesAfter`: theirs. */
  'sealog:compact:done': {
    readonly log: string
    readonly duration: number
    readonly segments: number
    readonly recordsRemoved: number
    readonly bytesBefore: number
    readonly bytesAfter: number
    readonly throughOffset: number
  }
  /** A pass of retention removed something. `bytes`: of segment files and archives that went. */
  'sealog:retention:done': { readonly log: string; readonly startOffset: number; readonly segments: number; readonly bytes: number }
  /** A pass of retention in the background failed; the next one comes after the usual time. */
  'sealog:retention:error': { readonly log: string; readonly error: Error }
  /** A consumer lagged more than it may and was dropped: retention keeps nothing for it any more. */
  'sealog:consumer:drop': { readonly log: string; readonly consumer: string; readonly lagBytes: number; readonly maxLagBytes: number }
  /** A segment, by its first offset, is being archived. */
  'sealog:archive:start': { readonly log: string; readonly base: number }
  /** It is archived and was read back. `segmentBytes` and `bytes`: of the segment and of its archive. */
  'sealog:archive:done': { readonly log: string; readonly base: number; readonly duration: number; readonly segmentBytes: number; readonly bytes: number }
  /** It could not be archived; it is tried again after `retryInMs`. */
  'sealog:archive:error': { readonly log: string; readonly base: number; readonly error: Error; readonly retryInMs: number }
  /** It is damaged: it is set aside, and not archived. */
  'sealog:archive:quarantine': { readonly log: string; readonly base: number; readonly error: Error }
  /** A read ended. `records` and `bytes` (of values) count what it gave; `source`: where it came from. */
  'sealog:read': {
    readonly log: string
    readonly operation: 'get' | 'getSync' | 'getMany' | 'block'
    readonly duration: number
    readonly records: number
    readonly source: 'cache' | 'segment'
  }
  /** Groups of a log were committed. `duration`: since the oldest record among them was accepted; `records`, `groups` and `syncs` as counted since the last message. */
  'sealog:commit': { readonly log: string; readonly duration: number; readonly records: number; readonly groups: number; readonly syncs: number }
  /** An operation of a log failed. `code`: of the LogError. */
  'sealog:error': { readonly log: string; readonly operation: ErrorOperation; readonly code: string }
}

export type EvictionReason = 'records' | 'age' | 'bytes' | 'budget' | 'truncated'
/** `replaced`: the key has been written or deleted since, or the log was opened anew. */
export type RecordCacheEvictionReason = 'records' | 'age' | 'bytes' | 'replaced'
/** Why an answer did not go by sendfile. */
export type FallbackReason = 'tls' | 'http2' | 'wrapped' | 'too_small' | 'not_sealed' | 'platform'
export type ErrorOperation = 'append' | 'read' | 'seal' | 'archive' | 'serve' | 'compact'

type ChannelName = keyof ChannelMessages

/** A typed channel. */
export interface TelemetryChannel<Message> {
  readonly hasSubscribers: boolean
  publish(message: Message): void
}

function typed<Name extends ChannelName>(name: Name): TelemetryChannel<ChannelMessages[Name]> {
  return channel(name)
}

export const cacheHit = typed('sealog:cache:hit')
export const cacheMiss = typed('sealog:cache:miss')
export const cacheEvict = typed('sealog:cache:evict')
export const recordCacheHit = typed('sealog:recordcache:hit')
export const recordCacheMiss = typed('sealog:recordcache:miss')
export const recordCacheEvict = typed('sealog:recordcache:evict')
export const sendfileServe = typed('sealog:sendfile:serve')
export const sendfileFallback = typed('sealog:sendfile:fallback')
export const sendfileError = typed('sealog:sendfile:error')
export const sealStart = typed('sealog:seal:start')
export const sealDone = typed('sealog:seal:done')
export const sealError = typed('sealog:seal:error')
export const compactionDone = typed('sealog:compact:done')
export const retentionDone = typed('sealog:retention:done')
export const retentionError = typed('sealog:retention:error')
export const consumerDrop = typed('sealog:consumer:drop')
export const archiveStart = typed('sealog:archive:start')
export const archiveDone = typed('sealog:archive:done')
export const archiveError = typed('sealog:archive:error')
export const archiveQuarantine = typed('sealog:archive:quarantine')
export const readDone = typed('sealog:read')
export const commitDone = typed('sealog:commit')
export const operationError = typed('sealog:error')
