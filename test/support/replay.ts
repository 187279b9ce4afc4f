/**
 * A disk that loses power: applies a recording event by event and says at any time what could be left after a crash. Durable is what a sync covered that
 * ended, and of that only what was issued before it began; of the rest every 512-byte sector, every file size and every directory entry comes through or not,
 * each for itself.
 */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import type { Random } from './random.js'
import type { DiskEvent } from './recording.js'
import { type FileChoice, type FileImage, FileNode } from './replay-file.js'

/** Files by relative path; directories have none. */
export type DiskImage = ReadonlyMap<string, FileImage | undefined>

type Node = FileNode | DirectoryNode
type EntryOperation =
  | { readonly kind: 'link'; readonly name: string; readonly node: Node }
  | { readonly kind: 'unlink'; readonly name: string }
  | { readonly kind: 'rename'; readonly name: string; readonly to: string; readonly node: Node }

class DirectoryNode {
  #durable = new Map<string, Node>()
  #pending: EntryOperation[] = []
  #settled = 0

  add(operation: EntryOperation): void {
    this.#pending.push(operation)
  }

  get pendingCount(): number {
    return this.#pending.length
  }

  get issued(): number {
    return this.#settled + this.#pending.length
  }

  settle(issued: number): void {
    const count = issued - this.#settled
    if (count <= 0) return
    this.#durable = entriesAfter(this.#durable, this.#pending.slice(0, count))
    this.#pending = this.#pending.slice(count)
    this.#settled = issued
  }

  live(): Map<string, Node> {
    return entriesAfter(this.#durable, this.#pending)
  }

  crashed(kept: readonly number[]): Map<string, Node> {
    return entriesAfter(
      this.#durable,
      this.#pending.filter((_, i) => kept[i] > 0),
    )
  }

  /** Whatever any crash could leave here. */
  reachable(): Set<Node> {
    const nodes = new Set(this.#durable.values())
    for (const operation of this.#pending) if (operation.kind !== 'unlink') nodes.add(operation.node)
    return nodes
  }
}

function entriesAfter(entries: Map<string, Node>, operations: readonly EntryOperation[]): Map<string, Node> {
  const after = new Map(entries)
  for (const operation of operations) {
    if (operation.kind === 'link') after.set(operation.name, operation.node)
    else if (operation.kind === 'unlink') after.delete(operation.name)
    else {
      if (after.get(operation.name) === operation.node) after.delete(operation.name)
      after.set(operation.to, operation.node)
    }
  }
  return after
}

interface Undecided {
  readonly node: Node
  readonly choices: readonly FileChoice[]
  /** Number of versions of each choice. */
  readonly versions: readonly number[]
}

/** Combinations up to which every one is tried: eight operations, each kept or lost. */
const EXHAUSTIVE = 256

export class Disk {
  #root = new DirectoryNode()
  #descriptors = new Map<number, FileNode>()
  readonly #syncs = new Map<string, number[]>()

  /** A disk on which all of `image` is durable. */
  static of(image: DiskImage): Disk {
    const disk = new Disk()
    for (const [name, file] of image) disk.#link(name, file === undefined ? new DirectoryNode() : new FileNode(file))
    disk.#settleAll(disk.#root)
    return disk
  }

  /** The process died: its descriptors are gone, the page cache is not. */
  endProcess(): void {
    this.#descriptors.clear()
    this.#syncs.clear()
  }

  apply(event: DiskEvent): void {
    switch (event.kind) {
      case 'open': {
        let node = this.#find(event.path)
        if (node === undefined && event.create) {
          node = new FileNode()
          this.#link(event.path, node)
        }
        if (!(node instanceof FileNode)) throw new Error(`the recording opens ${event.path}, which does not exist`)
        if (event.truncate && node.live().size > 0) node.resize(0)
        this.#descriptors.set(event.fd, node)
        return
      }
      case 'close':
        this.#descriptors.delete(event.fd)
        return
      case 'write':
        this.#descriptors.get(event.fd)?.write(event.position, event.data)
        return
      case 'truncate':
        this.#descriptors.get(event.fd)?.resize(event.size)
        return
      case 'allocate':
        this.#descriptors.get(event.fd)?.allocate(event.end)
        return
      case 'syncBegin':
      case 'syncEnd':
        return this.#sync(`${event.fd}`, this.#descriptors.get(event.fd), event.kind === 'syncBegin', event.good)
      case 'syncDirectoryBegin':
      case 'syncDirectoryEnd':
        return this.#sync(event.path, this.#find(event.path), event.kind === 'syncDirectoryBegin', event.good)
      case 'mkdir':
        return this.#link(event.path, new DirectoryNode())
      case 'unlink':
        return this.#parent(event.path).add({ kind: 'unlink', name: path.basename(event.path) })
      case 'rename': {
        const node = this.#find(event.path)
        if (node === undefined || path.dirname(event.path) !== path.dirname(event.to)) throw new Error(`the recording renames ${event.path} to ${event.to}`)
        return this.#parent(event.path).add({ kind: 'rename', name: path.basename(event.path), to: path.basename(event.to), node })
      }
      case 'note':
        return
    }
  }

  /** What processes see. */
  live(): DiskImage {
    const image = new Map<string, FileImage | undefined>()
    collect(
      this.#root,
      '',
      image,
      (directory) => directory.live(),
      (file) => file.live(),
    )
    return image
  }

  /** Images that a crash now could leave: all of them when there are few, else `samples` chosen at random, the extremes among them. */
  *crashes(random: Random, samples: number): Generator<DiskImage> {
    const undecided = this.#undecided()
    const versions = undecided.flatMap((part) => part.versions)
    const combinations = versions.reduce((product, count) => Math.min(product * count, EXHAUSTIVE + 1), 1)
    if (combinations <= EXHAUSTIVE) {
      for (let i = 0; i < combinations; i++) yield this.#image(undecided, digits(i, versions))
      return
    }
    for (let i = 0; i < samples; i++) yield this.#image(undecided, choose(versions, random, i))
  }

  #image(undecided: readonly Undecided[], chosen: readonly number[]): DiskImage {
    const decided = new Map<Node, { choices: readonly FileChoice[]; versions: readonly number[] }>()
    let at = 0
    for (const { node, choices, versions } of undecided) {
      decided.set(node, { choices, versions: chosen.slice(at, at + versions.length) })
      at += versions.length
    }
    const image = new Map<string, FileImage | undefined>()
    const none = { choices: [], versions: [] }
    collect(
      this.#root,
      '',
      image,
      (directory) => directory.crashed((decided.get(directory) ?? none).versions),
      (file) => {
        const { choices, versions } = decided.get(file) ?? none
        return file.crashed(choices, versions)
      },
    )
    return image
  }

  #undecided(): Undecided[] {
    const found: Undecided[] = []
    const seen = new Set<Node>()
    const visit = (node: Node) => {
      if (seen.has(node)) return
      seen.add(node)
      if (node instanceof FileNode) {
        const choices = node.hasPending ? node.choices() : []
        if (choices.length > 0) found.push({ node, choices, versions: choices.map((choice) => choice.versions) })
        return
      }
      if (node.pendingCount > 0) found.push({ node, choices: [], versions: new Array<number>(node.pendingCount).fill(2) })
      for (const child of node.reachable()) visit(child)
    }
    visit(this.#root)
    return found
  }

  #sync(key: string, node: Node | undefined, begins: boolean, good: boolean): void {
    if (node === undefined) return
    const begun = this.#syncs.get(key) ?? []
    if (begins) {
      this.#syncs.set(key, [...begun, node.issued])
      return
    }
    const issued = begun.shift()
    if (issued !== undefined && good) node.settle(issued)
  }

  #find(name: string): Node | undefined {
    let node: Node | undefined = this.#root
    for (const part of name.split(path.sep).filter((text) => text !== '')) {
      if (!(node instanceof DirectoryNode)) return undefined
      node = node.live().get(part)
    }
    return node
  }

  #parent(name: string): DirectoryNode {
    const directory = path.dirname(name)
    const node = this.#find(directory === '.' ? '' : directory)
    if (!(node instanceof DirectoryNode)) throw new Error(`the recording uses ${name}, whose directory does not exist`)
    return node
  }

  #link(name: string, node: Node): void {
    this.#parent(name).add({ kind: 'link', name: path.basename(name), node })
  }

  #settleAll(directory: DirectoryNode): void {
    directory.settle(directory.issued)
    for (const node of directory.live().values()) if (node instanceof DirectoryNode) this.#settleAll(node)
  }
}

function collect(
  directory: DirectoryNode,
  prefix: string,
  into: Map<string, FileImage | undefined>,
  entries: (directory: DirectoryNode) => Map<string, Node>,
  content: (file: FileNode) => FileImage,
): void {
  for (const [name, node] of entries(directory)) {
    const place = path.join(prefix, name)
    into.set(place, node instanceof FileNode ? content(node) : undefined)
    if (node instanceof DirectoryNode) collect(node, place, into, entries, content)
  }
}

/** `number` in the mixed radix of `versions`. */
function digits(number: number, versions: readonly number[]): number[] {
  let rest = number
  return versions.map((count) => {
    const digit = rest % count
    rest = Math.floor(rest / count)
    return digit
  })
}

/** Nothing, everything, all but one thing, one thing alone, more or less of everything. */
function choose(versions: readonly number[], random: Random, sample: number): number[] {
  const special = random.below(versions.length)
  const share = random.next()
  return versions.map((count, i) => {
    if (sample === 0) return 0
    if (sample === 1) return count - 1
    if (sample % 4 === 2) return i === special ? random.below(count) : count - 1
    if (sample % 4 === 3) return i === special ? count - 1 : 0
    return random.chance(share) ? count - 1 : random.below(count)
  })
}

/** Writes the image below `directory`, which exists. */
export function materialize(image: DiskImage, directory: string): void {
  for (const [name, file] of image) {
    const place = path.join(directory, name)
    if (file === undefined) {
      fs.mkdirSync(place)
      continue
    }
    const fd = fs.openSync(place, 'wx')
    if (file.data.length > 0) fs.writeSync(fd, file.data)
    if (file.size > file.data.length) fs.ftruncateSync(fd, file.size)
    fs.closeSync(fd)
  }
}

export function hashOf(image: DiskImage): string {
  const hash = createHash('sha1')
  for (const name of [...image.keys()].sort()) {
    const file = image.get(name)
    hash.update(`${name}\0${file?.size}\0${file?.data.length}\0`)
    if (file !== undefined) hash.update(file.data)
  }
  return hash.digest('hex')
}
