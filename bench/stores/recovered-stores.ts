import { LEVEL } from './level.js'
import { LMDB } from './lmdb.js'
import { openStore, SEALOG } from './sealog.js'
import { SQLITE } from './sqlite.js'
import type { StoreKind } from './store.js'

/** More than is written: nothing is closed, so that a recovery has all of it to read. */
const ONE_SEGMENT_BYTES = 4 * 2 ** 30

export const ONE_SEGMENT: StoreKind = {
  name: 'sealog, one segment',
  kind: 'baseline',
  open: (directory, durability) => openStore(directory, { durability, backend: 'native', segmentBytes: ONE_SEGMENT_BYTES }),
}

export const ONE_SEGMENT_JS: StoreKind = {
  name: 'sealog js, one segment',
  kind: 'baseline',
  open: (directory, durability) => openStore(directory, { durability, backend: 'js', segmentBytes: ONE_SEGMENT_BYTES }),
}

/** Those that are killed and opened again. */
export const RECOVERED_STORES: readonly StoreKind[] = [SEALOG, ONE_SEGMENT, ONE_SEGMENT_JS, LMDB, SQLITE, LEVEL]
