// Where zstd's sources are and which of them are compiled, for binding.gyp: `node -p "require('./native/zstd.cjs').sources"`.
//
// They come with the npm package zstd-napi, a development dependency of an exact version whose install script is never run.
// A published sealog is compiled without it: packing must copy `lib/` and `LICENSE` of its deps/zstd to native/zstd.
const { existsSync, readFileSync } = require('node:fs')
const { join } = require('node:path')

const directory = existsSync(join(__dirname, 'zstd/lib')) ? 'native/zstd' : 'node_modules/zstd-napi/deps/zstd'
const names = readFileSync(join(__dirname, 'zstd-sources.txt'), 'utf8').trim().split(/\s+/)

module.exports = {
  includes: `${directory}/lib`,
  sources: names.map((name) => `${directory}/lib/${name}`).join(' '),
}
