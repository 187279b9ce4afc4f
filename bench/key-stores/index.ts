/** Stores of values by key, with their ways of doing what the cases ask for. */
export { LEVEL_KEYS } from './level.js'
export { LMDB_KEYS } from './lmdb.js'
export { MAP } from './map.js'
export { ROCKSDB } from './rocksdb.js'
export { SEALOG_GET_MANY, SEALOG_STORE, SEALOG_STORE_JS, SEALOG_UNCACHED, SEALOG_UNCACHED_JS } from './sealog.js'
export { SQLITE_KEYS } from './sqlite.js'
