// Reads a list of simulations from stdin, and prints for each whether it is allowed, or what is wrong with it.
import { readFileSync } from 'node:fs'
import { runSimulation } from '@cloud-copilot/iam-simulate'

const told = []
for (const simulation of JSON.parse(readFileSync(0, 'utf8'))) {
  const result = await runSimulation(simulation, {})
  told.push(result.errors ?? result.overallResult ?? result.analysis?.result)
}
console.log(JSON.stringify(told))
