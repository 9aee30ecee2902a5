export const uiPort = 8080

// The names and ports of the package bitcoind, from its startos/utils.ts. They are written here because that package is
// not in the npm registry.
export const bitcoind = {
  packageId: 'bitcoind',
  rpcHostId: 'rpc',
  rpcPort: 8332,
  zmqHostId: 'zmq',
  zmqPortTransaction: 28333, // rawtx and sequence
} as const
