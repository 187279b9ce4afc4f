import { FOOTER_FRAME_BYTES } from '../format/constants.js'
import { ArchivedSegment } from '../segment/archived-segment.js'
import { Segment } from '../segment/segment.js'
import type { ClosedSegment } from './manifest.js'

/** A closed segment as MANIFEST knows it: its file, or the archive when the file was given up. */
export function closedSegment(directory: string, facts: ClosedSegment, archiveDirectory: string): Segment {
  return makeSegment(directory, facts, facts.local === false ? archiveOf(facts, archiveDirectory) : undefined)
}

/** The same segment as it is read from its archive, whether or not its file is there; undefined when it has none. */
export function archivedSegment(directory: string, facts: ClosedSegment, archiveDirectory: string): Segment | undefined {
  const archive = archiveOf(facts, archiveDirectory)
  return archive === undefined ? undefined : makeSegment(directory, facts, archive)
}

/** Does `segment` read what MANIFEST says now? */
export function isSegmentOf(segment: Segment, facts: ClosedSegment): boolean {
  const file = facts.local === false ? facts.archive?.file : undefined
  return segment.base === facts.base && segment.generation === facts.generation && segment.end === facts.end && segment.archive?.file === file
}

function makeSegment(directory: string, facts: ClosedSegment, archive: ArchivedSegment | undefined): Segment {
  return new Segment(directory, facts.base, facts.generation, facts.end, facts.bytes - FOOTER_FRAME_BYTES, true, archive)
}

function archiveOf(facts: ClosedSegment, archiveDirectory: string): ArchivedSegment | undefined {
  return facts.archive === undefined ? undefined : new ArchivedSegment(archiveDirectory, facts.archive)
}
