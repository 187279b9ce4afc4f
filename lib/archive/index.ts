export { Archive, type ArchiveEntry, type ArchiveProblem, type ArchiveProgress, type ArchiveReport, type ArchiveStats, openArchive } from './archive.js'
export type { ArchiverStats } from './archiver.js'
export type { TrainResult } from './dictionaries.js'
export type { ArchiveOptions } from './options.js'
