import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http'

/** For answers whose bytes can never be others. */
export const IMMUTABLE = 'max-age=31536000, immutable, no-transform'
/** For answers that a later request may get more of. */
export const SHORT_LIVED = 'max-age=60, stale-while-revalidate=300'

const ALLOWED_METHODS = 'GET, HEAD, OPTIONS'
const ALLOWED_HEADERS = 'Authorization, Content-Type, If-None-Match'
const PREFLIGHT_SECONDS = 86_400

export const ALLOW: OutgoingHttpHeaders = { allow: ALLOWED_METHODS }

/** What every answer carries: who may read it across origins, and that nobody guesses its type. */
export function commonHeaders(req: IncomingMessage, origins: '*' | readonly string[], exposed: string): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = {
    'x-content-type-options': 'nosniff',
    'cross-origin-resource-policy': origins.length === 0 ? 'same-origin' : 'cross-origin',
  }
  if (origins === '*') headers['access-control-allow-origin'] = '*'
  else if (origins.length > 0) {
    headers.vary = 'Origin'
    const origin = req.headers.origin
    if (origin === undefined || !origins.includes(origin)) return headers
    headers['access-control-allow-origin'] = origin
  }
  if (origins.length > 0) headers['access-control-expose-headers'] = exposed
  return headers
}

export function preflightHeaders(common: OutgoingHttpHeaders): OutgoingHttpHeaders {
  if (common['access-control-allow-origin'] === undefined) return { ...common, ...ALLOW }
  return {
    ...common,
    ...ALLOW,
    'access-control-allow-methods': ALLOWED_METHODS,
    'access-control-allow-headers': ALLOWED_HEADERS,
    'access-control-max-age': String(PREFLIGHT_SECONDS),
  }
}

/** `headers` with one more name in Vary. */
export function vary(headers: OutgoingHttpHeaders, name: string): OutgoingHttpHeaders {
  return { ...headers, vary: headers.vary === undefined ? name : `${headers.vary}, ${name}` }
}

/** If-None-Match against a strong entity tag, by weak comparison as the header asks for. */
export function matchesEntityTag(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false
  if (header.trim() === '*') return true
  return [...header.matchAll(/"[^"]*"/g)].some(([tag]) => tag === etag)
}

/** Of the encodings that are there, in the server's order of preference, the one that Accept-Encoding likes best; undefined: send the bytes as they are. */
export function chooseEncoding<Encoding extends string>(header: string | undefined, available: readonly Encoding[]): Encoding | undefined {
  if (header === undefined || available.length === 0) return undefined
  const weights = new Map<string, number>()
  for (const item of header.split(',')) {
    const [name, ...parameters] = item.split(';').map((part) => part.trim().toLowerCase())
    const q = parameters.find((parameter) => parameter.startsWith('q='))
    const weight = q === undefined ? 1 : Number(q.slice(2))
    if (name !== '' && weight >= 0 && weight <= 1) weights.set(name, weight)
  }
  let best: Encoding | undefined
  let bestWeight = 0
  for (const encoding of available) {
    const weight = weights.get(encoding) ?? weights.get('*') ?? 0
    if (weight > bestWeight) {
      best = encoding
      bestWeight = weight
    }
  }
  return best
}
