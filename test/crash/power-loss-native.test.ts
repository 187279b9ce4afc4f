import { provePowerLoss } from './power-loss.js'

provePowerLoss('native')
