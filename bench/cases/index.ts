import type { Case } from '../harness/case.js'
import { appendFlush } from './append-flush.js'
import { appendFsync1, appendFsync64, appendFsync1000 } from './append-fsync.js'
import { crc32c } from './crc32c.js'
import { indexLookup } from './index-lookup.js'
import { idleLogs, memory } from './memory.js'
import { randomRead } from './random-read.js'
import { reopen } from './reopen.js'
import { scan } from './scan.js'

export const CASES: readonly Case[] = [
  appendFlush,
  appendFsync1,
  appendFsync64,
  appendFsync1000,
  randomRead,
  scan,
  crc32c,
  indexLookup,
  reopen,
  memory,
  idleLogs,
]
