import path from 'node:path'
import {
  CHUNKS_DIRECTORY,
  CONSUMERS_DIRECTORY,
  isTornFile,
  parseArchiveFile,
  parseChunkFile,
  parseDictionaryFile,
  parseIndexFile,
  parseSegmentFile,
  SEGMENTS_DIRECTORY,
  SNAPSHOT_FILE,
} from '../format/names.js'
import type { Procedure } from '../kernels/procedure.js'
import * as io from '../kernels/requests.js'

/** Bytes of the files of a log, by their sizes; space that is reserved for the segment that is appended to counts. */
export interface DiskUsage {
  readonly segments: number
  /** Sparse offset indexes. */
  readonly indexes: number
  /** Sealed chunks, with the positions of their elements. */
  readonly chunks: number
  /** Compressed siblings of chunks. */
  readonly siblings: number
  readonly archives: number
  readonly dictionaries: number
  /** Key index of a store. */
  readonly snapshot: number
  /** Positions of named consumers. */
  readonly consumers: number
  /** What recovery cut away. */
  readonly torn: number
  /** MANIFEST, COMMITTED, LOCK, what is being written, and what is not sealog's. Folders that sealog does not know are not looked into. */
  readonly other: number
  readonly total: number
}

type Kind = Exclude<keyof DiskUsage, 'total'>

const KINDS: readonly Kind[] = ['segments', 'indexes', 'chunks', 'siblings', 'archives', 'dictionaries', 'snapshot', 'consumers', 'torn', 'other']

/** Works beside whoever writes: a file that goes away meanwhile is not counted. */
export function* diskUsage(directory: string, archives: string): Procedure<DiskUsage> {
  const bytes = new Map<Kind, number>(KINDS.map((kind) => [kind, 0]))
  const folders: ReadonlyArray<readonly [string, (name: string) => Kind]> = [
    [directory, ofDirectory],
    [path.join(directory, SEGMENTS_DIRECTORY), ofSegments],
    [path.join(directory, CHUNKS_DIRECTORY), ofChunks],
    [path.join(directory, CONSUMERS_DIRECTORY), () => 'consumers'],
    [archives, ofArchives],
  ]
  const inside = new Set(folders.map(([folder]) => folder))
  for (const [folder, kindOf] of folders) {
    for (const name of (yield* io.list(folder)) ?? []) {
      const file = path.join(folder, name)
      if (inside.has(file)) continue
      const kind = kindOf(name)
      bytes.set(kind, (bytes.get(kind) ?? 0) + ((yield* io.statPath(file))?.size ?? 0))
    }
  }
  const usage = Object.fromEntries(bytes) as Record<Kind, number>
  return { ...usage, total: KINDS.reduce((sum, kind) => sum + usage[kind], 0) }
}

function ofDirectory(name: string): Kind {
  return name === SNAPSHOT_FILE ? 'snapshot' : isTornFile(name) ? 'torn' : 'other'
}

function ofSegments(name: string): Kind {
  return parseSegmentFile(name) !== undefined ? 'segments' : parseIndexFile(name) !== undefined ? 'indexes' : 'other'
}

function ofChunks(name: string): Kind {
  const kind = parseChunkFile(name)?.kind
  return kind === undefined ? 'other' : kind === 'gzip' || kind === 'zstd' ? 'siblings' : 'chunks'
}

function ofArchives(name: string): Kind {
  return parseArchiveFile(name) !== undefined ? 'archives' : parseDictionaryFile(name) !== undefined ? 'dictionaries' : 'other'
}
