import { LogError } from '../errors.js'
import type { Record } from '../index.js'

/** A column of a row as it travels: text, or null. The client makes values of it by the schema. */
export type ShapeColumn = string | null
export type ShapeRow = { readonly [column: string]: ShapeColumn }
export type ShapeOperation = 'insert' | 'update' | 'delete'

/** A change of one row of a shape. */
export interface ShapeChange {
  readonly key: string
  readonly value: ShapeRow
  readonly headers: { readonly operation: ShapeOperation; readonly [name: string]: unknown }
}

/** The changes a record means: one, several in their order, or none. */
export type ToMessage<T> = (record: Record<T>) => ShapeChange | readonly ShapeChange[] | undefined

const OPERATIONS: readonly unknown[] = ['insert', 'update', 'delete']
const utf8 = new TextDecoder()

/**
 * What a record of a JSON log means unless the handler is told otherwise:
 *
 * - a value that already is a change (`{ key, value, headers: { operation } }`) is that change;
 * - any other value replaces the row of its key whole. It travels as `insert`, which a `Shape` takes for keys it has too; `update` would merge the
 *   columns into the row it has, and a column left out of the new value would stay;
 * - a tombstone deletes the row of its key;
 * - a record without a key is a row of its own, with its offset as key.
 *
 * A value that is no object becomes the one column `value`.
 */
export function recordToMessage(record: Record<unknown>): ShapeChange {
  const { value } = record
  if (isChange(value)) return { ...value, value: toRow(value.value) }
  const key = record.key === undefined ? String(record.offset) : utf8.decode(record.key)
  return record.tombstone ? { key, value: {}, headers: { operation: 'delete' } } : { key, value: toRow(value), headers: { operation: 'insert' } }
}

function isChange(value: unknown): value is { key: string; value: unknown; headers: { operation: ShapeOperation } } {
  if (!isObject(value) || typeof value.key !== 'string' || !isObject(value.headers)) return false
  return OPERATIONS.includes(value.headers.operation) && (isObject(value.value) || value.headers.operation === 'delete')
}

function toRow(value: unknown): ShapeRow {
  if (value === undefined) return {}
  if (!isObject(value)) return { value: toColumn(value) }
  return Object.fromEntries(Object.entries(value).map(([column, content]) => [column, toColumn(content)]))
}

function toColumn(content: unknown): ShapeColumn {
  if (content === null || typeof content === 'string') return content
  return typeof content === 'object' ? JSON.stringify(content) : String(content)
}

function isObject(value: unknown): value is { readonly [name: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The JSON texts of the changes a record means. */
export function messagesOf<T>(record: Record<T>, toMessage: ToMessage<T>): string[] {
  const made = toMessage(record)
  const changes = made === undefined ? [] : Array.isArray(made) ? (made as readonly ShapeChange[]) : [made as ShapeChange]
  return changes.map((change) => {
    // A message that is no change would be taken for a control message, or silently lost, by every client there is.
    if (!isObject(change) || typeof change.key !== 'string' || !isObject(change.value) || !OPERATIONS.includes(change.headers?.operation)) {
      throw new LogError('ERR_SEALOG_VALUE', `toMessage gave no change for the record at offset ${record.offset}`, { offset: record.offset })
    }
    return JSON.stringify(change)
  })
}
