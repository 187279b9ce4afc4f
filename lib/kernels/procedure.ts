/** One step of a procedure: a file request of the seam, or a step of the commit path (`fd` is the log handle then). */
export interface FileRequest {
  readonly operation: number
  readonly fd: number
  readonly a: number
  readonly b: number
  readonly bytes?: Uint8Array
  readonly numbers?: Float64Array
  readonly table?: Uint32Array | Float64Array
  readonly path?: string
  readonly path2?: string
  /** Set by the runner when a FILE_LIST is done. */
  text?: string
}

export const TASK_DETACH = 1001
/** `a`: COMMIT_… level. */
export const TASK_COMMIT = 1002

/**
 * A procedure is a generator that yields requests and receives their statuses: every multi-step piece of disk work (open, recovery, roll, truncation,
 * close) is written once and driven either way: asynchronously on kernel threads, or synchronously on the calling thread.
 */
export type Procedure<T> = Generator<FileRequest, T, number>
