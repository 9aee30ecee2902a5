import { sdk } from './sdk'
import { uiPort } from './utils'

// The protocol http makes StartOS terminate TLS, pass Host on unchanged, and replace X-Forwarded-For by the client's
// address, for WebSockets too.
export const setInterfaces = sdk.setupInterfaces(async ({ effects }) => {
  const host = sdk.MultiHost.of(effects, 'ui')
  const origin = await host.bindPort(uiPort, { protocol: 'http' })
  const ui = sdk.createInterface(effects, {
    name: 'Dashboard',
    id: 'ui',
    description:
      'The dashboard, the stream (/ws/mempool) and the API (/api/v1/snapshot)',
    type: 'ui',
    masked: false,
    schemeOverride: null,
    username: null,
    path: '',
    query: {},
  })
  return [await origin.export([ui])]
})
