import { sdk } from './sdk'
import { bitcoind } from './utils'

// The part of bitcoind's action that is needed here.
const autoconfig: { id: 'autoconfig'; _INPUT: { zmqEnabled: boolean } } = {
  id: 'autoconfig',
  _INPUT: { zmqEnabled: true },
}

export const setDependencies = sdk.setupDependencies(async ({ effects }) => {
  await sdk.action.createTask(
    effects,
    bitcoind.packageId,
    autoconfig,
    'critical',
    {
      input: {
        kind: 'partial',
        accept: [{ zmqEnabled: true }],
        set: { zmqEnabled: true },
      },
      when: { condition: 'input-not-matches', once: false },
      reason: 'Sightglass receives new transactions over ZeroMQ',
    },
  )

  return {
    bitcoind: {
      kind: 'running',
      // The revisions whose action autoconfig accepts zmqEnabled and whose addresses the bridge publishes.
      versionRange:
        '(>=28.4:17 && <29) || (>=29.4:4 && <30) || (>=30.3:4 && <31) || >=31.1:4',
      healthChecks: ['bitcoind', 'sync-progress'],
    },
  }
})
