/** The change that the record at `offset` makes. */
export function changeAt(offset) {
  return { key: `key ${(offset * 7919) % 97}`, value: { offset, text: 'x'.repeat(offset % 50) } }
}

/** The store's content when the log ends at `end`. */
export function contentAt(end) {
  const content = new Map()
  for (let offset = 0; offset < end; offset++) {
    const { key, value } = changeAt(offset)
    content.set(key, value)
  }
  return [...content].sort(([a], [b]) => (a < b ? -1 : 1))
}
