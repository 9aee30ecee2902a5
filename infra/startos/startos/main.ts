import { sdk } from './sdk'
import { bitcoind, uiPort } from './utils'

// The image's user. Volumes belong to root; idmap presents root's files as this user's. That includes bitcoind's
// cookie, which only its owner may read.
const idmap = [{ fromId: 0, toId: 65532 }]

export const main = sdk.setupMain(async ({ effects }) => {
  // .const() runs this function again when an address changes.
  const rpc = await sdk.host
    .getBridgeAddress(effects, {
      packageId: bitcoind.packageId,
      hostId: bitcoind.rpcHostId,
      internalPort: bitcoind.rpcPort,
      ssl: false,
    })
    .const()
  const zmq = await sdk.host
    .getBridgeAddress(effects, {
      packageId: bitcoind.packageId,
      hostId: bitcoind.zmqHostId,
      internalPort: bitcoind.zmqPortTransaction,
    })
    .const()
  if (!rpc || !zmq) {
    throw new Error('Bitcoin is not installed, or its ZeroMQ is not enabled')
  }

  const container = sdk.SubContainer.of(
    effects,
    { imageId: 'sightglass' },
    sdk.Mounts.of()
      .mountVolume({
        volumeId: 'main',
        subpath: null,
        mountpoint: '/data',
        readonly: false,
        idmap,
      })
      .mountDependency({
        dependencyId: bitcoind.packageId,
        volumeId: 'main',
        subpath: null,
        mountpoint: '/mnt/bitcoind',
        readonly: true,
        idmap,
      }),
    'sightglass',
  )

  return sdk.Daemons.of(effects)
    .addDaemon('server', {
      subcontainer: container,
      exec: {
        command: sdk.useEntrypoint(),
        env: {
          SIGHTGLASS_DATA_DIR: '/data',
          SIGHTGLASS_LISTEN: `:${uiPort}`,
          SIGHTGLASS_RPC: `http://${rpc}`,
          // It is read for every call, so a restart of the node needs none of Sightglass.
          SIGHTGLASS_RPC_COOKIE: '/mnt/bitcoind/.cookie',
          SIGHTGLASS_ZMQ: `tcp://${zmq}`,
          // StartOS connects from here when it terminates TLS.
          SIGHTGLASS_TRUSTED_PROXIES: await sdk.getOsIp(effects),
          SIGHTGLASS_MAX_CLIENTS: '1000',
          // Browsers send the cookies of all services that have the same host.
          SIGHTGLASS_MAX_HEADER_BYTES: '16384',
        },
        sigtermTimeout: 30_000,
      },
      ready: {
        display: 'Dashboard',
        fn: () =>
          sdk.healthCheck.checkPortListening(effects, uiPort, {
            successMessage: 'The dashboard is ready',
            errorMessage: 'The dashboard is not ready',
          }),
      },
      requires: [],
    })
    .addHealthCheck('price', {
      ready: {
        display: 'Price',
        fn: async () => {
          const { exitCode } = await container.exec([
            '/usr/bin/sightglass',
            'health',
          ])
          return exitCode === 0
            ? { result: 'success', message: 'Snapshots are being published' }
            : { result: 'loading', message: 'Waiting for the node' }
        },
      },
      requires: ['server'],
    })
})
