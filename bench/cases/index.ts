import type { Case } from '../harness/case.js'
import { appendFlush } from './append-flush.js'
import { appendFsync1, appendFsync64, appendFsync1000 } from './append-fsync.js'
import { appendSizes } from './append-sizes.js'
import { appendWhileSealing } from './append-while-sealing.js'
import { archiveCases } from './archive.js'
import { archiveSettings } from './archive-settings.js'
import { crc32c } from './crc32c.js'
import { growthLog, growthStore } from './growth.js'
import { httpIdle } from './http-idle.js'
import { httpFanOut, httpTail } from './http-live.js'
import { httpSealed } from './http-sealed.js'
import { httpStalled } from './http-stalled.js'
import { indexLookup } from './index-lookup.js'
import { idleLogs, memory } from './memory.js'
import { openLogs } from './open-logs.js'
import { orderedTables } from './ordered-table.js'
import { randomRead, randomReadFeed } from './random-read.js'
import { randomReadCold } from './random-read-cold.js'
import { recovery } from './recovery.js'
import { reopen } from './reopen.js'
import { scan, scanFeed } from './scan.js'
import { sealing } from './sealing.js'
import { storeCompaction } from './store-compaction.js'
import { storeMixed } from './store-mixed.js'
import { storeMemory, storeOpen } from './store-open.js'
import { storeGetCached, storeGetUncached, storeRange } from './store-read.js'
import { storePut, storePutFsync } from './store-write.js'
import { tailCache, tailCatchUp } from './tail-cache.js'
import { waysToWrite } from './ways-to-write.js'

export const CASES: readonly Case[] = [
  appendFlush,
  appendFsync1,
  appendFsync64,
  appendFsync1000,
  ...appendSizes,
  waysToWrite,
  randomRead,
  randomReadFeed,
  randomReadCold,
  scan,
  scanFeed,
  crc32c,
  indexLookup,
  orderedTables,
  reopen,
  recovery,
  openLogs,
  memory,
  idleLogs,
  tailCache,
  tailCatchUp,
  sealing,
  appendWhileSealing,
  storeCompaction,
  ...archiveCases,
  archiveSettings,
  ...httpSealed,
  httpStalled,
  httpIdle,
  httpTail,
  httpFanOut,
  storePut,
  storePutFsync,
  storeGetCached,
  storeGetUncached,
  storeRange,
  storeOpen,
  storeMemory,
  storeMixed,
  growthLog,
  growthStore,
]
