/** Names every sync of a run by what it is for, so that a kind can be left out of a replay as if the code had never made it. */
import path from 'node:path'
import { COMMIT_FRAME_BYTES, FRAME_COMMIT } from '../../lib/format/constants.js'
import { isTornFile, parseSegmentFile } from '../../lib/format/names.js'
import { LOG_NAME, type Run } from './crash-run.js'

export const SYNC_KINDS = [
  'group',
  'mark',
  'footer and size of a full segment',
  'header before the rename',
  'segment directory after the rename',
  'segment directory after an unlink',
  'MANIFEST record',
  'MANIFEST.tmp before the rename',
  'directory after the rename of MANIFEST.tmp',
  'name of MANIFEST before it is believed',
  'rewrite of what recovery found',
  'recovery: directories',
  'saved tail before the cut',
  'directory after the rename of a saved tail',
  'size of a cut segment',
  'segment cut by truncateAfter',
  'segment directory, truncateAfter',
  'LOCK',
  'directory of the log in its parent',
  'directory of segments in the log',
] as const

export type SyncKind = (typeof SYNC_KINDS)[number]

/** Syncs whose absence no crash here shows, and why; they are kept because each makes its step right by itself. */
export const REDUNDANT: Partial<Record<SyncKind, string>> = {
  'name of MANIFEST before it is believed': 'it takes a kill right before a sync; killed-recovery.test.ts finds it',
  'recovery: directories': 'it takes a kill between a rename and its sync; killed-recovery.test.ts finds it',
  'segment directory after an unlink': 'MANIFEST no longer lists the file: when it comes back, open removes it again',
  'size of a cut segment': 'before open returns, the same file is synced once more with the rest of what was recovered',
  'directory of segments in the log': 'MANIFEST is created, and the same directory synced, before anything is acknowledged',
}

interface Context {
  /** Since the last sync of the file. */
  truncated: boolean
  marked: boolean
}

/** The kind of every sync event, by its number in the run; begin and end of one sync have the same. */
export function classifySyncs({ events, history }: Run): Map<number, SyncKind> {
  const kinds = new Map<number, SyncKind>()
  const files = new Map<number, string>()
  const contexts = new Map<string, Context>()
  const open = new Map<string, SyncKind>()
  let changed = ''
  let truncating = false
  let synced = ''
  const contextOf = (name: string): Context => {
    const context = contexts.get(name) ?? { truncated: false, marked: false }
    contexts.set(name, context)
    return context
  }
  events.forEach((event, at) => {
    switch (event.kind) {
      case 'note':
        truncating = history.moments[event.number].what.startsWith('truncateAfter ')
        return
      case 'open':
        files.set(event.fd, event.path)
        return
      case 'rename':
        for (const [fd, name] of files) if (name === event.path) files.set(fd, event.to)
        changed = `rename ${event.to}`
        return
      case 'unlink':
      case 'mkdir':
        changed = `${event.kind} ${event.path}`
        return
      case 'truncate':
        contextOf(files.get(event.fd) ?? '').truncated = true
        return
      case 'write':
        contextOf(files.get(event.fd) ?? '').marked = isMark(event.data)
        return
      case 'syncBegin': {
        const name = files.get(event.fd) ?? ''
        const kind = fileSync(name, contextOf(name), event.recovering === true, truncating)
        contexts.delete(name)
        synced = name
        open.set(`${event.fd}`, kind)
        kinds.set(at, kind)
        return
      }
      case 'syncDirectoryBegin': {
        const believed = event.recovering === true && path.basename(synced) === 'MANIFEST' && path.basename(event.path) === LOG_NAME
        const kind = believed ? 'name of MANIFEST before it is believed' : directorySync(event.path, changed, event.recovering === true, truncating)
        changed = ''
        synced = ''
        open.set(event.path, kind)
        kinds.set(at, kind)
        return
      }
      case 'syncEnd':
      case 'syncDirectoryEnd': {
        const kind = open.get('fd' in event ? `${event.fd}` : event.path)
        if (kind !== undefined) kinds.set(at, kind)
      }
    }
  })
  return kinds
}

function fileSync(name: string, context: Context, recovering: boolean, truncating: boolean): SyncKind {
  const file = path.basename(name)
  if (file === 'LOCK') return 'LOCK'
  if (file === 'MANIFEST') return 'MANIFEST record'
  if (file === 'MANIFEST.tmp') return 'MANIFEST.tmp before the rename'
  if (file === 'next.tmp') return 'header before the rename'
  if (file.endsWith('.torn.tmp')) return 'saved tail before the cut'
  if (parseSegmentFile(file) === undefined) throw new Error(`a sync of ${name} has no name`)
  if (truncating) return context.truncated ? 'segment cut by truncateAfter' : 'rewrite of what recovery found'
  if (recovering) return context.truncated ? 'size of a cut segment' : 'rewrite of what recovery found'
  if (context.truncated) return 'footer and size of a full segment'
  return context.marked ? 'mark' : 'group'
}

function directorySync(name: string, changed: string, recovering: boolean, truncating: boolean): SyncKind {
  const [what, target = ''] = changed.split(' ')
  const file = path.basename(target)
  if (name === '') return 'directory of the log in its parent'
  if (what === 'mkdir') return 'directory of segments in the log'
  if (what === 'rename' && parseSegmentFile(file) !== undefined) return 'segment directory after the rename'
  if (what === 'rename' && file === 'MANIFEST') return 'directory after the rename of MANIFEST.tmp'
  if (what === 'rename' && isTornFile(file)) return 'directory after the rename of a saved tail'
  if (truncating) return what === 'unlink' && path.basename(name) === 'segments' ? 'segment directory, truncateAfter' : 'recovery: directories'
  if (what === 'unlink' && path.basename(name) === 'segments' && !recovering) return 'segment directory after an unlink'
  return 'recovery: directories'
}

function isMark(data: Uint8Array): boolean {
  if (data.length !== COMMIT_FRAME_BYTES || data[22] !== FRAME_COMMIT) return false
  return new DataView(data.buffer, data.byteOffset).getUint32(40, true) === 0
}
