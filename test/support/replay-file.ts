/** One file on a disk that may lose power: what is durable, and what was done since. */
export interface FileImage {
  /** Up to the last byte ever written; the rest of `size` is zero. */
  readonly data: Uint8Array
  readonly size: number
}

type FileOperation = { readonly kind: 'write'; readonly position: number; readonly data: Uint8Array } | { readonly kind: 'size'; readonly size: number }

const SECTOR = 512

/** One thing that a crash decides about a file. Versions count the operations that came through: 0 none, `versions − 1` all. */
export interface FileChoice {
  /** −1: the size, else a sector. */
  readonly sector: number
  readonly versions: number
}

export class FileNode {
  #durable: FileImage
  #pending: FileOperation[] = []
  /** Operations that were synced away, so that a sync can name what was there when it began. */
  #settled = 0

  constructor(durable: FileImage = { data: new Uint8Array(0), size: 0 }) {
    this.#durable = durable
  }

  write(position: number, data: Uint8Array): void {
    this.#pending.push({ kind: 'write', position, data })
  }

  /** Truncation, or space reserved by fallocate. */
  resize(size: number): void {
    this.#pending.push({ kind: 'size', size })
  }

  allocate(end: number): void {
    const { size } = this.live()
    if (end > size) this.resize(end)
  }

  get hasPending(): boolean {
    return this.#pending.length > 0
  }

  /** What a sync that begins now will cover. */
  get issued(): number {
    return this.#settled + this.#pending.length
  }

  /** A sync that began when `issued` operations had been issued has ended. */
  settle(issued: number): void {
    const count = issued - this.#settled
    if (count <= 0) return
    this.#durable = apply(this.#durable, this.#pending.slice(0, count))
    this.#pending = this.#pending.slice(count)
    this.#settled = issued
  }

  /** As processes see it. */
  live(): FileImage {
    return apply(this.#durable, this.#pending)
  }

  choices(): FileChoice[] {
    const sectors = this.#history()
    const sizes = this.#sizes().length
    const choices: FileChoice[] = sizes > 1 ? [{ sector: -1, versions: sizes }] : []
    for (const [sector, operations] of sectors) choices.push({ sector, versions: operations.length + 1 })
    return choices
  }

  /** The file after a crash that decided so; `versions` in the order of `choices`. */
  crashed(choices: readonly FileChoice[], versions: readonly number[]): FileImage {
    if (choices.length === 0) return this.#durable
    const sizes = this.#sizes()
    const chosen = sizes[choices[0].sector === -1 ? versions[0] : sizes.length - 1]
    const history = this.#history()
    const limit = Math.max(
      this.#durable.data.length,
      ...this.#pending.map((operation) => (operation.kind === 'write' ? operation.position + operation.data.length : 0)),
    )
    const data = new Uint8Array(Math.min(limit, chosen.size))
    data.set(this.#durable.data.subarray(0, Math.min(this.#durable.data.length, data.length)))
    choices.forEach(({ sector }, i) => {
      const operations = history.get(sector)
      if (operations === undefined) return
      // Whoever knows of a truncation never sees again what it took away.
      const cut = operations.findLastIndex((index) => index <= chosen.index && this.#pending[index].kind === 'size')
      for (const index of operations.slice(0, Math.max(versions[i], cut + 1))) applyTo(data, this.#pending[index], sector * SECTOR, (sector + 1) * SECTOR)
    })
    return { data, size: chosen.size }
  }

  /** The sizes one after the other, with the operation that made each. */
  #sizes(): Array<{ size: number; index: number }> {
    let { size } = this.#durable
    const sizes = [{ size, index: -1 }]
    this.#pending.forEach((operation, index) => {
      const next = operation.kind === 'size' ? operation.size : Math.max(size, operation.position + operation.data.length)
      if (next !== size) sizes.push({ size: next, index })
      size = next
    })
    return sizes
  }

  /** For every sector the operations that change it, in order. */
  #history(): Map<number, number[]> {
    const sectors = new Map<number, number[]>()
    let highest = this.#durable.data.length
    const touch = (from: number, to: number, index: number) => {
      for (let sector = Math.floor(from / SECTOR); sector * SECTOR < to; sector++) {
        const operations = sectors.get(sector)
        if (operations === undefined) sectors.set(sector, [index])
        else operations.push(index)
      }
    }
    this.#pending.forEach((operation, index) => {
      if (operation.kind === 'write') {
        touch(operation.position, operation.position + operation.data.length, index)
        highest = Math.max(highest, operation.position + operation.data.length)
      } else if (operation.size < highest) {
        touch(operation.size, highest, index)
      }
    })
    return sectors
  }
}

function apply(image: FileImage, operations: readonly FileOperation[]): FileImage {
  if (operations.length === 0) return image
  let { data, size } = image
  for (const operation of operations) {
    if (operation.kind === 'size') {
      size = operation.size
      if (data.length > size) data = data.slice(0, size)
      continue
    }
    const end = operation.position + operation.data.length
    const next = new Uint8Array(Math.max(data.length, end))
    next.set(data)
    next.set(operation.data, operation.position)
    data = next
    size = Math.max(size, end)
  }
  return { data, size }
}

/** The part of an operation that lies in `from` … `to`. */
function applyTo(data: Uint8Array, operation: FileOperation, from: number, to: number): void {
  if (operation.kind === 'size') {
    if (operation.size < to) data.fill(0, Math.max(from, operation.size), to)
    return
  }
  const start = Math.max(from, operation.position)
  const end = Math.min(to, operation.position + operation.data.length, data.length)
  if (start < end) data.set(operation.data.subarray(start - operation.position, end - operation.position), start)
}
