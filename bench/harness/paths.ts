import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The compiled harness lies in build/bench/js/harness. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '../../../..')
export const BUILD = join(ROOT, 'build/bench')
/** Data of a run: on the project's disk, as a temporary folder may well be memory. */
export const DATA = join(BUILD, 'data')
export const CONTENDERS = join(ROOT, 'bench/contenders')
export const CHILD = join(BUILD, 'js/child.js')
