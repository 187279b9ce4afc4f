import { accessSync, constants, cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll } from 'vitest'

/** Memory-backed where there is such a place: what these suites prove does not depend on the disk. */
const root = writable('/dev/shm') ? '/dev/shm' : tmpdir()
const made: string[] = []

function writable(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** A fresh directory, removed when the test file ends. */
export function makeDirectory(label = 'log'): string {
  const directory = mkdtempSync(path.join(root, `sealog-${label}-`))
  made.push(directory)
  return directory
}

/** A path in a fresh directory at which nothing exists yet. */
export function freshPath(label = 'log'): string {
  return path.join(makeDirectory(label), 'log')
}

export function copyDirectory(from: string, label = 'copy'): string {
  const to = path.join(makeDirectory(label), 'log')
  cpSync(from, to, { recursive: true })
  return to
}

/** Relative paths of all files below `directory`, sorted. */
export function listFiles(directory: string): string[] {
  return (readdirSync(directory, { recursive: true }) as string[]).filter((name) => statSync(path.join(directory, name)).isFile()).sort()
}

/** All files of a directory in memory, by relative path. */
export function readFiles(directory: string): Map<string, Buffer> {
  return new Map(listFiles(directory).map((name) => [name, readFileSync(path.join(directory, name))]))
}

afterAll(() => {
  for (const directory of made.splice(0)) rmSync(directory, { recursive: true, force: true })
})
