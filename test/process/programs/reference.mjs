// Waits in a follower and has nothing else to do. Arguments: backend, directory, 'log' or 'reader', ref.
import { Log } from '../../../dist/index.js'

const [backend, directory, what, ref] = process.argv.slice(2)
const log = await Log.open(directory, { backend })
if (log.endOffset === 0) await log.append(Buffer.from('a'))
let view = log
if (what === 'reader') {
  view = await Log.openReader(directory, { backend })
}
void view.read({ from: view.endOffset, follow: true, ref: ref === 'true' }).next()
console.log(JSON.stringify({ waiting: true }))
process.on('exit', () => console.log(JSON.stringify({ ended: true })))
