/** Writes until it is killed. Arguments: name of the store, directory, number of records. Sends a message when so many are committed, and goes on. */
import { makeRecords, RECORD_BYTES } from '../harness/work.js'
import { RECOVERED_STORES } from '../stores/recovered-stores.js'
import { stream } from '../stores/writers.js'

const [name, directory, count] = process.argv.slice(2)
const store = await RECOVERED_STORES.find((kind) => kind.name === name)!.open(directory, 'flush')
const records = makeRecords(RECORD_BYTES)
await stream(store, records, Number(count))
process.send!('committed')
for (;;) await stream(store, records, records.length)
