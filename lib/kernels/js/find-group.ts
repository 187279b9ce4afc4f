import { viewOf } from '../../format/bytes.js'
import * as f from '../../format/constants.js'
import * as s from '../kernels.js'
import { extendCrc, extendCrcWord } from './crc32c.js'
import { Commit, FRAME_GOOD, Frame, FrameOrder, frameRules } from './frame-check.js'
import type { Task } from './task.js'
import { FrameWindow, NOT_LOADED, readFull } from './window.js'

const SEARCH_BYTES = 256 * 1024
const VERIFY_BYTES = 64 * 1024

/** FILE_FIND_GROUP */
export function* findGroup(fd: number, from: number, end: number, numbers: Float64Array): Task {
  const rules = frameRules(numbers[s.FIND_SEED], false, numbers[s.FIND_MAX_RECORD])
  const bytes = new Uint8Array(SEARCH_BYTES)
  const view = viewOf(bytes)
  const window = new FrameWindow(fd, end, new Uint8Array(VERIFY_BYTES), rules)
  const frame = new Frame()
  const commit = new Commit()
  let position = Math.ceil(from / f.FRAME_ALIGNMENT) * f.FRAME_ALIGNMENT
  while (end - position >= f.COMMIT_FRAME_BYTES) {
    const got = yield* readFull(fd, bytes.subarray(0, Math.min(SEARCH_BYTES, end - position)), position)
    if (got < 0) return got
    let at = 0
    for (; at + f.COMMIT_FRAME_BYTES <= got; at += f.FRAME_ALIGNMENT) {
      // Type, no flags, and the length of a commit frame: all but a few positions end here.
      if (view.getUint16(at + 22, true) !== f.FRAME_COMMIT || view.getUint32(at + 4, true) !== f.COMMIT_BODY_BYTES) continue
      frame.load(view, at)
      commit.load(view, at)
      if (!isPossible(frame, commit, position + at) || extendCrc(rules.seed, view, at + 4, at + f.COMMIT_FRAME_BYTES) !== frame.crc) continue
      const found = yield* verifyGroup(window, frame, commit, position + at)
      if (found < 0) return found
      if (found === 0) continue
      report(frame, commit, position + at, numbers)
      return 1
    }
    if (at === 0) return 0
    position += at
  }
  return 0
}

/** What can be told without looking at the group. */
function isPossible(frame: Frame, commit: Commit, position: number): boolean {
  if (frame.offset > f.OFFSET_LIMIT + 1 || !commit.isSane(frame.offset, position)) return false
  if (commit.syncedOffset > frame.offset - commit.records) return false
  return commit.records <= (position - commit.groupStart) / f.FRAME_HEADER_BYTES
}

/** 1: all frames from the group's start lead to the commit frame at `end`. Another one on the way ends it, so no group is looked at twice. */
function* verifyGroup(window: FrameWindow, frame: Frame, commit: Commit, end: number): Task {
  const order = new FrameOrder(false, frame.offset - commit.records, -1)
  let chain = extendCrcWord(0, commit.prevChain)
  let position = commit.groupStart
  for (let records = 0; records < commit.records; records++) {
    let verdict = window.check(position)
    if (verdict === NOT_LOADED) verdict = yield* window.load(position)
    if (verdict < 0) return verdict
    if (verdict !== FRAME_GOOD || !window.frame.isRecord || !order.acceptRecord(window.frame)) return 0
    chain = extendCrcWord(chain, window.frame.crc)
    position += window.frame.size
    if (position > end) return 0
  }
  if (position !== end || !order.acceptEnd(frame)) return 0
  return commit.records === 0 || chain === commit.chain ? 1 : 0
}

function report(frame: Frame, commit: Commit, position: number, numbers: Float64Array): void {
  numbers[s.FIND_GROUP_START] = commit.groupStart
  numbers[s.FIND_COMMIT_POSITION] = position
  numbers[s.FIND_FIRST_OFFSET] = frame.offset - commit.records
  numbers[s.FIND_RECORDS] = commit.records
  numbers[s.FIND_SYNCED_OFFSET] = commit.syncedOffset
  numbers[s.FIND_EPOCH] = commit.epoch
  numbers[s.FIND_PREV_CHAIN] = commit.prevChain
  numbers[s.FIND_CHAIN] = commit.chain
  numbers[s.FIND_END_OFFSET] = frame.offset
}
