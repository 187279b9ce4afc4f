/** What processes and threads have used, from /proc. */
import { readdirSync, readFileSync } from 'node:fs'

/** The kernel's unit of these figures for programs, on every architecture. */
const TICKS_PER_SECOND = 100
const USER_TICKS = 13
const SYSTEM_TICKS = 14

/** User and system CPU time of whole processes, in seconds. */
export function cpuSeconds(processes: readonly number[]): number {
  const ticks = processes.flatMap((pid) => {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // Behind the name, which may hold blanks: field 3 and the following.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return [Number(fields[USER_TICKS - 2]), Number(fields[SYSTEM_TICKS - 2])]
  })
  return ticks.reduce((sum, one) => sum + one, 0) / TICKS_PER_SECOND
}

/** Resident memory of whole processes, in bytes. */
export function residentBytes(processes: readonly number[]): number {
  return processes.reduce((sum, pid) => {
    const match = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))
    if (!match) throw new Error(`/proc/${pid}/status has no VmRSS`)
    return sum + Number(match[1]) * 1024
  }, 0)
}

/** CPU time of the threads of this process that have this name, in seconds. */
export function threadSeconds(name: string): number {
  const tasks = readdirSync('/proc/self/task').filter((id) => readFileSync(`/proc/self/task/${id}/comm`, 'latin1').trim() === name)
  return tasks.reduce((sum, id) => sum + Number(readFileSync(`/proc/self/task/${id}/schedstat`, 'latin1').split(' ')[0]), 0) / 1e9
}

/** Bytes that this process had read from disks, past the page cache. */
export function bytesFromDisk(): number {
  return Number(/^read_bytes: (\d+)$/m.exec(readFileSync('/proc/self/io', 'latin1'))![1])
}

/** Child processes of a process, of any of its threads. */
export function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((id) =>
    readFileSync(`/proc/${pid}/task/${id}/children`, 'latin1')
      .split(' ')
      .filter((child) => child.trim() !== '')
      .map(Number),
  )
}
