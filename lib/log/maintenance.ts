export { type RepairOptions, type RepairReport, repair } from './repair.js'
export { type VerifyOptions, type VerifyProblem, type VerifyReport, verify } from './verify.js'
