import { provePowerLoss } from './power-loss.js'

provePowerLoss('js')
